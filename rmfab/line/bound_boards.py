"""The boards that are bound in a shared ledger, as this host knows them while the server is away.

The file *snapshot* has what the ledger said when it was last asked. The claims that this station began since are one
file each in *folder*, written before the server gets the claim: whatever became of it, its board is not free here.

Several processes of a host use both. Each asks the ledger and writes the snapshot while no other one does, and sees
what the others wrote: one that removes the file of a claim has written a snapshot that has its board. Without a
snapshot, every board may be bound.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import IntegrityError
from rmfab.files import changing, is_there, make_folder, read_input, sync_folder, write_file

_ENDING = ".claim"
_HEAD = "rmfab bound boards 1"


@dataclass(frozen=True)
class BoundBoards:
    """What the shared ledger said: the *macs* of its live units, as numbers, the *serials* that came with boards, and
    which units of the lease it has *otherwise* than the lease, by name."""

    macs: frozenset[int] = frozenset()
    serials: frozenset[str] = frozenset()
    otherwise: frozenset[str] = frozenset()

    @classmethod
    def of(cls, boards: Iterable[tuple[str, str | None]], otherwise: Iterable[str]) -> BoundBoards:
        """Return what is known of *boards*: MAC, and serial if it came with the board."""
        macs, serials = set(), set()
        for mac, serial in boards:
            macs.add(_number(mac))
            if serial is not None:
                serials.add(serial)
        return cls(frozenset(macs), frozenset(serials), frozenset(otherwise))

    def lines(self) -> Iterator[str]:
        """Yield the lines of its file."""
        yield _HEAD
        yield from (f"m {mac:x}" for mac in sorted(self.macs))
        yield from (f"s {serial}" for serial in sorted(self.serials))
        yield from (f"o {name}" for name in sorted(self.otherwise))
        yield "end"

    @classmethod
    def read(cls, text: str) -> BoundBoards:
        """Return what the file with *text* says. Raise ValueError."""
        head, *rows, end = text.splitlines()
        if (head, end) != (_HEAD, "end"):
            raise ValueError("its first or last line is wrong")
        found: dict[str, list[str]] = {"m": [], "s": [], "o": []}
        for row in rows:
            kind, _, value = row.partition(" ")
            if kind not in found:
                raise ValueError("a line is not of a known kind")
            found[kind].append(value)
        macs = frozenset(int(one, 16) for one in found["m"])
        return cls(macs, frozenset(found["s"]), frozenset(found["o"]))


class BoardMemory:
    """What this host remembers of bound boards; usable from every thread."""

    def __init__(self, snapshot: Path, folder: Path) -> None:
        self._snapshot = snapshot
        self._folder = folder
        self._changing = threading.Lock()
        self._said: BoundBoards | None = None
        self._stored: BoundBoards | None = None
        self._version: tuple[int, int, int] | None = None
        self._seen: set[int] = set()
        self._begun: set[int] = set()
        self._ended: set[int] = set()

    def bound(self, mac: str) -> bool:
        """Return whether the board *mac* is bound, or may be. Raise IntegrityError for a file that was damaged."""
        number = _number(mac)
        with self._changing:
            if number in self._seen or number in self._claims():
                return True
            known = self._known()
            return not known or any(number in one.macs for one in known)

    def is_serial(self, serial: str) -> bool:
        """Return whether *serial* came with a board that is bound."""
        with self._changing:
            return any(serial in one.serials for one in self._known())

    def otherwise(self, name: str) -> bool:
        """Return whether the shared ledger has the unit *name* of the lease otherwise than the lease."""
        with self._changing:
            return any(name in one.otherwise for one in self._known())

    def see(self, mac: str) -> None:
        """Remember, as long as this process works, that the shared ledger has bound *mac*."""
        with self._changing:
            self._seen.add(_number(mac))

    def begin(self, mac: str) -> None:
        """Remember durably that the shared ledger is asked to bind *mac*."""
        number = _number(mac)
        with self._changing:
            self._begun.add(number)
            self._ended.discard(number)
        if not self._folder.is_dir():
            make_folder(self._folder, secret=True)
            sync_folder(self._folder.parent)
        write_file(self._file(number), b"", secret=True)

    def end(self, mac: str, *, bound: bool) -> None:
        """Note that the claim of *mac* is over; if it is surely not *bound*, forget it."""
        number = _number(mac)
        with self._changing:
            self._begun.discard(number)
            if bound:
                self._ended.add(number)
                return
        self._file(number).unlink(missing_ok=True)

    def refresh(self, boards: Iterable[tuple[str, str | None]], otherwise: Iterable[str]) -> None:
        """Remember what the shared ledger says now; it is asked while this works."""
        with changing(self._snapshot):
            with self._changing:
                over = set(self._ended)
            said = BoundBoards.of(boards, otherwise)
            write_file(self._snapshot, "\n".join(said.lines()).encode(), secret=True, force=True)
            with self._changing:
                self._said = said
                self._seen.clear()
                self._ended -= over
                done = {number for number in self._claims() if number in over or number in said.macs} - self._begun
                for number in done:
                    self._file(number).unlink(missing_ok=True)

    def _known(self) -> tuple[BoundBoards, ...]:
        """Return what the ledger said to this process, and what it said last to any process of this host; nothing if
        it was never asked."""
        version = self._version_there()
        if version != self._version:
            self._stored, self._version = self._read(), version
        return tuple(one for one in (self._said, self._stored) if one is not None)

    def _version_there(self) -> tuple[int, int, int] | None:
        """Return what differs between two snapshots, None if there is none."""
        try:
            there = self._snapshot.stat()
        except FileNotFoundError:
            return None
        return there.st_ino, there.st_mtime_ns, there.st_size

    def _read(self) -> BoundBoards | None:
        if not is_there(self._snapshot):
            return None
        try:
            return BoundBoards.read(read_input(self._snapshot).decode())
        except ValueError as error:
            raise IntegrityError(
                f"the list of bound boards is damaged: {error}",
                where=str(self._snapshot),
                hint="run the line once while the server is there: it writes the list again",
                cause="spool-damaged",
            ) from error

    def _claims(self) -> set[int]:
        try:
            return {int(path.stem, 16) for path in self._folder.iterdir() if path.suffix == _ENDING}
        except FileNotFoundError:
            return set()

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:016x}{_ENDING}"


def _number(mac: str) -> int:
    return int(mac.replace(":", ""), 16)
