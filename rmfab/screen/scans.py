"""Scans: what comes in by the keyboard, and what it asks for.

A scanner is a keyboard that types fast and usually ends with Enter. What it types is a serial, the QR payload of a
label, the name of a slot, a badge, or one of the printed codes of `Code`, alone or with the name of a slot.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum, unique

FAST_SECONDS = 0.03
"""Keys that follow each other faster than this come from a scanner: no one types 33 keys per second."""
PAUSE_SECONDS = 0.12
"""After such a pause, a scan is complete, also without Enter; and a single key was a key."""
_LONGEST = 512
_SHORTEST_SCAN = 4
_SYMBOLOGY = re.compile(r"\][A-Za-z][0-9A-Za-z]")
"""The symbology identifier that scanners may send first (ISO/IEC 15424)."""
_BADGE = re.compile(r"(?:BADGE|OPERATOR):\s*([^\s:]{1,32})", re.IGNORECASE)
_PAYLOAD_STARTS = ("{", "NP:", "https://rainmaker.espressif.com/")


@unique
class Code(StrEnum):
    """A code that is printed beside the station, and does what a key does."""

    START = "START"
    RETRY = "RETRY"
    ABORT = "ABORT"
    REPRINT = "REPRINT"
    OK = "OK"
    YES = "YES"
    NO = "NO"


@dataclass(frozen=True)
class CodeScan:
    """A printed code, for *slot* or the chosen one."""

    code: Code
    slot: str | None = None


@dataclass(frozen=True)
class BadgeScan:
    """The badge of an operator: a pseudonym."""

    operator: str


@dataclass(frozen=True)
class PayloadScan:
    """The QR payload of a label, which contains a PoP: it is never shown."""

    text: str = field(repr=False)


@dataclass(frozen=True)
class NameScan:
    """A serial, a MAC, or the name of a slot."""

    name: str


Scanned = CodeScan | BadgeScan | PayloadScan | NameScan


def parse_scan(text: str) -> Scanned:
    """Return what *text* asks for."""
    text = _SYMBOLOGY.sub("", text.strip(), count=1) if text.startswith("]") else text.strip()
    if text.startswith(_PAYLOAD_STARTS):
        return PayloadScan(text)
    if badge := _BADGE.fullmatch(text):
        return BadgeScan(badge[1])
    word, _, slot = text.partition(" ")
    if word.upper() in set(Code):
        return CodeScan(Code(word.upper()), slot.strip() or None)
    return NameScan(text)


@dataclass
class ScanField:
    """The text that was typed or scanned so far, with the times of its keys."""

    text: str = ""
    _times: list[float] = field(default_factory=list)

    def type(self, letter: str, now: float) -> None:
        """Add a letter that came at *now*."""
        if len(self.text) < _LONGEST:
            self.text += letter
            self._times.append(now)

    def erase(self) -> None:
        """Remove the last letter."""
        self.text = self.text[:-1]
        del self._times[-1:]

    def take(self) -> str:
        """Return the text, and start again."""
        text = self.text
        self.text = ""
        self._times.clear()
        return text

    def rested(self, now: float) -> bool:
        """Return whether no key has come for a moment."""
        return bool(self._times) and now - self._times[-1] >= PAUSE_SECONDS

    @property
    def scanned(self) -> bool:
        """Whether a scanner has typed the text: fast, or with a symbology identifier first."""
        count = len(self._times)
        fast = count >= _SHORTEST_SCAN and self._times[-1] - self._times[0] < FAST_SECONDS * (count - 1)
        return fast or bool(_SYMBOLOGY.match(self.text))

    @property
    def shown(self) -> str:
        """What may be shown of the text: a payload contains a PoP."""
        secret = self.text.lstrip("]").startswith(_PAYLOAD_STARTS) or len(self.text) > 40
        return f"({len(self.text)})" if secret or "{" in self.text else self.text
