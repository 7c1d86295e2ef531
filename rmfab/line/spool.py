"""The spool: events that wait on this host until the shared ledger is back.

Each record of the line is one file, written durably before the step counts as recorded, and removed once the ledger has
it. The names of the files are their order. A process that is killed in between leaves files that the ledger has
already: it takes each event once (`Ledger.replay`).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError, IntegrityError
from rmfab.files import make_folder, read_input, sync_folder, write_file
from rmfab.json_text import parse_json
from rmfab.ledger.events import Event
from rmfab.ledger.stored_events import FIELDS, columns_of, event_in

_ENDING = ".events"


@dataclass(frozen=True)
class Spooled:
    """A record that waits in the file *path*: *events* of *station*, which are in its chains *after* these numbers."""

    path: Path
    station: str
    events: tuple[Event, ...]
    after: Mapping[str, int]


class Spool:
    """The spool in *folder*; usable from every thread, and by several processes of the host.

    *heads* returns, by chain, the number of the last event that this host knows to be in the shared ledger.
    """

    def __init__(self, folder: Path, heads: Callable[[], Mapping[str, int]]) -> None:
        self._folder = folder
        self.heads = heads
        self._changing = threading.Lock()
        self._last = 0

    def add(self, station: str, events: Iterable[Event], after: Mapping[str, int]) -> None:
        """Add a record, durably. *after*: `heads` before it may have been written to the shared ledger.

        Raise StationError if the disk is full, InputError if it cannot be written.
        """
        rows = [columns_of(event) for event in events]
        record = {"station": station, "events": rows, "after": dict(after)}
        content = json.dumps(record, allow_nan=False).encode("ascii")
        if not self._folder.is_dir():
            make_folder(self._folder, secret=True)
            sync_folder(self._folder.parent)
        write_file(self._folder / f"{self._number():020d}-{os.getpid()}{_ENDING}", content, secret=True)

    def entries(self) -> tuple[Spooled, ...]:
        """Return what waits, in order. Raise IntegrityError for a file that was changed."""
        return tuple(map(_read, self._paths()))

    def remove(self, entries: Sequence[Spooled]) -> None:
        """Remove *entries*: the ledger has them durably."""
        for entry in entries:
            with suppress(FileNotFoundError):  # a different process of this station removed it
                entry.path.unlink()

    def __len__(self) -> int:
        return len(self._paths())

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"[0-9]*{_ENDING}"))

    def _number(self) -> int:
        """Return a number above all before it, also if the clock was set back since."""
        with self._changing:
            if not self._last and (waiting := self._paths()):
                self._last = int(waiting[-1].name.partition("-")[0])
            self._last = max(time.time_ns(), self._last + 1)
            return self._last


def _read(path: Path) -> Spooled:
    try:
        value = parse_json(read_input(path))
        if not isinstance(value, dict) or not isinstance(value["station"], str):
            raise TypeError("it is not a record")
        events = tuple(event_in({name: row[name] for name in FIELDS}) for row in value["events"])
        after = {str(chain): int(number) for chain, number in value["after"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, InputError) as error:
        raise IntegrityError(
            f"a record that waits for the ledger is damaged: {error}",
            where=str(path),
            hint="keep the file aside, and look into the history of its unit with `rmfab trace`",
            cause="spool-damaged",
        ) from error
    return Spooled(path, value["station"], events, after)
