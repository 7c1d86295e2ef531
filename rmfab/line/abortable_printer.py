"""A printer that the operator does not have to wait for: ^C ends a wait at once, whatever the printer does."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from rmfab.label.printers.printer import Delivery, LabelPrinter, PrinterStatus
from rmfab.label.raster import Raster
from rmfab.signals import SLICE_SECONDS

T = TypeVar("T")


class AbortablePrinter:
    """*printer*, whose every call ends as soon as *keep_going* raises.

    What was begun goes on in its thread, and nobody learns how it ends: a label that was being printed is in doubt.
    """

    def __init__(self, printer: LabelPrinter, keep_going: Callable[[], None]) -> None:
        self._printer = printer
        self._keep_going = keep_going

    @property
    def address(self) -> str:
        """See `LabelPrinter.address`."""
        return self._printer.address

    @property
    def dpi(self) -> int:
        """See `LabelPrinter.dpi`."""
        return self._wait(lambda: self._printer.dpi)

    def status(self) -> PrinterStatus:
        """See `LabelPrinter.status`."""
        return self._wait(self._printer.status)

    def print_label(self, label: Raster, copies: int = 1) -> Delivery:
        """See `LabelPrinter.print_label`."""
        return self._wait(lambda: self._printer.print_label(label, copies))

    def _wait(self, call: Callable[[], T]) -> T:
        """Return what *call* returns, or raise what it raises. Raise what the operator's stop raises meanwhile."""
        ended: Future[T] = Future()

        def work() -> None:
            try:
                ended.set_result(call())
            except Exception as error:  # noqa: BLE001 - raised in the thread that waits
                ended.set_exception(error)

        threading.Thread(target=work, name="printer", daemon=True).start()
        while not wait([ended], SLICE_SECONDS).done:
            self._keep_going()
        return ended.result()
