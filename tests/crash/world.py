"""A small world for one round: a workspace with a pool, a second host for it, a factory that gets identities by
handovers, and boards whose flash outlives all."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from rmfab.cli import main
from rmfab.ledger.store import Ledger
from rmfab.virtual import BoardHandle
from rmfab.workspace.workspace import DEMO_MARKER, Workspace, open_workspace
from tests.crash.faults import ServerFault, Victim
from tests.line.floor import found, serve, spec
from tests.pools import copied_with_pool

PRODUCT = "Lamp"
UNITS = 20
BOARDS = 4
FACTORY_BOARDS = 2
LEDGER = "ledger.db"
CARD = "factory.card"


@dataclass
class World:
    """The state of a round; its ledger is a file.

    *here* is the workspace of the host that holds the pool, *there* that of a second host, which may get it. *factory*
    is one that gets identities by handovers: it has *received* so many, *parcels* are on their way, and it has boards
    of its own. *phase*:
    `works`, or what has to be done first: `copied` (a backup was restored, and is not adopted) or `moved`. *held* are
    bindings that must persist, by serial; *void* and *made* the same for void identities and the sizes of batches.
    """

    here: Path
    there: Path
    boards: list[BoardHandle]
    factory: Path
    factory_boards: list[BoardHandle]
    parcels: list[Path] = field(default_factory=list)
    received: int = 0
    phase: str = "works"
    held: dict[str, str] = field(default_factory=dict)
    void: set[str] = field(default_factory=set)
    made: dict[str, int] = field(default_factory=dict)
    events: dict[tuple[str, int], str] = field(default_factory=dict)
    names: int = 0
    kind: ClassVar[str] = "file"
    server_faults: ClassVar[tuple[ServerFault, ...]] = ()

    @property
    def stations(self) -> tuple[Path, ...]:
        """The workspaces of the stations that work on the ledger at once."""
        return (self.here,)

    def take_turns(self, chance: Random) -> None:
        """Choose which of the stations is *here* next."""

    def strike(self, fault: ServerFault, seconds: float, victim: Victim, chance: Random) -> bool:
        """Let *fault* happen *seconds* from now; return whether *victim* was still at work."""
        raise NotImplementedError

    def keep(self) -> None:
        """Keep in the folder of the world what is needed to see what a fault left, and is elsewhere."""

    def settle(self) -> None:
        """Wait until nothing is written any more by commands that have ended."""

    @property
    def workspace(self) -> Workspace:
        """The workspace that holds the pool, opened again."""
        return open_workspace(self.here)

    def ledger(self) -> Ledger:
        """Return the ledger, opened as the next command does; close it."""
        return self.workspace.ledger

    def factory_ledger(self) -> Ledger:
        """Return the ledger of the factory, which has received a handover; close it."""
        return open_workspace(self.factory).ledger

    def rows(self, query: str, at: Path | None = None) -> list[Any]:
        """Return what *query* finds in the database (*at*: of that workspace), past the rules of the ledger."""
        with closing(sqlite3.connect((at or self.here) / LEDGER)) as connection:
            return connection.execute(query).fetchall()

    def serials_by_batch(self, *states: str) -> list[tuple[str, list[str]]]:
        """Return each closed batch with its serials that are in one of *states*."""
        with self.ledger() as ledger:
            batches = [one.name for one in ledger.batches() if one.closed]
            return [
                (name, [one.serial for one in ledger.identities(name) if one.state.value in states]) for name in batches
            ]

    def serials(self, *states: str) -> list[str]:
        """Return the serials in closed batches that are in one of *states*."""
        return [serial for _, serials in self.serials_by_batch(*states) for serial in serials]

    @property
    def returns(self) -> int:
        """How many returns the factory has made."""
        if not self.received:
            return 0
        return len(self.rows("SELECT 1 FROM event WHERE kind = 'return' AND serial IS NULL", self.factory))

    @property
    def merged(self) -> int:
        """How many returns the ledger has merged."""
        return len(self.rows("SELECT 1 FROM event WHERE kind = 'merge' AND serial IS NULL"))

    def new_name(self, what: str) -> str:
        """Return a name that was not used in this round."""
        self.names += 1
        return f"{what}-{self.names}"

    def did(self, *argv: str | Path, at: Path | None = None) -> None:
        """Run a command that must succeed, in this process and without faults."""
        code = main(["-C", str(at or self.here), *map(str, argv)])
        assert code == 0, (argv, code)

    def forget(self) -> None:
        """Forget what must persist: an older ledger was put in place."""
        self.held.clear()
        self.void.clear()
        self.made.clear()
        self.events.clear()


def found_template(folder: Path) -> Path:
    """Make what each round copies: two hosts that can open the same identities, and the keys of a factory."""
    factory = found(folder / "here", units=UNITS)
    there = Path(
        shutil.copytree(factory.root, folder / "there", ignore=shutil.ignore_patterns("keys", "ledger*", "ca"))
    )
    recipient = _recipient(there)
    assert main(["-C", str(factory.root), "station", "admit", recipient]) == 0
    shutil.copy(factory.root / "product.toml", there / "product.toml")
    shutil.copy(factory.root / "keys" / "unique.key", there / "keys" / "unique.key")
    shutil.copytree(factory.root / "ca", there / "ca")
    assert open_workspace(factory.root).ledger_key.public
    shutil.copy(factory.root / "keys" / "ledger.key", there / "keys" / "ledger.key")
    (folder / "factory").mkdir()
    assert main(["-C", str(folder / "factory"), "station", "card", "-o", str(folder / "factory" / CARD)]) == 0
    return folder


def _recipient(folder: Path) -> str:
    assert main(["-C", str(folder), "station", "key"]) == 0
    return open_workspace(folder).station_key.recipient


@contextmanager
def new_world(template: Path, folder: Path, first_board: int) -> Iterator[World]:
    """Yield a world in *folder*, with blank boards that no other world has."""
    here = copied_with_pool(template / "here", folder / "here")
    there = Path(shutil.copytree(template / "there", folder / "there"))
    at_factory = Path(shutil.copytree(template / "factory", folder / "factory"))
    for other in (there, at_factory):
        (other / DEMO_MARKER).touch()  # it keeps its record of the pool in itself, as a different host does
    specs = [spec(index=first_board + n, flash_file=folder / f"flash-{n}.bin") for n in range(BOARDS + FACTORY_BOARDS)]
    with serve(specs) as boards:
        yield World(here, there, list(boards[:BOARDS]), at_factory, list(boards[BOARDS:]))
