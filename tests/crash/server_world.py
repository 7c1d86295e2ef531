"""A world whose ledger is on a PostgreSQL server: two stations work on it, over a network that fails."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from rmfab.ledger.store import Ledger
from tests.crash.faults import SHORT_PATIENCE, ServerFault, Victim
from tests.crash.world import LEDGER, World, new_world
from tests.patience import until
from tests.postgres import USER, Server
from tests.proxy import Proxy

_FROZEN = (2 * SHORT_PATIENCE, 4 * SHORT_PATIENCE)
_DOWN = (0.0, 1.5)
_PAUSE = 0.002
_ENDINGS = 4
_AT_COMMIT = {
    ServerFault.COMMIT_LOST: "lose-request",
    ServerFault.ANSWER_LOST: "lose-answer",
    ServerFault.COMMIT_FROZEN: "freeze",
    ServerFault.ANSWER_FROZEN: "freeze-answer",
    ServerFault.KILLED_AT_COMMIT: "freeze",
}


@dataclass
class ServerWorld(World):
    """The state of a round whose ledger is *database* of *server*, reached through *proxy*.

    *here* and *there* are two stations that work on it.
    """

    server: Server = field(kw_only=True)
    proxy: Proxy = field(kw_only=True)
    database: str = field(kw_only=True)
    kind: ClassVar[str] = "server"
    server_faults: ClassVar[tuple[ServerFault, ...]] = tuple(ServerFault)

    @property
    def stations(self) -> tuple[Path, ...]:
        """See `World.stations`."""
        return self.here, self.there

    def take_turns(self, chance: Random) -> None:
        """See `World.take_turns`."""
        self.here, self.there = chance.choice(((self.here, self.there), (self.there, self.here)))

    def rows(self, query: str, at: Path | None = None) -> list[Any]:
        """See `World.rows`."""
        return self.server.execute(query, self.database) if at is None else super().rows(query, at)

    def settle(self) -> None:
        """See `World.settle`. A COMMIT that the network has delayed may still be at work."""
        query = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND backend_type = 'client backend' AND state <> 'idle'"
        )
        until(lambda: not self.rows(query), "a transaction goes on")

    def keep(self) -> None:
        """See `World.keep`."""
        with suppress(Exception), Ledger.open(self.server.url(self.database), create=False) as ledger:
            ledger.backup(self.here.parent / "at-fault.db")
        shutil.copy(self.server.folder / "log", self.here.parent / "server.log")

    def strike(self, fault: ServerFault, seconds: float, victim: Victim, chance: Random) -> bool:
        """See `World.strike`. The server works again when this returns."""
        time.sleep(seconds)
        if fault in _AT_COMMIT:
            return self._at_commit(fault, victim, chance)
        if not victim.runs():
            return False
        if fault is ServerFault.FROZEN:
            self.proxy.flows.clear()
            time.sleep(chance.uniform(*_FROZEN))
            self.proxy.disarm()
        elif fault is ServerFault.BACKENDS_ENDED:
            ended = 0
            for _ in range(chance.randrange(1, _ENDINGS + 1)):
                ended += self.server.terminate(self.database)
                time.sleep(chance.uniform(0, 0.2))
            return ended > 0
        elif fault is ServerFault.BACKEND_KILLED:
            if not self.server.kill_backend(self.database):
                return False
            self.server.wait()
        else:
            self.server.kill() if fault is ServerFault.KILLED else self.server.stop("immediate")
            time.sleep(chance.uniform(*_DOWN))
            self.server.start()
        return True

    def _at_commit(self, fault: ServerFault, victim: Victim, chance: Random) -> bool:
        self.proxy.at_commit = _AT_COMMIT[fault]
        try:
            while self.proxy.at_commit is not None and victim.runs():
                time.sleep(_PAUSE)
            struck = self.proxy.at_commit is None
            if struck and fault is ServerFault.KILLED_AT_COMMIT:
                victim.kill()
            if struck and fault.freezes:
                time.sleep(chance.uniform(*_FROZEN))
        finally:
            missed = self.proxy.disarm()
        return not missed


@contextmanager
def new_server_world(server: Server, template: Path, folder: Path, first_board: int) -> Iterator[ServerWorld]:
    """Yield a world in *folder* whose ledger was copied to a new database of *server*."""
    database = folder.name.replace("-", "_")
    server.execute(f"CREATE DATABASE {database} TEMPLATE template0")
    with new_world(template, folder, first_board) as made, Proxy(server.socket) as proxy:
        address = proxy.url(database, USER)
        for number, station in enumerate((made.here, made.there), 1):
            (station / "station.toml").write_text(f'[station]\nname = "bench-{number}"\n')
        made.did("ledger", "copy", address, "--yes")
        for station in (made.here, made.there):
            with (station / "station.toml").open("a") as file:
                file.write(f'ledger = "{address}"\n')
        (made.here / LEDGER).unlink()
        yield ServerWorld(
            made.here,
            made.there,
            made.boards,
            made.factory,
            made.factory_boards,
            server=server,
            proxy=proxy,
            database=database,
        )
    server.execute(f"DROP DATABASE {database} WITH (FORCE)")
