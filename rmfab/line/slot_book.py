"""The book of a host's slots: which are out of service and why, and how their last boards ended.

It is one file of the host, by the ports of the slots: a worn pin does not depend on the product that is made. All
processes of the host share it, and each of them sees at once what another one has changed. Slots that no station.toml
names are not in it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rmfab.errors import InputError, RmfabError, UsageError, one_line
from rmfab.files import is_there, locked, make_folder, read_input, write_file
from rmfab.json_text import parse_json
from rmfab.ledger.badge import LONGEST
from rmfab.ledger.events import Outcome
from rmfab.line.slot_judge import Recent, SeenBoard, Worse, is_slots_fault, reason_to_lock, with_board
from rmfab.line.station import Slot

FILE_NAME = "slots.json"
LONGEST_REASON = 200
_LARGEST_FILE = 1 << 22
_MOST_SLOTS = 512
_MOST_CHANGES = 200


@dataclass(frozen=True)
class OutOfService:
    """Why a slot starts no board, and since when (None: as station.toml says). *locked*: it needs a supervisor.

    *operator*: who took it out of service, None if it was the line, or is not known.
    """

    reason: str
    since: str | None = None
    locked: bool = False
    operator: str | None = None

    @property
    def word(self) -> str:
        """`locked` or `disabled`."""
        return "locked" if self.locked else "disabled"

    def way_back(self, slot: str) -> str:
        """Return what puts *slot* into service again."""
        if self.locked:
            return f"fix the cause, then `rmfab slot unlock {slot} --reason TEXT`"
        return f"`rmfab slot enable {slot}`" if self.since else "remove enabled = false from station.toml"

    def __str__(self) -> str:
        known = [f"since {self.since}"] * bool(self.since) + [f"by {self.operator}"] * bool(self.operator)
        return f"{self.word}: {self.reason}" + (f" ({', '.join(known)})" if known else "")


@dataclass(frozen=True)
class SlotState:
    """What the book has on a slot."""

    name: str
    disabled: OutOfService | None = None
    locked: OutOfService | None = None
    recent: Recent = ()


@dataclass(frozen=True)
class _Page:
    """The content of the file: the slots by their ports, the one that was changed last at the end; and the changes."""

    slots: Mapping[str, SlotState] = field(default_factory=dict)
    changes: tuple[Mapping[str, str], ...] = ()


class SlotBook:
    """The book in the file *path*, for the *slots* of one station.toml. *now* returns the time for its entries."""

    def __init__(self, path: Path, slots: Sequence[Slot], worse: Worse, now: Callable[[], str]) -> None:
        self._path = path
        self._slots = {slot.name: slot for slot in slots}
        self._worse = worse
        self._now = now
        self._one = threading.Lock()
        self._seen: tuple[tuple[int, int, int] | None, _Page] = (None, _Page())

    def state(self, slot: Slot) -> SlotState:
        """Return what the book has on *slot*. Raise InputError if it cannot be read."""
        return self._read().slots.get(slot.link.address) or SlotState(slot.name)

    def out_of_service(self, slot: Slot) -> OutOfService | None:
        """Return why *slot* starts no board, None if it may; a book that cannot be read is a reason."""
        if slot.name not in self._slots:
            return None
        if not slot.enabled:
            return OutOfService("enabled = false in station.toml")
        try:
            state = self.state(slot)
        except RmfabError as error:
            return OutOfService(f"{error}; {error.hint}", locked=True)
        return state.locked or state.disabled

    def is_slots_fault(self, slot: Slot, board: str, cause: str | None) -> bool:
        """Return whether *cause* on *board* is the fault of *slot*."""
        return slot.name in self._slots and is_slots_fault(self.state(slot).recent, board, cause)

    def count(self, slot: Slot, seen: SeenBoard, *, decides: bool = True) -> str | None:
        """Count a board that has ended on *slot*; lock the slot if that is a reason, and return it.

        *decides*: the run proves its units, and does not only flash them.
        Raise InputError or StationError if the book cannot be written.
        """
        if slot.name not in self._slots:
            return None
        with self._changing() as page:
            pages = {one.link.address: page.slots.get(one.link.address) for one in self._slots.values()}
            here = slot.link.address
            elsewhere = any(
                state is not None and port != here and any(one.board == seen.board for one in state.recent)
                for port, state in pages.items()
            )
            state = replace(pages[here] or SlotState(slot.name), name=slot.name)
            state = replace(state, recent=with_board(state.recent, seen, elsewhere=elsewhere, decides=decides))
            recents = {name: self._recent(page, one) for name, one in self._slots.items()} | {slot.name: state.recent}
            reason = None if state.locked else reason_to_lock(slot.name, recents, self._worse)
            if reason is not None:
                state = replace(state, locked=OutOfService(reason, self._now(), locked=True))
            self._write(page, here, state, {} if reason is None else _entry("locked", reason, None))
        return reason

    def disable(self, slot: Slot, reason: str, operator: str | None) -> None:
        """Take *slot* out of service, by *operator*. Raise InputError if the book or the reason cannot be used."""
        mark = OutOfService(_fit(reason), self._now(), operator=operator)
        entry = _entry("disabled", mark.reason, operator)
        self._change(slot, entry, lambda state: replace(state, disabled=mark))

    def enable(self, slot: Slot, operator: str | None) -> bool:
        """Put *slot* into service again; return whether it was disabled. It does not unlock."""
        return self._change(
            slot,
            _entry("enabled", "", operator),
            lambda state: replace(state, disabled=None),
            lambda state: state.disabled is not None,
        )

    def unlock(self, slot: Slot, reason: str, operator: str | None) -> bool:
        """Unlock *slot* because of *reason*; return whether it was locked. Its boards so far no longer count."""
        return self._change(
            slot,
            _entry("unlocked", _fit(reason), operator),
            lambda state: replace(state, locked=None, recent=()),
            lambda state: state.locked is not None,
        )

    def changes(self, slot: Slot) -> tuple[Mapping[str, str], ...]:
        """Return the last changes of *slot*, the oldest first."""
        return tuple(one for one in self._read().changes if one.get("port") == slot.link.address)

    def _recent(self, page: _Page, slot: Slot) -> Recent:
        state = page.slots.get(slot.link.address)
        return () if state is None else state.recent

    def _change(
        self,
        slot: Slot,
        entry: Mapping[str, str],
        change: Callable[[SlotState], SlotState],
        applies: Callable[[SlotState], bool] = lambda _: True,
    ) -> bool:
        with self._changing() as page:
            state = page.slots.get(slot.link.address) or SlotState(slot.name)
            if not applies(state):
                return False
            changed = change(replace(state, name=slot.name))
            self._write(page, slot.link.address, changed, entry)
        return True

    @contextmanager
    def _changing(self) -> Iterator[_Page]:
        """Lock the book, for threads and processes, and yield its content."""
        make_folder(self._path.parent, secret=True)
        with self._one, locked(self._path.with_suffix(".lock")):
            yield self._read()

    def _write(self, page: _Page, port: str, state: SlotState, change: Mapping[str, str]) -> None:
        others = {key: one for key, one in page.slots.items() if key != port}
        latest = dict(list(others.items())[1 - _MOST_SLOTS :]) | {port: state}
        more = ({"ts": self._now(), "port": port, "slot": state.name, **change},) if change else ()
        text = _text(_Page(latest, (*page.changes, *more)[-_MOST_CHANGES:]))
        write_file(self._path, text, secret=True, force=True, sync=bool(change))

    def _read(self) -> _Page:
        """Return the content, from memory if the file is the same. Raise InputError."""
        if not is_there(self._path):
            return _Page()
        stamp = _stamp(self._path)
        known, page = self._seen
        if stamp is None or stamp != known:
            page = _parsed(self._path)
            self._seen = (stamp, page)
        return page


def _entry(what: str, reason: str, operator: str | None) -> Mapping[str, str]:
    """Return a change for the list of changes; that of the line itself has no operator."""
    return {"what": what, "reason": reason} | ({"operator": operator} if operator else {})


def _fit(reason: str) -> str:
    text = " ".join(one_line(reason, LONGEST_REASON).split())
    if not text:
        raise UsageError("the reason is empty", hint='for example --reason "pin replaced"')
    return text


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_ino, about.st_mtime_ns, about.st_size


def _text(page: _Page) -> bytes:
    slots = [
        {
            "port": port,
            "slot": state.name,
            "disabled": _mark_json(state.disabled),
            "locked": _mark_json(state.locked),
            "boards": [
                [one.board, one.outcome.value, one.cause, one.first and one.first.value] for one in state.recent
            ],
        }
        for port, state in page.slots.items()
    ]
    return (json.dumps({"slots": slots, "changes": list(page.changes)}) + "\n").encode()


def _mark_json(mark: OutOfService | None) -> dict[str, str | None] | None:
    return None if mark is None else {"reason": mark.reason, "since": mark.since, "operator": mark.operator}


def _parsed(path: Path) -> _Page:
    try:
        value: Any = parse_json(read_input(path, most=_LARGEST_FILE), fractions=False)
        slots = {row["port"]: _state(row) for row in value["slots"]}
        changes = tuple({str(key): str(text) for key, text in one.items()} for one in value["changes"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            "the book of the slots is damaged",
            where=str(path),
            hint="delete it: then no slot is locked or disabled",
        ) from None
    return _Page(slots, changes)


def _state(row: Mapping[str, Any]) -> SlotState:
    boards = tuple(
        SeenBoard(str(board), Outcome(outcome), None if cause is None else str(cause), first and Outcome(first))
        for board, outcome, cause, first in row["boards"]
    )
    return SlotState(str(row["slot"]), _mark(row["disabled"]), _mark(row["locked"], locked=True), boards)


def _mark(value: Mapping[str, Any] | None, *, locked: bool = False) -> OutOfService | None:
    if value is None:
        return None
    since, operator = (value.get(name) for name in ("since", "operator"))
    reason = one_line(str(value["reason"]))
    return OutOfService(reason, since and str(since), locked, operator and one_line(str(operator), LONGEST))
