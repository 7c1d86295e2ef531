"""The conversation with a TSPL printer: it answers with one byte, and many clones do not answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rmfab.causes import Cause
from rmfab.errors import one_line
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.direct_printer import SILENCE, PrinterAnswer
from rmfab.label.printers.faults import fault_of
from rmfab.label.printers.links import PrinterLink, exchange
from rmfab.label.printers.patience import PrinterPatience
from rmfab.label.printers.printer import PrinterStatus
from rmfab.label.printers.tspl import PRINTING, tspl_faults, tspl_job

if TYPE_CHECKING:
    from rmfab.label.raster import Raster

_STATUS = b"\x1b!?"
_CANCEL_ALL = b"\x1b!."
_MODEL = b"~!T\r\n"
_FILL = b" " * 4096
_MOST_FILL = 1 << 17
"""Half a bitmap swallows what follows, as many bytes as it lacks: so many are sent at most, to end it."""


class TsplDialect:
    """TSPL."""

    usual_dpi = 203

    def __init__(self, config: PrinterConfig) -> None:
        self._config = config
        self._model: str | None = None
        self._ended_half_job = False

    def ask(self, link: PrinterLink, patience: PrinterPatience) -> PrinterAnswer:
        """Ask for the status byte, and once for the model.

        The first time that nothing comes, end what may be half a bitmap of a process that was killed.
        """
        status = self._status(link, patience.answer)
        if status is None and not self._ended_half_job:
            self._ended_half_job = True
            status = self._end_half_job(link, patience)
        if status is None:
            return SILENCE
        if self._model is None and not tspl_faults(status):
            self._model = self._ask_model(link, patience)
        told = PrinterStatus(True, self._model or None, None, None, tspl_faults(status))
        return PrinterAnswer(told, Cause.PRINTER_BUSY if status & PRINTING else None)

    def _status(self, link: PrinterLink, seconds: float) -> int | None:
        answer = exchange(link, _STATUS, bool, seconds)
        return answer[-1] if answer else None

    def _ask_model(self, link: PrinterLink, patience: PrinterPatience) -> str:
        """Return the model, empty if the printer does not say it."""
        answer = exchange(link, _MODEL, lambda told: told.endswith((b"\r", b"\n", b"\0")), patience.answer / 4)
        return one_line(answer.strip(b"\r\n\0 ").decode("latin-1"), 60)

    def _end_half_job(self, link: PrinterLink, patience: PrinterPatience) -> int | None:
        """Send blanks, which mean nothing between commands, until the printer answers again."""
        for _ in range(_MOST_FILL // len(_FILL)):
            link.send(_FILL, patience.send)
            if self._status(link, patience.poll / 2) is not None:
                break
        link.send(b"\r\nCLS\r\n", patience.send)
        return self._status(link, patience.answer / 4)

    def cancel(self, link: PrinterLink, patience: PrinterPatience) -> None:
        """Cancel all that is in its buffer. Older printers do not know the command; a reset would cut the network."""
        link.send(_CANCEL_ALL, patience.answer)
        self._status(link, patience.answer)  # it is obeyed before the link is closed

    def job(self, label: Raster, copies: int, status: PrinterStatus, *, after_silence: bool) -> bytes:  # noqa: ARG002
        """Return the job."""
        return tspl_job(label, copies, self._config.dpi or self.usual_dpi, self._config)

    def wait_printed(self, link: PrinterLink, copies: int, patience: PrinterPatience) -> None:
        """Ask until the printer is idle: after it was seen printing, or for a while."""
        end, idle_since, was_printing = time.monotonic() + patience.label * copies, None, False
        while True:
            status, now = self._status(link, patience.answer), time.monotonic()
            if status and tspl_faults(status):
                raise fault_of(tspl_faults(status)[0], self._config.address.text)
            was_printing = was_printing or status == PRINTING
            idle_since = (idle_since or now) if status == 0 else None
            if idle_since is not None and now - idle_since >= patience.settle * (1 if was_printing else 3):
                return
            if now >= end:
                cause = Cause.PRINTER_SILENT if status is None else Cause.PRINTER_UNFINISHED
                raise fault_of(cause, self._config.address.text)
            link.receive(patience.poll)
