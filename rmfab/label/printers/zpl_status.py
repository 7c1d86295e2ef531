"""What a ZPL printer answers: ~HS, ~HI and ~HQES, also from clones that shorten them.

Source: Zebra, "ZPL II Programming Guide", the commands ~HS, ~HI and ~HQ.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field

from rmfab.causes import Cause
from rmfab.errors import one_line

_GROUP = re.compile(rb"\x02([^\x02\x03]{1,1000})\x03")
_FIRST_LINE = re.compile(rb"[0-9]{1,3},[01],[01],[0-9]{1,5},[0-9]{1,4}(?:,|\Z)")
_SECOND_LINE = re.compile(rb"[0-9]{1,3},[0-9],[01],[01],[01],[0-9A-Za-z](?:,|\Z)")
_ERRORS = re.compile(rb"ERRORS:\s{0,40}[01]\s{1,4}[0-9A-Fa-f]{8}\s{1,4}([0-9A-Fa-f]{8})")
_DPI = {6: 152, 8: 203, 12: 300, 24: 600}

# The bits of the second group of ~HQES's errors, by the nibbles from the right.
_ERROR_BITS = (
    (0x1, Cause.PRINTER_PAPER),
    (0x2, Cause.PRINTER_RIBBON),
    (0x4, Cause.PRINTER_HEAD_OPEN),
    (0x8, Cause.PRINTER_CUTTER),
    (0x10, Cause.PRINTER_HOT),
    (0x20, Cause.PRINTER_HOT),
    (0x40, Cause.PRINTER_HARDWARE),
    (0x80, Cause.PRINTER_HARDWARE),
    (0x100, Cause.PRINTER_HARDWARE),
    (0x200, Cause.PRINTER_HARDWARE),
    (0x10000, Cause.PRINTER_PAUSED),
)
_URGENCY = (
    Cause.PRINTER_HEAD_OPEN,
    Cause.PRINTER_PAPER,
    Cause.PRINTER_RIBBON,
    Cause.PRINTER_CUTTER,
    Cause.PRINTER_HARDWARE,
    Cause.PRINTER_SET_UP,
    Cause.PRINTER_HOT,
    Cause.PRINTER_COLD,
    Cause.PRINTER_BUFFER,
    Cause.PRINTER_PAUSED,
)
"""An open head also reports no paper and a pause; the first cause is the one to fix first."""


@dataclass(frozen=True)
class ZplAnswer:
    """What the printer reports. *waiting*: formats in its buffer; *remaining*: labels of the format that it prints."""

    faults: frozenset[Cause] = field(default_factory=frozenset)
    waiting: int = 0
    remaining: int = 0
    half_job: bool = False
    label_waits: bool = False
    model: str | None = None
    dpi: int | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is left to print. A label that waits to be taken is printed."""
        return not self.waiting and not self.half_job and (not self.remaining or self.label_waits)

    @property
    def urgent(self) -> tuple[Cause, ...]:
        """The faults, the most urgent first."""
        return tuple(cause for cause in _URGENCY if cause in self.faults)


def is_whole(answer: bytes) -> bool:
    """Return whether *answer* contains the first two lines of ~HS; the third is not needed."""
    return _host_status(_GROUP.findall(answer)) is not None


def _host_status(groups: list[bytes]) -> tuple[bytes, bytes] | None:
    """Return the first two lines of ~HS. The second one alone looks like a first one of a clone."""
    pairs = itertools.pairwise(groups)
    return next((pair for pair in pairs if _FIRST_LINE.match(pair[0]) and _SECOND_LINE.match(pair[1])), None)


def parse_answer(answer: bytes) -> ZplAnswer | None:
    """Return what *answer* to ~HI, ~HQES and ~HS says, None if there is no ~HS in it."""
    groups = _GROUP.findall(answer)
    lines = _host_status(groups)
    if lines is None:
        return None
    one, two = (line.split(b",") for line in lines)
    model, dpi = _identity([group for group in groups if group not in lines])
    return ZplAnswer(
        frozenset(_host_faults(one, two)) | frozenset(_extended_faults(groups)),
        waiting=_number(one, 4),
        remaining=_number(two, 8),
        half_job=_flag(one, 7),
        label_waits=_flag(two, 7),
        model=model,
        dpi=dpi,
    )


def _host_faults(one: list[bytes], two: list[bytes]) -> list[Cause]:
    flags = (
        (one, 1, Cause.PRINTER_PAPER),
        (one, 2, Cause.PRINTER_PAUSED),
        (one, 5, Cause.PRINTER_BUFFER),
        (one, 9, Cause.PRINTER_SET_UP),
        (one, 10, Cause.PRINTER_COLD),
        (one, 11, Cause.PRINTER_HOT),
        (two, 2, Cause.PRINTER_HEAD_OPEN),
        (two, 3, Cause.PRINTER_RIBBON),
    )
    return [cause for line, index, cause in flags if _flag(line, index)]


def _extended_faults(groups: list[bytes]) -> list[Cause]:
    found = next((match for one in groups if (match := _ERRORS.search(one))), None)
    bits = int(found[1], 16) if found else 0
    return [cause for bit, cause in _ERROR_BITS if bits & bit]


def _identity(groups: list[bytes]) -> tuple[str | None, int | None]:
    """Return model and resolution from ~HI: model, firmware, dots per mm, memory."""
    for one in groups:
        parts = one.split(b",")
        dots = re.sub(rb"[^0-9]", b"", parts[2][:8]) if len(parts) >= 3 else b""
        if dots and not parts[0].isdigit():
            return one_line(parts[0].decode("latin-1").strip(), 60) or None, _DPI.get(int(dots))
    return None, None


def _flag(fields: list[bytes], index: int) -> bool:
    return index < len(fields) and fields[index].strip() == b"1"


def _number(fields: list[bytes], index: int) -> int:
    text = fields[index].strip() if index < len(fields) else b""
    return int(text) if text.isdigit() and len(text) <= 8 else 0
