"""Output as a page shows it, against the output of this run: what differs from run to run is learned, not compared."""

from __future__ import annotations

import re
from collections.abc import Iterable

_VARYING = re.compile(
    r"(?<=127\.0\.0\.1[: ])\d+"  # the port of a virtual board or of a server
    r"|[0-9a-f]{4}(?:-[0-9a-f]{4}){7}"  # a fingerprint
    r"|age1[0-9a-z]{58}"  # a recipient
    r"|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?|\d{8}T\d{6}\.\d+Z"  # a moment
    r"|\b\d+\.\d+s\b|(?<=[a-zL] )\d+\.\d\b(?!\.)"  # how long something took
    r"|\b[0-9a-f]{12,64}\b"  # a digest or a key id
    r"|[0-9a-f]{2}(?::[0-9a-f]{2}){5}"  # a MAC
    r"|\b[A-Z]{3}-\d{6}|PROV_[0-9a-f]{6}"  # which identity a board gets is chance
    r"|\b[2-9A-HJ-NP-Za-km-z]{22}\b"  # a node id
    r"|PoP [0-9a-f]{8}"
)
_ANYTHING = "…"


class Learned:
    """What this run has in place of the values that the page shows."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def learn(self, shown: str, real: str) -> None:
        """Notes that this run has *real* where the page shows *shown*; the first meaning stays."""
        self._values.setdefault(shown, real)

    def real(self, text: str) -> str:
        """*text* with the values of this run."""
        return _VARYING.sub(lambda match: self._values.get(match[0], match[0]), text)

    def agrees(self, shown: str, real: str) -> bool:
        """Whether *real* may stand for *shown*: a value that was shown before keeps its meaning."""
        return shown not in self._values or self._values[shown] == real or not _names(shown)


def missing(shown: Iterable[str], printed: Iterable[str], learned: Learned) -> list[str]:
    """The *shown* lines that were not *printed*, in any order; values of those that were are learned."""
    left = [" ".join(line.split()) for line in printed]
    lacking = []
    for line in shown:
        text = " ".join(line.split())
        if text and text != _ANYTHING and not _found(text, left, learned):
            lacking.append(line)
    return lacking


def _found(text: str, left: list[str], learned: Learned) -> bool:
    """Whether *text* is one of the lines that are *left*; takes it away from them."""
    pattern, values = _pattern(text)
    for index, line in enumerate(left):
        match = pattern.fullmatch(line)
        if match is None or not all(learned.agrees(*pair) for pair in zip(values, match.groups(), strict=True)):
            continue
        for shown, real in zip(values, match.groups(), strict=True):
            learned.learn(shown, real)
        del left[index]
        return True
    return False


def _pattern(text: str) -> tuple[re.Pattern[str], list[str]]:
    """A pattern of *text* with a group for each value that varies, and these values as they are shown."""
    pieces, values, end = [], [], 0
    for match in _VARYING.finditer(text):
        pieces += [_fixed(text[end : match.start()]), f"({_VARYING.pattern})"]
        values.append(match[0])
        end = match.end()
    return re.compile("".join([*pieces, _fixed(text[end:])])), values


def _fixed(text: str) -> str:
    return ".*".join(map(re.escape, re.split(rf"\s*{_ANYTHING}\s*", text)))


def _names(value: str) -> bool:
    """Whether *value* names something, so that it means the same wherever a page shows it."""
    return not re.fullmatch(r"\d+\.\d+s?|\d{4}-.*|\d{8}T.*", value)
