"""The part of a virtual printer that moves: labels, ribbon, head and motor, with a queue of pages before them.

One thread prints. Everything else asks and changes it under its lock.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rmfab.files import write_file
from rmfab.virtual.printers.bitmap import Bitmap
from rmfab.virtual.printers.faults import PrinterTrouble, PrinterTroubleCall
from rmfab.virtual.printers.spec import MM_PER_INCH, PrinterKind, VirtualPrinterSpec

_SPEED = 4.0  # inches per second
_START = 0.1  # seconds until the motor runs
_SLOW = 10
_WRONG_ROLL = 0.5  # times the width and height


@dataclass
class PrintedPage:
    """What is to be printed: one label, *copies* times."""

    bitmap: Bitmap
    copies: int = 1


class Mechanism:
    """The mechanism. *labels* are the files that came out, oldest first.

    *started* and *finished* are called around each label, *stopped* when one cannot be printed, and *came_out*
    with each file; not under the lock.
    """

    def __init__(self, spec: VirtualPrinterSpec, folder: Path) -> None:
        self.spec = spec
        self.labels: list[Path] = []
        self.queue: deque[PrintedPage] = deque()
        self.current: PrintedPage | None = None
        self.label_waits = False
        self.started: Callable[[], None] = lambda: None
        self.finished: Callable[[], None] = lambda: None
        self.stopped: Callable[[], None] = lambda: None
        self.came_out: Callable[[Path], None] = lambda _: None
        self._folder = folder
        self._first = 1 + max(
            (int(path.stem) for path in folder.glob("[0-9]*.png") if path.stem.isdecimal()), default=0
        )
        self._calls: list[PrinterTroubleCall] = []
        self._change = threading.Condition()
        self._ended = False
        self._moving = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def troubles(self) -> frozenset[PrinterTrouble]:
        """The faults that it has now."""
        with self._change:
            return frozenset(call.trouble for call in self._calls if call.after == 0)

    def has(self, *troubles: PrinterTrouble) -> bool:
        """Return whether it has one of *troubles* now."""
        return not self.troubles.isdisjoint(troubles)

    @property
    def media(self) -> tuple[float, float | None]:
        """Width and height of the labels in it, in mm; the height of a continuous roll is None."""
        if not self.has(PrinterTrouble.WRONG_ROLL):
            return self.spec.width, self.spec.height
        if self.spec.kind is PrinterKind.QL:
            return (62, None) if self.spec.height else (29, 90)
        return self.spec.width * _WRONG_ROLL, self.spec.height and self.spec.height * _WRONG_ROLL

    def give(self, call: PrinterTroubleCall) -> None:
        """Add a fault."""
        with self._change:
            self._calls = [one for one in self._calls if one.trouble is not call.trouble] + [call]
            self._change.notify_all()

    def fix(self, trouble: PrinterTrouble | None = None) -> None:
        """Remove a fault, or all."""
        with self._change:
            self._calls = [one for one in self._calls if trouble not in (None, one.trouble)]
            self._change.notify_all()

    def take_label(self) -> None:
        """Take the label that waits at the peeler."""
        with self._change:
            self.label_waits = False
            self._change.notify_all()

    def add(self, page: PrintedPage) -> None:
        """Queue *page*."""
        with self._change:
            self.queue.append(page)
            self._change.notify_all()

    def cancel(self) -> None:
        """Forget all pages; a label that moves still comes out."""
        with self._change:
            self.queue.clear()
            if self.current is not None:
                self.current.copies = 1
                if not self._moving:
                    self.current = None
            self._change.notify_all()

    def wait_while(self, trouble: PrinterTrouble) -> None:
        """Wait while it has *trouble*."""
        with self._change:
            self._change.wait_for(lambda: self._ended or not any(self._is_now(call, trouble) for call in self._calls))

    def end(self) -> None:
        """Switch it off."""
        with self._change:
            self._ended = True
            self._change.notify_all()
        self._thread.join()

    def _is_now(self, call: PrinterTroubleCall, trouble: PrinterTrouble) -> bool:
        return call.trouble is trouble and call.after == 0

    def _run(self) -> None:
        while self._next_page():
            while self._is_current():
                self._print_one()

    def _next_page(self) -> bool:
        """Wait for a page; return False at the end."""
        with self._change:
            self._change.wait_for(lambda: self._ended or bool(self.queue))
            self.current = None if self._ended else self.queue.popleft()
            return not self._ended

    def _is_current(self) -> bool:
        with self._change:
            return self.current is not None and self.current.copies > 0 and not self._ended

    def _print_one(self) -> None:
        """Print one label, or wait until that is possible or no longer wanted."""
        if not self._may_move():
            return
        self.started()
        half = self.has(PrinterTrouble.HALF_LABEL)
        with self._change:
            page = self.current
            self._change.wait_for(lambda: self._ended, timeout=self._seconds())
        if page is None or self._ended:
            return
        self._put_out(page.bitmap, half)
        with self._change:
            self._moving = False
            self._count(page, half)
            self._change.notify_all()
        if not half:
            self.finished()

    def _may_move(self) -> bool:
        """Wait until nothing stops the motor; return False if there is nothing to print any more."""
        told = False
        while True:
            with self._change:
                stops = self._stops()
                self._moving = not stops and self.current is not None
                if self._ended or self.current is None:
                    return False
                if not stops:
                    return True
                if told:
                    self._change.wait()
            if not told:
                told = True
                self.stopped()

    def _stops(self) -> bool:
        return self.label_waits or any(call.trouble.stops and call.after == 0 for call in self._calls)

    def _count(self, page: PrintedPage, half: bool) -> None:
        """Count down what comes after some labels; half a label is not one, and is printed again."""
        if half:
            self._calls = [one for one in self._calls if one.trouble is not PrinterTrouble.HALF_LABEL]
            self._calls.append(PrinterTroubleCall(PrinterTrouble.PAPER_OUT))
            return
        page.copies -= 1
        self.label_waits = any(self._is_now(call, PrinterTrouble.PEEL) for call in self._calls)
        self._calls = [PrinterTroubleCall(one.trouble, max(one.after - 1, 0)) for one in self._calls]
        if page.copies <= 0:
            self.current = None

    def _seconds(self) -> float:
        inches = (self.media[1] or 30) / MM_PER_INCH
        slow = _SLOW if any(self._is_now(call, PrinterTrouble.SLOW) for call in self._calls) else 1
        return self.spec.pace * slow * (_START + inches / _SPEED)

    def _put_out(self, bitmap: Bitmap, half: bool) -> None:
        """Write the label as a PNG. What is longer than a label goes onto the next one."""
        width, height = self.media
        wide = self.spec.dots(width)
        tall = len(bitmap.rows) if height is None else self.spec.dots(height)
        for top in range(0, max(len(bitmap.rows), 1), max(tall, 1)):
            piece = bitmap.piece(0, top, wide, max(tall // 2 if half else tall, 1))
            path = self._folder / f"{self._first + len(self.labels):06}.png"
            write_file(path, piece.png(self.spec.dpi), secret=True, sync=False)
            self.labels.append(path)
            self.came_out(path)
            if half:
                return
