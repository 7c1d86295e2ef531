"""The error tree: what went wrong, where, and how to mend it.

    RmfabError
    ├── InputError            bad input: product, CSV, file              exit 3
    │   ├── ComplaintsError   several complaints about one file at once
    │   ├── UsageError        options that exclude each other, or one missing   exit 2
    │   └── BatchUsedUp       no identity left to claim
    ├── StationError          port, cable, printer, ledger               exit 4
    │   ├── PortError         a port that is absent, busy, silent or gone
    │   └── LedgerError       a ledger that is locked, read-only, full or newer
    ├── UnitFault             a unit that is bad: its step FAILs          exit 1
    ├── UnitsFailed           the line ended with units that FAILed       exit 1
    └── IntegrityError        signature, chain, identity                 exit 5
        └── CloneError        an identity of this ledger on another board

A class says who must act; `cause` is the stable name of the reason that events carry as `class`.
Exit codes are given in one place only, `rmfab.cli`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """*text* for a terminal: what would steer it, or turn the order of its characters, as an escape sequence."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


class RmfabError(Exception):
    """An error that rmfab expects and explains.

    *what* is one sentence without a full stop, *where* a place (`file:line`, key path, port, serial),
    *hint* how to mend it, *cause* a stable name such as `chip-mismatch`.
    """

    cause: str = "error"

    def __init__(
        self, what: str, *, where: str | None = None, hint: str | None = None, cause: str | None = None
    ) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        if cause is not None:
            self.cause = cause

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what

    @property
    def complaints(self) -> tuple[RmfabError, ...]:
        """What it complains of: itself, or each of several things."""
        return (self,)

    def to_json(self) -> dict[str, str]:
        """`class`, `reason`, and where there are, `where` and `hint`."""
        told = {"class": self.cause, "reason": self.what, "where": self.where, "hint": self.hint}
        return {name: text for name, text in told.items() if text}

    def event(self) -> dict[str, object]:
        """The JSON object that tells of it, all its complaints included."""
        return {"event": "error", "errors": [one.to_json() for one in self.complaints]}


class InputError(RmfabError):
    """The product, a CSV, a file or an argument cannot be used as it is."""

    cause = "bad-input"


class ComplaintsError(InputError):
    """Everything that is wrong with one file; *complaints* are errors with a place each."""

    def __init__(self, complaints: Sequence[InputError]) -> None:
        if not complaints:
            raise ValueError("a ComplaintsError needs a complaint")
        first = complaints[0]
        super().__init__(first.what, where=first.where, hint=first.hint, cause=first.cause)
        self._complaints = tuple(complaints)

    def __reduce__(self) -> tuple[type[ComplaintsError], tuple[tuple[InputError, ...]]]:
        return type(self), (self._complaints,)

    @property
    def complaints(self) -> tuple[InputError, ...]:
        """Each of them."""
        return self._complaints

    def __str__(self) -> str:
        return "\n".join(str(complaint) for complaint in self.complaints)


class UsageError(InputError):
    """A request whose parts exclude each other, or that lacks one."""

    cause = "usage"


class BatchUsedUp(InputError):
    """The batch has no identity left that was never given."""

    cause = "batch-used-up"


class StationError(RmfabError):
    """The station, not the unit: a port, a cable, a printer, the ledger."""

    cause = "station"


class PortError(StationError):
    """A port that does not exist, is busy, answers nothing or went away."""

    cause = "port"


class LedgerError(StationError):
    """The ledger cannot be opened, read or written."""

    cause = "ledger"


class UnitFault(RmfabError):
    """The unit is bad: its step FAILs. *cause* is the stable name, *what* the reason for the operator."""

    cause = "fault"


class UnitsFailed(RmfabError):
    """The line is done, and at least one unit is bad."""

    cause = "units-failed"


class IntegrityError(RmfabError):
    """Stop the line: a signature, a digest, a chain or an identity does not hold."""

    cause = "integrity"


class CloneError(IntegrityError):
    """A board carries an identity that this ledger gave to another board."""

    cause = "clone"
