"""A label printer as the line sees it: its state before and after one label, and how far that label is proven.

A label is one job. The printer is asked before the job and after it. Whoever prints never repeats a job: after an
error nobody but a person can know whether the label came out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Protocol

from rmfab.causes import Cause
from rmfab.errors import StationError
from rmfab.label.printers.media import Media as Media

if TYPE_CHECKING:
    from rmfab.label.raster import Raster


@unique
class Delivery(StrEnum):
    """How far a printed label is proven: the printer has taken the job, or says that the label is out."""

    SENT = "sent"
    PRINTED = "printed"


@dataclass(frozen=True)
class PrinterStatus:
    """What a printer says about itself. None is what it does not say.

    *answers*: whether it answered at all. *faults*: why it cannot print now, the most urgent first. *stale*: the faults
    of its last job, of which nobody knows whether they are over.
    """

    answers: bool
    model: str | None = None
    dpi: int | None = None
    media: Media | None = None
    faults: tuple[Cause, ...] = ()
    stale: tuple[Cause, ...] = ()


class PrinterFault(StationError):
    """The printer cannot print. With *in_doubt* the job was begun, and the label may have come out."""

    cause = "printer"

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        cause: str | None = None,
        in_doubt: bool = False,
    ) -> None:
        super().__init__(what, where=where, hint=hint, cause=cause)
        self.in_doubt = in_doubt


class LabelPrinter(Protocol):
    """One printer. Its methods are not called by two threads at once."""

    @property
    def address(self) -> str:
        """The address, as station.toml has it."""

    @property
    def dpi(self) -> int:
        """The resolution in dots per inch, as configured, else as the printer says, else the language's usual one."""

    def status(self) -> PrinterStatus:
        """Ask the printer. Raise PrinterFault if it cannot be reached."""

    def print_label(self, label: Raster, copies: int = 1) -> Delivery:
        """Print *label* as one job: ask, send, ask again. Raise PrinterFault; nothing is ever sent twice."""
