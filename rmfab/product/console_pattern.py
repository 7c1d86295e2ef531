"""`[verify] console_must` and `console_must_not`: what a console must print, and what it must not, each with a name.

A pattern is plain text that stands in one line; `*` stands for anything between two pieces of it. That is all: no
pattern takes longer than a few passes over the line, whatever the unit prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rmfab.product.toml_reader import Table

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_MOST_PATTERNS, _MOST_PIECES = 32, 8


@dataclass(frozen=True)
class ConsolePattern:
    """The pattern *text*, and the *name* that reports use for it."""

    name: str
    text: str

    def matches(self, line: str) -> bool:
        """Return whether *line* contains the pieces of the pattern, in order."""
        at = 0
        for piece in self.text.split("*"):
            found = line.find(piece, at)
            if found < 0:
                return False
            at = found + len(piece)
        return True


@dataclass(frozen=True)
class ConsolePatterns:
    """What the console of a unit *must* print until its boot is complete, and what it *must_not* print at any time."""

    must: tuple[ConsolePattern, ...] = ()
    must_not: tuple[ConsolePattern, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is a pattern."""
        return bool(self.must or self.must_not)


def read_console_patterns(table: Table) -> ConsolePatterns:
    """Read both tables of patterns in `[verify]`."""
    return ConsolePatterns(*(_patterns(table.table(key), table, key) for key in ("console_must", "console_must_not")))


def _patterns(table: Table, above: Table, key: str) -> tuple[ConsolePattern, ...]:
    found = table.everything()
    if len(found) > _MOST_PATTERNS:
        above.complain(key, f"{len(found)} patterns, at most {_MOST_PATTERNS} are possible")
    patterns = []
    for name, text in list(found.items())[:_MOST_PATTERNS]:
        if wrong := _wrong(name, text):
            above.complain(f"{key}.{name:.40}", wrong, 'for example wifi = "wifi:mode : sta" or ok = "self test: * ok"')
        else:
            patterns.append(ConsolePattern(name, text))
    return tuple(patterns)


def _wrong(name: str, text: object) -> str | None:
    if not _NAME.fullmatch(name):
        return "not a name (1 to 40 of A-Z a-z 0-9 _ -)"
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        return "expected a text of 1 to 200 printable characters on one line"
    if not text.strip("* ") or text.count("*") >= _MOST_PIECES:
        return f"expected text, with * between at most {_MOST_PIECES} pieces of it"
    return None
