"""A CUPS queue or an IPP printer: one label is one job, followed to its end, and cancelled if that does not come.

A queue with a driver gets a document; one without (raw) gets the language that the address names. `lp` would return
when the job is queued: it may come out hours later, beside a different board.
"""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from rmfab.causes import Cause
from rmfab.label.printers.address import IppPlace
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.direct_printer import Dialect
from rmfab.label.printers.faults import fault_of, judge_dpi, judge_media, judge_size
from rmfab.label.printers.ipp import Attributes, Operation, Tag, Value
from rmfab.label.printers.ipp_client import IppClient
from rmfab.label.printers.ipp_status import WANTED, QueueState, media_name, queue_state
from rmfab.label.printers.media import Media
from rmfab.label.printers.patience import PrinterPatience
from rmfab.label.printers.printer import Delivery, PrinterFault, PrinterStatus

if TYPE_CHECKING:
    from rmfab.label.raster import Raster

_CANCELED, _ABORTED, _COMPLETED = 7, 8, 9
_RAW_FORMATS = ("application/vnd.cups-raw", "application/octet-stream")
_USUAL_DPI = 300


class IppPrinter:
    """A queue. *dialect* writes the jobs of a raw one."""

    def __init__(
        self, config: PrinterConfig, place: IppPlace, dialect: Dialect | None, patience: PrinterPatience
    ) -> None:
        self._config = config
        self._dialect = dialect
        self._patience = patience
        self._client = IppClient(place, config.address.text, patience)
        self._dpi = config.dpi

    @property
    def address(self) -> str:
        """The address, as station.toml has it."""
        return self._config.address.text

    @property
    def _usual_dpi(self) -> int:
        return _USUAL_DPI if self._dialect is None else self._dialect.usual_dpi

    @property
    def dpi(self) -> int:
        """The resolution: as configured, else as the queue says, else the usual one."""
        if self._dpi is None:
            self._dpi = self.status().dpi or self._usual_dpi
        return self._dpi

    def status(self) -> PrinterStatus:
        """Ask the queue."""
        return self._state().status

    def print_label(self, label: Raster, copies: int = 1) -> Delivery:
        """Print *label* as one job, and follow it to its end."""
        state = self._ready()
        judge_dpi(self._config, state.status.dpi)
        judge_media(self._config, state.status.media)
        dpi = self._config.dpi or state.status.dpi or self._usual_dpi
        judge_size(label, state.status.media or self._config.media, dpi, self.address)
        kind, document = self._document(label, copies, dpi, state)
        job = self._start(kind, document, self._job_attributes(label, copies, dpi, state))
        try:
            self._follow(job, copies, set(state.status.stale))
        except BaseException as error:
            if isinstance(error, PrinterFault):
                error.in_doubt = True
            self._cancel(job)
            raise
        return Delivery.PRINTED if state.proves else Delivery.SENT

    def _state(self) -> QueueState:
        wanted: Attributes = {"requested-attributes": (Tag.KEYWORD, WANTED)}
        return queue_state(self._client.ask(Operation.GET_PRINTER_ATTRIBUTES, wanted), self._config.dpi)

    def _ready(self) -> QueueState:
        """Return the state of a queue that can print now; wait for the jobs of others."""
        end = time.monotonic() + self._patience.busy
        while True:
            state = self._state()
            if state.status.faults:
                raise fault_of(state.status.faults[0], self.address)
            if not state.waiting:
                return state
            if time.monotonic() >= end:
                raise fault_of(Cause.PRINTER_BUSY, self.address, f"{state.waiting} jobs wait in the queue")
            time.sleep(self._patience.poll)

    def _document(self, label: Raster, copies: int, dpi: int, state: QueueState) -> tuple[str, bytes]:
        """Return the type and the bytes of a job that the queue takes."""
        from rmfab.label.printers.document import pdf_of, png_of

        if self._dialect is not None:
            kind = next((one for one in _RAW_FORMATS if one in state.formats), _RAW_FORMATS[-1])
            return kind, self._dialect.job(label, copies, state.status, after_silence=False)
        if state.is_raw:
            raise fault_of(Cause.PRINTER_RAW_QUEUE, self.address)
        if "application/pdf" in state.formats:
            return "application/pdf", pdf_of(label, dpi)
        if "image/png" in state.formats:
            return "image/png", png_of(label, dpi)
        raise fault_of(Cause.PRINTER_FORMAT, self.address)

    def _job_attributes(self, label: Raster, copies: int, dpi: int, state: QueueState) -> Attributes:
        """Return the attributes of a job; that of a raw queue has its copies and its size in its language."""
        from rmfab.label.printers.document import page_points

        if self._dialect is not None:
            return {}
        width, height = (math.ceil(points * 2540 / 72) / 100 for points in page_points(label, dpi))
        media = self._config.media or Media(width, height)
        name = media_name(media.width, media.height or height, state.sizes)
        attributes: dict[str, tuple[Tag, tuple[Value, ...]]] = {"copies": (Tag.INTEGER, (copies,))}
        if name is not None:
            attributes["media"] = (Tag.KEYWORD, (name,))
        if state.may_scale:
            attributes["print-scaling"] = (Tag.KEYWORD, ("none",))
        return attributes

    def _start(self, kind: str, document: bytes, job: Attributes) -> int:
        """Send the job and return its number."""
        about: Attributes = {"job-name": (Tag.NAME, ("label",)), "document-format": (Tag.MIME_TYPE, (kind,))}
        answer = self._client.ask(Operation.PRINT_JOB, about, job, document)
        number = answer.number("job-id")
        if number <= 0:
            fault = fault_of(Cause.PRINTER_IPP, self.address, "the queue took the job without a number for it")
            fault.in_doubt = True
            raise fault
        return number

    def _follow(self, job: int, copies: int, stale: set[Cause]) -> None:
        """Wait until the job is completed. Raise PrinterFault if it ends otherwise, or does not end.

        CUPS removes *stale* faults when it reaches the printer. What is left after a while is true again.
        """
        start = time.monotonic()
        end, renewed = start + self._patience.label * copies, start + self._patience.busy
        while True:
            wanted: Attributes = {
                "job-id": (Tag.INTEGER, (job,)),
                "requested-attributes": (Tag.KEYWORD, ("job-state", "job-state-reasons")),
            }
            state = self._client.ask(Operation.GET_JOB_ATTRIBUTES, wanted).number("job-state")
            if state == _COMPLETED:
                return
            queue = self._state()
            stale &= queue.reported if time.monotonic() < renewed else set()
            for cause in (*queue.status.faults, *queue.status.stale):
                if cause not in stale:
                    raise fault_of(cause, self.address)
            if state in (_CANCELED, _ABORTED):
                raise fault_of(Cause.PRINTER_JOB, self.address)
            if time.monotonic() >= end:
                raise fault_of(Cause.PRINTER_UNFINISHED, self.address)
            time.sleep(self._patience.poll)

    def _cancel(self, job: int) -> None:
        """Cancel the job, so that it does not come out later, beside a different board."""
        with suppress(PrinterFault):
            self._client.ask(Operation.CANCEL_JOB, {"job-id": (Tag.INTEGER, (job,))})
