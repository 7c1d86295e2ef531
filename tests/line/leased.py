"""Stations that share a ledger on a server of their own, behind a network that fails, and have leases of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rmfab.ledger.store import Ledger
from rmfab.ledger.transfer import transfer
from rmfab.operations.leasing import StationLease, lease_size
from tests.line.floor import Factory, copied
from tests.postgres import USER, Server, running_server
from tests.proxy import Proxy

NOON = "2026-01-31T12:00:00.000Z"


class Bench(Factory):
    """A station with a lease of *size* identities; its ledger is behind *proxy*."""

    def __init__(self, root: Path, proxy: Proxy, size: int) -> None:
        super().__init__(root)
        self.proxy = proxy
        self.lease(size)

    def lease(self, size: int) -> None:
        """Set the size of the lease in station.toml."""
        station = f'[station]\nname = "{self.root.name}"\nledger = "{self.proxy.url("l", USER)}"\n'
        (self.root / "station.toml").write_text(station + (f"lease = {size}\n" if size else ""))

    @contextmanager
    def entered(self, batch: str | None = None) -> Iterator[StationLease]:
        """Enter the lease of this station, as a run does at its start."""
        workspace = self.workspace
        lease = StationLease(workspace, lease_size(workspace), batch)
        try:
            lease.enter()
            yield lease
        finally:
            for one in (workspace, workspace.lease):
                if "ledger" in vars(one):
                    one.ledger.close()

    def enter(self) -> None:
        """Enter the lease, and do nothing with it."""
        with self.entered():
            pass

    @contextmanager
    def leased(self) -> Iterator[Ledger]:
        """Open the ledger of the lease."""
        with Ledger.open(self.root / "lease.db", create=False, host=self.workspace.host) as ledger:
            yield ledger

    def lease_states(self) -> dict[str, int]:
        """Count the identities of the lease by state, without those of which there are none."""
        with self.leased() as ledger:
            assert ledger.check() == ()
            return counted(ledger)


@dataclass
class World:
    """A shared ledger on *server*, and two stations with a network each."""

    server: Server
    one: Bench
    two: Bench

    @contextmanager
    def shared(self) -> Iterator[Ledger]:
        """Open the shared ledger, past all networks."""
        with Ledger.open(self.server.url("l"), create=False, host=self.one.workspace.host) as ledger:
            yield ledger

    def states(self) -> dict[str, int]:
        """Count the identities of the shared ledger by state; assert that it is sound."""
        with self.shared() as ledger:
            assert ledger.check() == ()
            return counted(ledger)

    def units(self) -> dict[str, str]:
        """Return the serial of every live unit of the shared ledger by its MAC."""
        with self.shared() as ledger:
            rows = [one for batch in ledger.batches() for one in ledger.identities(batch.name) if one.standing.live]
        assert len({one.serial for one in rows}) == len({one.mac for one in rows}) == len(rows)
        return {str(one.mac): one.serial for one in rows}


def counted(ledger: Ledger) -> dict[str, int]:
    """Count the identities of *ledger* by state, without those of which there are none."""
    counts: dict[str, int] = {}
    for batch in ledger.counts():
        for state, number in batch.states.items():
            counts[state.value] = counts.get(state.value, 0) + number
    return {state: number for state, number in counts.items() if number}


def cut(bench: Bench) -> None:
    """Cut the network of *bench*: nothing answers any more."""
    bench.proxy.refuse()


def mend(bench: Bench) -> None:
    """Mend the network of *bench*."""
    bench.proxy.accept()


@contextmanager
def founding(server: Server, founded: Factory, folder: Path) -> Iterator[World]:
    """Bring the ledger of *founded* to *server* for two stations in *folder*, with a lease of three each, not taken
    yet."""
    with database(server), Proxy(server.socket) as first, Proxy(server.socket) as second:
        roots = [copied(founded, folder / name).root for name in ("bench-1", "bench-2")]
        owner = Factory(roots[0]).workspace
        transfer(owner.ledger, server.url("l"), station="office", ts=NOON)
        owner.ledger.close()
        for root in roots:
            (root / "ledger.db").unlink()
        yield World(server, Bench(roots[0], first, 3), Bench(roots[1], second, 3))


@contextmanager
def database(server: Server) -> Iterator[None]:
    """Create the database `l` of *server*; it is dropped at the end."""
    server.execute("CREATE DATABASE l TEMPLATE template0")
    try:
        yield
    finally:
        server.execute("DROP DATABASE l WITH (FORCE)")


@pytest.fixture(scope="module")
def durable_server() -> Iterator[Server]:
    """A server that survives a power cut; the ledger of each test is a new database of it."""
    with running_server(durable=True) as started:
        yield started


@pytest.fixture
def world(durable_server: Server, founded: Factory, tmp_path: Path) -> Iterator[World]:
    """A shared ledger with eight identities, and two stations with a lease of three each, not taken yet."""
    with founding(durable_server, founded, tmp_path) as made:
        yield made
