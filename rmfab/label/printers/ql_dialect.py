"""The conversation with a Brother QL: it reports by itself when a page is printed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rmfab.causes import Cause
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.direct_printer import SILENCE, PrinterAnswer
from rmfab.label.printers.faults import fault_of
from rmfab.label.printers.links import PrinterLink, exchange
from rmfab.label.printers.media import Media
from rmfab.label.printers.patience import PrinterPatience
from rmfab.label.printers.printer import PrinterStatus
from rmfab.label.printers.ql import CLEAR, STATUS_REQUEST, fitting, ql_job
from rmfab.label.printers.ql_media import QL_DPI, UNKNOWN_MODEL, QlModel, Roll, roll_of
from rmfab.label.printers.ql_status import QlPacket, Report, take_packets

if TYPE_CHECKING:
    from rmfab.label.raster import Raster

_ASK_AGAIN = 1.0
"""Seconds after which the question is repeated: a printer that prints an older label does not answer (Brother, "Status
request")."""


class QlDialect:
    """Brother's raster language."""

    usual_dpi = QL_DPI

    def __init__(self, config: PrinterConfig) -> None:
        self._config = config
        self._model: QlModel = UNKNOWN_MODEL

    def ask(self, link: PrinterLink, patience: PrinterPatience) -> PrinterAnswer:
        """Clear what is in the buffer, and ask for the status."""
        end = time.monotonic() + patience.answer
        while (left := end - time.monotonic()) > 0:
            told = exchange(link, CLEAR + STATUS_REQUEST, lambda answer: bool(_replies(answer)), min(left, _ASK_AGAIN))
            replies = _replies(told)
            if replies:
                return self._answer(replies[-1])
        return SILENCE

    def _answer(self, packet: QlPacket) -> PrinterAnswer:
        self._model = packet.model
        media = Media(packet.width, packet.length or None) if packet.width else None
        status = PrinterStatus(True, packet.model.name, self.usual_dpi, media, packet.faults)
        return PrinterAnswer(status, Cause.PRINTER_BUSY if packet.printing else None)

    def cancel(self, link: PrinterLink, patience: PrinterPatience) -> None:
        """Clear the buffer, and wait until that is done."""
        self.ask(link, patience)

    def job(self, label: Raster, copies: int, status: PrinterStatus, *, after_silence: bool) -> bytes:  # noqa: ARG002
        """Return the job for the roll that the printer reports, else the configured one."""
        roll = self._roll(status)
        if roll.dots_wide + roll.right + self._model.shift > self._model.row_bytes * 8:
            raise fault_of(Cause.PRINTER_MEDIA, self._config.address.text, f"the roll of {roll.media} is too wide")
        return ql_job(fitting(label, roll, self._config.address.text), copies, roll, self._model)

    def _roll(self, status: PrinterStatus) -> Roll:
        media = status.media or self._config.media
        roll = None if media is None else roll_of(media.width, media.height or 0)
        if roll is not None:
            return roll
        what = "unknown roll: state media in station.toml ([printer])" if media is None else f"unknown roll: {media}"
        raise fault_of(Cause.PRINTER_MEDIA, self._config.address.text, what)

    def wait_printed(self, link: PrinterLink, copies: int, patience: PrinterPatience) -> None:
        """Wait for a report of each page, and for the printer to be ready again.

        Older models do not report the last change of phase.
        """
        end, told, completed, ready = time.monotonic() + patience.label * copies, b"", 0, False
        while completed < copies or not ready:
            if (left := end - time.monotonic()) <= 0 and completed < copies:
                raise fault_of(Cause.PRINTER_UNFINISHED, self._config.address.text)
            piece = link.receive(max(left, 0) if completed < copies else patience.settle)
            if not piece and completed >= copies:
                return
            packets, told = take_packets(told + piece)
            for packet in packets:
                self._judge(packet)
                completed += packet.report is Report.COMPLETED
                ready = packet.report is Report.PHASE_CHANGE and not packet.printing

    def _judge(self, packet: QlPacket) -> None:
        """Raise PrinterFault if *packet* reports an error."""
        if packet.report is Report.TURNED_OFF:
            raise fault_of(Cause.PRINTER_GONE, self._config.address.text, "the printer was turned off")
        if packet.faults or packet.report is Report.ERROR:
            raise fault_of((*packet.faults, Cause.PRINTER_HARDWARE)[0], self._config.address.text)


def _replies(answer: bytes) -> list[QlPacket]:
    return [packet for packet in take_packets(answer)[0] if packet.report is Report.REPLY]
