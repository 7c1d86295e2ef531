"""The error tree: what went wrong, where, and how to fix it.

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
        └── BoardConflict     the board contradicts the ledger: its step FAILs
            └── CloneError    an identity of this ledger on the wrong board

The class determines who must act; `cause` is the stable name of the reason, which events carry as `class`.
Only `rmfab.cli` defines exit codes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_LONGEST = 4000
_KEPT_END = 1000
"""A clause has at most 4000 characters: it may quote a file. Of a longer one the middle is left out."""

_UNCOMMON = re.compile(r"[^\n\t -~]")


def printable(text: str) -> str:
    """Return *text* so that it can be shown anywhere: terminal, live view, JSON, log file, report.

    Everything that is not a visible character, a space, a tab or a line feed is escaped: control characters (C0, C1),
    invisible ones that change the direction or the look of others, line and paragraph separators, half surrogate pairs.
    Text from a device passes through here wherever it leaves rmfab.
    """
    return _UNCOMMON.sub(lambda found: _escaped(found[0]), text)


def one_line(text: str, most: int = 200) -> str:
    """Return *text* of a device for use in a message: printable, on one line, at most *most* characters and a `…`."""
    shown = printable(text[: most + 1]).replace("\n", "\\n").replace("\t", "\\t")
    return shown if len(shown) <= most else f"{shown[:most]}…"


def _escaped(letter: str) -> str:
    if letter.isprintable() or unicodedata.category(letter) == "Zs":
        return letter
    return letter.encode("unicode_escape").decode()


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - _KEPT_END]}…{text[-_KEPT_END:]}"


class RmfabError(Exception):
    """An error that rmfab expects and explains.

    *what* is one clause without a full stop, *where* a place (`file:line`, key path, port, serial),
    *hint* how to fix it, *cause* a stable name such as `chip-mismatch`.
    """

    cause: str = "error"

    def __init__(
        self, what: str, *, where: str | None = None, hint: str | None = None, cause: str | None = None
    ) -> None:
        self.what = _shortened(what)
        super().__init__(self.what)
        self.where = None if where is None else _shortened(where)
        self.hint = None if hint is None else _shortened(hint)
        if cause is not None:
            self.cause = cause

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what

    def hinted(self, hint: str) -> None:
        """Replace the hint by that of a caller who knows more; the error can then be raised again as it is."""
        self.hint = _shortened(hint)

    def reworded(self, what: str, hint: str | None) -> None:
        """Replace what is said by the same in the operator's language; the error can then be raised again as it is."""
        self.what = _shortened(what)
        self.hint = None if hint is None else _shortened(hint)

    @property
    def complaints(self) -> tuple[RmfabError, ...]:
        """The errors to report: this one, or each of several."""
        return (self,)

    def to_json(self) -> dict[str, str]:
        """Return `class` and `reason`, and `where` and `hint` if they are set."""
        told = {"class": self.cause, "reason": self.what, "where": self.where, "hint": self.hint}
        return {name: text for name, text in told.items() if text}

    def event(self) -> dict[str, object]:
        """Return the JSON object that reports it, with all its complaints."""
        return {"event": "error", "errors": [one.to_json() for one in self.complaints]}


class InputError(RmfabError):
    """The product, a CSV, a file or an argument cannot be used as it is."""

    cause = "bad-input"


class ComplaintsError(InputError):
    """Everything that is wrong with one file; each of *complaints* is an error with its place."""

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
        """The errors, in order."""
        return self._complaints

    def __str__(self) -> str:
        return "\n".join(str(complaint) for complaint in self.complaints)


class UsageError(InputError):
    """Options that exclude each other, or a missing one."""

    cause = "usage"


class BatchUsedUp(InputError):
    """The batch has no free identity left."""

    cause = "batch-used-up"


class StationError(RmfabError):
    """The station is at fault, not the unit: a port, a cable, a printer, the ledger."""

    cause = "station"


class PortError(StationError):
    """The port does not exist, is busy, does not answer or was unplugged."""

    cause = "port"


class LedgerError(StationError):
    """The ledger cannot be opened, read or written."""

    cause = "ledger"


class UnitFault(RmfabError):
    """The unit is bad: its step FAILs. *cause* is the stable name, *what* the reason that the operator reads."""

    cause = "fault"


class UnitsFailed(RmfabError):
    """The line has ended, and at least one unit failed."""

    cause = "units-failed"


class IntegrityError(RmfabError):
    """Stop the line: a signature, a digest, a hash chain or an identity is invalid."""

    cause = "integrity"


class BoardConflict(IntegrityError):
    """A board and the ledger contradict each other, and the ledger is sound: the unit is bad, and the line stops."""


class CloneError(BoardConflict):
    """A board carries an identity that this ledger gave to a different board."""

    cause = "clone"


def cannot_listen(host: str, port: int, why: str) -> StationError:
    """Return the error of a server that cannot listen at *host* and *port*."""
    return StationError(
        f"cannot listen: {why}",
        where=f"{host}:{port}",
        hint="use a different port, or 0 for any free one, and an address of this host",
        cause="port-in-use",
    )
