"""The floor: all slots at work in parallel, one thread per slot, and one stream of events.

`stop` ends every unit as ABORTED as soon as its step waits.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import ExitStack

from rmfab.board.restart import Unwired
from rmfab.errors import BatchUsedUp, BoardConflict, InputError, IntegrityError, PortError, RmfabError, StationError
from rmfab.ledger.events import Outcome, timestamp
from rmfab.ledger.sql.outage import Watcher
from rmfab.line.ending import Aborted
from rmfab.line.events import (
    LineEvent,
    Message,
    Origin,
    SlotHeld,
    SlotService,
    SlotWaiting,
    Step,
    StepEnded,
    Stopped,
    UnitEnded,
    identities_text,
)
from rmfab.line.job import Job
from rmfab.line.slot_book import OutOfService
from rmfab.line.slot_judge import SeenBoard
from rmfab.line.slot_watch import SlotWatch
from rmfab.line.starts import Starts
from rmfab.line.station import Slot
from rmfab.line.worker import Worker

_POLL_SECONDS = 1.0


class Floor:
    """All slots of one run. `events` starts the work and yields until every slot is done."""

    def __init__(self, job: Job, slots: tuple[Slot, ...], *, loop: bool = False) -> None:
        if loop and any(isinstance(slot.link.restart, Unwired) for slot in slots):
            raise InputError(
                "--loop requires slots that rmfab can restart",
                hint='set restart in station.toml to "auto" or to a fixture\'s command',
            )
        self._job = job
        self.starts = Starts()
        self._slots = slots
        self._loop = loop
        self._stop = threading.Event()
        self._drain = threading.Event()
        self._queue: queue.SimpleQueue[LineEvent | None] = queue.SimpleQueue()
        self._bugs: list[BaseException] = []
        self.stopped = False
        self._warned_at: int | None = None
        self._warn_lock = threading.Lock()
        self._end_lock = threading.Lock()
        self._at_work = 0
        self._gave_last = False
        self._closed: dict[str, OutOfService | None] = {}
        self.stopped_by: RmfabError | None = None
        self.used_up = False

    @property
    def closed(self) -> dict[str, OutOfService]:
        """The slots that are out of service, and why, as they were last seen."""
        return {name: why for name, why in self._closed.items() if why is not None}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all slots, in their order."""
        return tuple(slot.name for slot in self._slots)

    @property
    def job(self) -> Job:
        """What all slots share."""
        return self._job

    def stop(self) -> None:
        """Abort every unit as soon as its step waits."""
        self.stopped = True
        self._stop.set()
        self._drain.set()

    def finish(self) -> None:
        """Start no more boards; the units at work go on to their end."""
        self._drain.set()

    def events(self) -> Iterator[LineEvent]:
        """Yield all events as they happen. Raise a bug of rmfab after all slots have ended.

        The station's witness connects first, if the product needs one; if it cannot, no unit is started. As soon as the
        ledger is open, it is checked for damage in the background, which would stop the line at the next claim. If its
        server is away, units wait for it until the line is stopped.
        """
        watcher = Watcher(lambda: not self._stop.is_set(), self._warn_all, refuse=self._refuse)
        with ExitStack() as stack:
            stack.enter_context(self._job.opening.guarded(watcher))
            if self._job.witness is not None:
                try:
                    stack.enter_context(self._job.witness.connected(self._keep_going))
                except Aborted:
                    return
                except RmfabError as error:
                    self._end(error)
                    yield Stopped(*self._origin(self._slots[0]), error)
                    return
            yield from self._events()

    def _events(self) -> Iterator[LineEvent]:
        threads = [
            threading.Thread(target=self._work, args=(slot,), name=f"slot {slot.name}", daemon=True)
            for slot in self._slots
        ]
        for thread in threads:
            thread.start()
        running = len(threads)
        try:
            while running:
                try:
                    event = self._queue.get(timeout=_POLL_SECONDS)  # Windows ignores Ctrl-C in an unlimited wait
                except queue.Empty:
                    continue
                if event is None:
                    running -= 1
                else:
                    yield event
        finally:
            self._stop.set()  # if the reader stops, the work stops
            self._drain.set()
            for thread in threads:
                thread.join(timeout=30)
        if self._bugs:
            raise self._bugs[0]

    def _work(self, slot: Slot) -> None:
        try:
            self._work_slot(slot)
        except Exception as bug:  # noqa: BLE001 - handed to the thread that reads the events
            self._bugs.append(bug)
            self._drain.set()
        finally:
            self._queue.put(None)

    def _work_slot(self, slot: Slot) -> None:
        board: str | None = None
        ended: UnitEnded | None = None
        while not self._loop or (board := self._next_board(slot, board, ended)):
            if not self._loop and self._is_closed(slot):
                return
            try:
                if not self._loop and not self._fixture_closed(slot):
                    return
                self._job.vouched()
            except RmfabError as error:  # of the fixture, or a key was revoked or expired since the run started
                self._tell(Stopped(*self._origin(slot), error))
                self._end(error)
                return
            with self._end_lock:
                self._at_work += 1
            stop = self.starts.began(slot.name, self._stop)
            ended = Worker(self._job, slot, self._tell, stop).run()
            self.starts.ended(slot.name, ended.outcome)
            self._count(slot, ended)
            with self._end_lock:
                self._at_work -= 1
                self._end_if_used_up()
            if isinstance(ended.error, (IntegrityError, BatchUsedUp)):
                self._say_why(slot, ended.error, first=self._end(ended.error))
            if not self._loop:
                return

    def _end_if_used_up(self) -> None:
        """End a loop whose batch has given its last identity, as soon as no board is under work."""
        if not (self._loop and self._gave_last) or self._at_work or self.stopped_by is not None:
            return
        job = self._job
        try:
            self.used_up = job.ledger.free(job.product.name, job.batch, ts=timestamp(job.now())) == 0
        except RmfabError:  # the next step that uses the ledger reports its error
            return
        if self.used_up:
            self._drain.set()

    def _is_closed(self, slot: Slot) -> bool:
        """Return whether *slot* is out of service; say so when that changes."""
        book = self._job.slots
        why = None if book is None else book.out_of_service(slot)
        if why == self._closed.get(slot.name):
            return why is not None
        self._closed[slot.name] = why
        reason, locked = (None, False) if why is None else (why.reason, why.locked)
        self._tell(SlotService(*self._origin(slot), reason, locked))
        if why is None:
            self._say(slot, "in service again")
        else:
            self._say(slot, f"{why.word}: {why.reason}; this slot starts no board", "warning")
        return why is not None

    def _count(self, slot: Slot, ended: UnitEnded) -> None:
        """Count the verdict for the slot, which may lock it."""
        book = self._job.slots
        if book is None or ended.mac is None or ended.outcome in (Outcome.ABORTED, Outcome.SEEN):
            return
        try:
            seen = SeenBoard(ended.mac, ended.outcome, ended.cause)
            book.count(slot, seen, decides=Step.IDENTIFY in self._job.steps)
        except (InputError, StationError) as error:
            self._say(slot, f"cannot count this board for its slot: {error}", "warning")
        self._is_closed(slot)

    def _end(self, error: RmfabError) -> bool:
        """Start no more boards on any slot, because of *error*. Return whether it is the first one to end the run."""
        with self._end_lock:
            first, self.stopped_by = self.stopped_by is None, self.stopped_by or error
            self._drain.set()
        return first

    def _refuse(self, error: RmfabError) -> None:
        """Start no more boards because of *error*, which was found in the background."""
        self._end(error)
        self._warn_all(f"stop: {error.what}; call the owner")

    def _say_why(self, slot: Slot, error: RmfabError, *, first: bool) -> None:
        """Say at once why a loop ends, if others are at work: the error at the end may be minutes away.

        A board to keep apart is always named.
        """
        if self._loop and isinstance(error, BoardConflict):
            self._say(slot, f"stop: {error.what}; keep this board apart, call the owner", "warning")
        elif self._loop and first and self._at_work:
            if isinstance(error, IntegrityError):
                self._say(slot, f"stop: {error.what}; call the owner", "warning")
            else:
                self._say(slot, "the batch is finished: insert no more boards")

    def _tell(self, event: LineEvent) -> None:
        self._queue.put(event)
        if not self._loop or not isinstance(event, StepEnded):
            return
        if event.step is Step.CLAIM and event.outcome is Outcome.PASS:
            self._warn_of_the_end(event)

    def _warn_of_the_end(self, claimed: StepEnded) -> None:
        """Warn once when few identities are left, and once when none are."""
        try:
            free = self._job.ledger.free(self._job.product.name, self._job.batch, ts=claimed.ts)
        except RmfabError:  # the next step that uses the ledger reports its error
            return
        few = max(10, 2 * len(self._slots))
        level = 0 if free == 0 else 1 if free <= few else 2
        if not claimed.measurements.get("again"):
            self._gave_last = free == 0
        with self._warn_lock:
            if level == 2 or (self._warned_at is not None and self._warned_at <= level):
                return
            self._warned_at = level
        where = f"batch {self._job.batch}" if self._job.batch else "the batches of this product"
        text = f"{identities_text(free)} left in {where}"
        self._queue.put(
            Message(claimed.ts, claimed.station, claimed.slot, None, None, "warning" if free == 0 else "info", text)
        )

    def _next_board(self, slot: Slot, last: str | None, ended: UnitEnded | None) -> str | None:
        """Wait for a board other than *last*, or for *last* to be removed and inserted again. Return its `Probe.board`.

        *ended* is the verdict of *last*. Return None at the end of the run.
        """
        if self._drain.is_set():
            return None
        if not self._is_closed(slot):
            self._say(slot, _request(ended))
        watch = SlotWatch(slot, last, self._job.console_baud, self._keep_going)
        try:
            return self._watched(slot, last, watch)
        except Aborted:
            return None
        finally:
            watch.close()

    def _watched(self, slot: Slot, last: str | None, watch: SlotWatch) -> str | None:
        away = last is None
        told: str | None = None
        shown: str | None = None
        while not self._drain.wait(_POLL_SECONDS):
            if self._is_closed(slot):
                watch.pause()
                continue
            seen = watch.look()
            if seen.board is None:
                if seen.trouble is None:
                    away = True
                    self.starts.emptied(slot.name)
                if seen.waiting != shown:
                    shown = seen.waiting
                    self._tell(SlotWaiting(*self._origin(slot), shown))
                if seen.absent and last is None and told is None:
                    told = "port-absent"
                    self._say(slot, seen.missing)
            else:
                new = away or not (seen.board == last or (seen.closed and self._closes))
                if not seen.fixture_open and self.starts.allows(slot.name, new=new, closed=slot.start is not None):
                    return seen.board
                if new and shown != seen.board:
                    shown = seen.board
                    self._tell(SlotHeld(*self._origin(slot)))
            if seen.trouble is not None and seen.trouble.cause != told:
                told = seen.trouble.cause
                hint = f"; {seen.trouble.hint}" if seen.trouble.hint else ""
                self._say(slot, f"{seen.trouble.what}{hint}", "warning", told)
        return None

    def _fixture_closed(self, slot: Slot) -> bool:
        """Wait until the fixture of *slot* is closed, if it tells; return False at the end of the run."""
        asked = False
        try:
            while slot.start is not None and not slot.start.closed(self._keep_going):
                if not asked:
                    self._say(slot, "close the fixture")
                asked = True
                self._drain.wait(_POLL_SECONDS)
        except Aborted:
            return False
        return True

    def _keep_going(self) -> None:
        """Raise Aborted if the line waits for no more boards."""
        if self._drain.is_set():
            raise Aborted

    @property
    def _closes(self) -> bool:
        """Whether the units that this run has finished no longer report their MAC."""
        firmware = self._job.firmware
        return firmware is not None and firmware.release.configured.closes_download_mode

    def _warn_all(self, text: str) -> None:
        """Say once what concerns all slots."""
        self._say(self._slots[0], text, "warning")

    def _say(self, slot: Slot, text: str, level: str = "info", about: str | None = None) -> None:
        self._queue.put(Message(*self._origin(slot), level, text, about))

    def _origin(self, slot: Slot) -> Origin:
        return Origin(timestamp(self._job.now()), self._job.station, slot.name, None, None)


def _request(ended: UnitEnded | None) -> str:
    """Return what the operator should do with a slot after the verdict *ended*, None before the first board."""
    if ended is None:
        return "insert a board"
    if ended.lacks_label:
        return "remove the board and set it apart: its label is missing; insert the next one"
    if ended.outcome is not Outcome.ERROR:
        return "remove the board and insert the next one"
    if isinstance(ended.error, PortError):
        return "fix the port, then insert the same board again"
    return "remove the board, fix the cause of the error, then insert the same board again"
