"""A small factory for one round: a workspace with a pool, a second host for it, and boards whose flash outlives all."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rmfab.cli import main
from rmfab.ledger.store import Ledger
from rmfab.virtual import BoardHandle
from rmfab.workspace.workspace import DEMO_MARKER, Workspace, open_workspace
from tests.line.floor import found, serve, spec
from tests.pools import copied_with_pool

PRODUCT = "Lamp"
UNITS = 20
BOARDS = 4
LEDGER = "ledger.db"


@dataclass
class World:
    """The state of a round.

    *here* is the workspace of the host that holds the pool, *there* that of a second host, which may get it. *phase*:
    `works`, or what has to be done first: `copied` (a backup was restored, and is not adopted) or `moved`. *held* are
    bindings that must persist, by serial; *void* and *made* the same for void identities and the sizes of batches.
    """

    here: Path
    there: Path
    boards: list[BoardHandle]
    phase: str = "works"
    held: dict[str, str] = field(default_factory=dict)
    void: set[str] = field(default_factory=set)
    made: dict[str, int] = field(default_factory=dict)
    events: dict[tuple[str, int], str] = field(default_factory=dict)
    names: int = 0

    @property
    def workspace(self) -> Workspace:
        """The workspace that holds the pool, opened again."""
        return open_workspace(self.here)

    def ledger(self) -> Ledger:
        """Return the ledger, opened as the next command does; close it."""
        return self.workspace.ledger

    def rows(self, query: str) -> list[Any]:
        """Return what *query* finds in the database, past the rules of the ledger."""
        with closing(sqlite3.connect(self.here / LEDGER)) as connection:
            return connection.execute(query).fetchall()

    def serials(self, *states: str) -> list[str]:
        """Return the serials in closed batches that are in one of *states*."""
        with self.ledger() as ledger:
            batches = [one.name for one in ledger.batches() if one.closed]
            return [one.serial for name in batches for one in ledger.identities(name) if one.state.value in states]

    def new_name(self, what: str) -> str:
        """Return a name that was not used in this round."""
        self.names += 1
        return f"{what}-{self.names}"

    def did(self, *argv: str | Path) -> None:
        """Run a command that must succeed, in this process and without faults."""
        code = main(["-C", str(self.here), *map(str, argv)])
        assert code == 0, (argv, code)

    def forget(self) -> None:
        """Forget what must persist: an older ledger was put in place."""
        self.held.clear()
        self.void.clear()
        self.made.clear()
        self.events.clear()


def found_template(folder: Path) -> Path:
    """Make what each round copies: two hosts that can open the same identities."""
    factory = found(folder / "here", units=UNITS)
    there = Path(
        shutil.copytree(factory.root, folder / "there", ignore=shutil.ignore_patterns("keys", "ledger*", "ca"))
    )
    recipient = _recipient(there)
    assert main(["-C", str(factory.root), "station", "admit", recipient]) == 0
    shutil.copy(factory.root / "product.toml", there / "product.toml")
    shutil.copy(factory.root / "keys" / "unique.key", there / "keys" / "unique.key")
    shutil.copytree(factory.root / "ca", there / "ca")
    return folder


def _recipient(folder: Path) -> str:
    assert main(["-C", str(folder), "station", "key"]) == 0
    return open_workspace(folder).station_key.recipient


@contextmanager
def new_world(template: Path, folder: Path, first_board: int) -> Iterator[World]:
    """Yield a world in *folder*, with blank boards that no other world has."""
    here = copied_with_pool(template / "here", folder / "here")
    there = Path(shutil.copytree(template / "there", folder / "there"))
    (there / DEMO_MARKER).touch()  # it keeps its record of the pool in itself, as a different host does
    specs = [spec(index=first_board + n, flash_file=folder / f"flash-{n}.bin") for n in range(BOARDS)]
    with serve(specs) as boards:
        yield World(here, there, boards)
