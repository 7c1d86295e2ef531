"""The faults that a virtual cloud can have, at any of its calls."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, unique
from typing import Self

from rmfab.errors import InputError, one_line
from rmfab.virtual.named_fault import named_fault


@unique
class CloudFault(Enum):
    """A fault and its one-line summary. *after*: the request takes effect before it comes."""

    LOST_REQUEST = "lost-request", False, "closes the connection before the request takes effect"
    LOST_ANSWER = "lost-answer", True, "the request takes effect, and the connection is closed without an answer"
    BUSY = "busy", False, "answers 429 with Retry-After"
    FAILS = "fails", False, "answers 500"
    FAILS_LATE = "fails-late", True, "the request takes effect, and the answer is 502 with a web page"
    WEB_PAGE = "web-page", False, "answers 200 with a web page, as a proxy does"
    REDIRECT = "redirect", False, "answers 302 to a different server"
    SILENT = "silent", True, "the request takes effect, and no answer comes"
    CUT = "cut", True, "the request takes effect, and the answer ends in the middle"
    GARBAGE = "garbage", True, "the request takes effect, and the answer is not HTTP"

    after: bool
    summary: str

    def __new__(cls, value: str, after: bool, summary: str) -> Self:
        """Make a member."""
        member = object.__new__(cls)
        member._value_ = value
        member.after = after
        member.summary = summary
        return member


_CALL = re.compile(r"(?P<name>[a-z-]+)(?:@(?P<number>[1-9][0-9]{0,8}))?")


@dataclass(frozen=True)
class CloudFaultCall:
    """A requested fault: `NAME@N` at the N-th call, `NAME` at every call (*number* is None)."""

    fault: CloudFault
    number: int | None = None

    @classmethod
    def parse(cls, text: str) -> CloudFaultCall:
        """Parse the form above. Raise InputError."""
        found = _CALL.fullmatch(text)
        fault = named_fault(CloudFault, found["name"] if found else text.partition("@")[0], " of a cloud")
        if found is None:
            hint = f"use {fault.value}, or {fault.value}@N for the N-th call"
            raise InputError(f'"{one_line(text)}" is not a form of the fault {fault.value}', hint=hint, cause="fault")
        return cls(fault, int(found["number"]) if found["number"] else None)


def fault_at(faults: Iterable[CloudFaultCall], call: int) -> CloudFault | None:
    """Return the fault of call number *call*, counted from 1."""
    return next((one.fault for one in faults if one.number in (None, call)), None)
