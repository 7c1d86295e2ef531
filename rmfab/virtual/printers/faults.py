"""The faults that a virtual printer can have, by stable name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, unique
from typing import Self

from rmfab.errors import InputError, one_line
from rmfab.virtual.named_fault import named_fault


@unique
class PrinterTrouble(Enum):
    """A fault: its name, whether it stops the printer before the next label, and a one-line summary."""

    PAPER_OUT = "paper-out", True, "no labels are left"
    RIBBON_OUT = "ribbon-out", True, "no ribbon is left"
    HEAD_OPEN = "head-open", True, "the print head is open"
    COVER_OPEN = "cover-open", True, "the cover is open (for ZPL and TSPL that is the head)"
    PAUSED = "paused", True, "the pause key was pressed"
    HOT = "hot", True, "the print head is too hot"
    COLD = "cold", True, "the print head is too cold (ZPL)"
    CUTTER = "cutter", True, "the cutter is jammed"
    JAM = "jam", True, "the labels are jammed"
    BROKEN = "broken", True, "a dot of the print head is broken"
    STUCK = "stuck", True, "never finishes the next label, and reports no error"
    BUFFER_FULL = "buffer-full", True, "the buffer is full: stops reading"
    HALF_LABEL = "half-label", False, "half of the next label comes out, then no labels are left"
    WRONG_ROLL = "wrong-roll", False, "has labels of a different size"
    NO_ANSWER = "no-answer", False, "prints, and answers nothing (a one-way print server)"
    GARBAGE = "garbage", False, "answers with bytes that mean nothing"
    SECOND_CLIENT = "second-client", False, "a different client has the connection: closes all others"
    WAITING_CLIENT = "waiting-client", False, "a different client has the only connection: others wait"
    VANISH = "vanish", False, "loses power in the middle of the next label"
    SLOW = "slow", False, "takes ten times as long for each label"
    PEEL = "peel", False, "waits until each label is taken (ZPL)"

    stops: bool
    summary: str

    def __new__(cls, value: str, stops: bool, summary: str) -> Self:
        """Make a member."""
        member = object.__new__(cls)
        member._value_ = value
        member.stops = stops
        member.summary = summary
        return member


def printer_trouble(name: str) -> PrinterTrouble:
    """Return the fault *name*. Raise InputError."""
    return named_fault(PrinterTrouble, name, " of a printer")


_CALL = re.compile(r"(?P<name>[a-z-]+)(?:=(?P<number>[0-9]{1,9}))?")


@dataclass(frozen=True)
class PrinterTroubleCall:
    """A requested fault: `NAME` at once, or `NAME=N` after N more labels."""

    trouble: PrinterTrouble
    after: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the form above. Raise InputError."""
        found = _CALL.fullmatch(text)
        trouble = printer_trouble(found["name"] if found else text.partition("=")[0])
        if found is None:
            hint = f"use {trouble.value}, or {trouble.value}=N for after N labels"
            raise InputError(f'"{one_line(text)}" is not a form of this fault', hint=hint, cause="fault")
        return cls(trouble, int(found["number"] or 0))

    def __str__(self) -> str:
        return f"{self.trouble.value}={self.after}" if self.after else str(self.trouble.value)
