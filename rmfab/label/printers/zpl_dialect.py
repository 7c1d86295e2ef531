"""The conversation with a ZPL printer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rmfab.causes import Cause
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.direct_printer import SILENCE, PrinterAnswer
from rmfab.label.printers.faults import fault_of
from rmfab.label.printers.links import PrinterLink, exchange
from rmfab.label.printers.patience import PrinterPatience
from rmfab.label.printers.printer import PrinterFault, PrinterStatus
from rmfab.label.printers.zpl import zpl_job
from rmfab.label.printers.zpl_status import ZplAnswer, is_whole, parse_answer

if TYPE_CHECKING:
    from rmfab.label.raster import Raster

_ALL = b"~HI\r\n~HQES\r\n~HS\r\n"
_STATUS = b"~HS\r\n"
_CANCEL_ALL = b"~JA\r\n"


class ZplDialect:
    """ZPL: ~HS is answered at once, even in the middle of a format or without paper."""

    usual_dpi = 203

    def __init__(self, config: PrinterConfig) -> None:
        self._config = config

    def ask(self, link: PrinterLink, patience: PrinterPatience) -> PrinterAnswer:
        """Ask for model, errors and status in one go; the status comes last."""
        told = parse_answer(exchange(link, _ALL, is_whole, patience.answer))
        if told is None:
            return SILENCE
        status = PrinterStatus(True, told.model, told.dpi, None, told.urgent)
        busy = Cause.PRINTER_TAKE_LABEL if told.label_waits else None if told.idle else Cause.PRINTER_BUSY
        return PrinterAnswer(status, busy, told.half_job)

    def cancel(self, link: PrinterLink, patience: PrinterPatience) -> None:
        """Cancel everything with ~JA, and wait until the buffer is empty.

        ^XZ would end half a format as well, but print it: a label with a part of a code.
        """
        link.send(_CANCEL_ALL, patience.answer)
        end = time.monotonic() + patience.answer
        while time.monotonic() < end:
            told = parse_answer(exchange(link, _STATUS, is_whole, patience.answer))
            if told is None or told.idle:
                return
            link.receive(patience.poll)

    def job(self, label: Raster, copies: int, status: PrinterStatus, *, after_silence: bool) -> bytes:  # noqa: ARG002
        """Return the format. To a printer that never answers, first end what may be half a format."""
        return (b"^XZ" if after_silence else b"") + zpl_job(label, copies, self._config)

    def wait_printed(self, link: PrinterLink, copies: int, patience: PrinterPatience) -> None:
        """Ask until nothing is left in the printer, for a while."""
        end, idle_since = time.monotonic() + patience.label * copies, None
        while True:
            told = parse_answer(exchange(link, _STATUS, is_whole, patience.answer))
            now = time.monotonic()
            if told is not None and told.urgent:
                raise self._fault(told, link, patience)
            idle_since = None if told is None or not told.idle else idle_since or now
            if idle_since is not None:
                if now - idle_since >= patience.settle:
                    return
            elif now >= end:
                cause = Cause.PRINTER_SILENT if told is None else Cause.PRINTER_UNFINISHED
                raise fault_of(cause, self._config.address.text)
            link.receive(patience.poll)

    def _fault(self, told: ZplAnswer, link: PrinterLink, patience: PrinterPatience) -> PrinterFault:
        """Return the error for *told*. ~HS says only that the printer pauses if its cutter or head is at fault."""
        more = parse_answer(exchange(link, _ALL, is_whole, patience.answer)) or told
        return fault_of((*more.urgent, *told.urgent)[0], self._config.address.text)
