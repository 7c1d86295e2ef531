"""A printer that is spoken to in its own language, over a link: ask, send one label, ask until it is out.

What differs between languages is a `Dialect`; the order of things and the judgement of a failure are here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rmfab.causes import Cause
from rmfab.label.printers.address import DevicePlace, TcpPlace
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.faults import fault_of, judge_dpi, judge_media, judge_size
from rmfab.label.printers.links import RETRY, PrinterLink, open_link
from rmfab.label.printers.patience import PrinterPatience
from rmfab.label.printers.printer import Delivery, PrinterFault, PrinterStatus

if TYPE_CHECKING:
    from rmfab.label.raster import Raster


@dataclass(frozen=True)
class PrinterAnswer:
    """What a printer answers. *busy*: why it cannot take a label yet; *half_job*: it waits for the end of a label."""

    status: PrinterStatus
    busy: Cause | None = None
    half_job: bool = False


SILENCE = PrinterAnswer(PrinterStatus(answers=False))


class Dialect(Protocol):
    """A language of printers, for one configuration."""

    usual_dpi: int

    def ask(self, link: PrinterLink, patience: PrinterPatience) -> PrinterAnswer:
        """Ask for everything, `SILENCE` if nothing comes."""

    def cancel(self, link: PrinterLink, patience: PrinterPatience) -> None:
        """Remove every label from the printer, also half of one."""

    def job(self, label: Raster, copies: int, status: PrinterStatus, *, after_silence: bool) -> bytes:
        """Return the bytes of one job. Raise PrinterFault if it does not fit the printer.

        *after_silence*: the printer never answers, and may still hold half a label.
        """

    def wait_printed(self, link: PrinterLink, copies: int, patience: PrinterPatience) -> None:
        """Wait until the labels are out. Raise PrinterFault."""


class DirectPrinter:
    """A printer at the other end of a link."""

    def __init__(
        self,
        config: PrinterConfig,
        place: TcpPlace | DevicePlace,
        dialect: Dialect,
        patience: PrinterPatience = PrinterPatience(),  # noqa: B008 - it is frozen
    ) -> None:
        self._config = config
        self._place = place
        self._dialect = dialect
        self._patience = patience
        self._dpi = config.dpi
        self._answers = False
        self._unclean = True
        """Whether the printer may hold half a label: a job did not end well, or this process has not printed yet."""

    @property
    def address(self) -> str:
        """The address, as station.toml has it."""
        return self._config.address.text

    @property
    def dpi(self) -> int:
        """The resolution: as configured, else as the printer reports, else the usual one of its language."""
        if self._dpi is None:
            self._dpi = self.status().dpi or self._dialect.usual_dpi
        return self._dpi

    def status(self) -> PrinterStatus:
        """Ask the printer. Raise PrinterFault if it cannot be reached, or has answered before and does not now."""
        with self._opened() as (_, answer):
            return answer.status

    def print_label(self, label: Raster, copies: int = 1) -> Delivery:
        """Print *label* as one job. Raise PrinterFault; nothing is ever sent twice."""
        with self._opened() as (link, first):
            answer = self._ready(link, first)
            self._judge(label, answer)
            silent = not answer.status.answers
            job = self._dialect.job(label, copies, answer.status, after_silence=silent and self._unclean)
            before, self._unclean = link.accepted, True
            try:
                link.send(job, self._patience.send)
                if silent:
                    link.finish(self._patience.busy)
                else:
                    self._dialect.wait_printed(link, copies, self._patience)
            except PrinterFault as fault:
                fault.in_doubt = link.accepted > before
                self._cancel(link)
                raise
            self._unclean = False
            return Delivery.SENT if silent else Delivery.PRINTED

    @contextmanager
    def _opened(self) -> Iterator[tuple[PrinterLink, PrinterAnswer]]:
        """Open the link and ask. A connection that ends before the first answer is one too many: try for a while."""
        end = time.monotonic() + self._patience.busy
        with ExitStack() as stack:
            while True:
                link = stack.enter_context(open_link(self._place, self.address, self._patience))
                try:
                    answer = self._ask(link)
                    break
                except PrinterFault as fault:
                    if fault.cause != Cause.PRINTER_GONE or isinstance(self._place, DevicePlace):
                        raise
                    if time.monotonic() >= end:
                        what = "the printer closes the connection at once"
                        raise fault_of(Cause.PRINTER_BUSY, self.address, what) from None
                stack.close()
                time.sleep(RETRY)
            yield link, answer

    def _ask(self, link: PrinterLink) -> PrinterAnswer:
        """Ask. Raise PrinterFault if a printer that has answered before does not now."""
        answer = self._dialect.ask(link, self._patience)
        if self._answers and not answer.status.answers:
            raise fault_of(Cause.PRINTER_SILENT, self.address)
        self._answers = answer.status.answers
        return answer

    def _ready(self, link: PrinterLink, answer: PrinterAnswer) -> PrinterAnswer:
        """Return the answer of a printer that can print now; clear half a label, and wait for older ones."""
        end = time.monotonic() + self._patience.busy
        if answer.half_job:
            self._dialect.cancel(link, self._patience)
            answer = self._ask(link)
            if answer.half_job:
                raise fault_of(Cause.PRINTER_HALF_JOB, self.address)
        while answer.busy and not answer.status.faults:
            if time.monotonic() >= end:
                what = "the printer is still printing older labels" if answer.busy is Cause.PRINTER_BUSY else None
                raise fault_of(answer.busy, self.address, what)
            link.receive(self._patience.poll)
            answer = self._ask(link)
        return answer

    def _judge(self, label: Raster, answer: PrinterAnswer) -> None:
        """Raise PrinterFault if the printer cannot print now, or has the wrong head or labels."""
        status = answer.status
        if status.faults:
            raise fault_of(status.faults[0], self.address)
        judge_dpi(self._config, status.dpi)
        judge_media(self._config, status.media)
        dpi = self._config.dpi or status.dpi or self._dialect.usual_dpi
        judge_size(label, status.media or self._config.media, dpi, self.address)

    def _cancel(self, link: PrinterLink) -> None:
        """Take back a label that has not come out, so that it does not come out later, beside a different board."""
        with suppress(PrinterFault):
            self._dialect.cancel(link, self._patience)
