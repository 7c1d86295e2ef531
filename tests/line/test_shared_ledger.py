"""Two stations that share a ledger on a server: a batch is finished while one of them and the server are killed."""

from __future__ import annotations

import os
import signal
import subprocess

import pytest

from rmfab.ledger.store import Ledger
from rmfab.ledger.transfer import transfer
from tests.line.floor import beside, copied, ports, serve, spec
from tests.postgres import running_server
from tests.terminal import environment, words

pytestmark = [pytest.mark.peers, pytest.mark.slow]


@pytest.fixture
def server():
    """A server of its own, which may be killed."""
    with running_server(durable=True) as started:
        started.execute("CREATE DATABASE l TEMPLATE template0")
        yield started


@pytest.fixture
def stations(founded, tmp_path, server, monkeypatch):
    """Two stations on the server's ledger, and its address."""
    address = server.url("l")
    both = [copied(founded, tmp_path / name) for name in ("bench-1", "bench-2")]
    workspace = both[0].workspace
    transfer(workspace.ledger, address, station="office", ts="2026-01-31T12:00:00.000Z")
    workspace.ledger.close()
    for station in both:
        (station.root / "ledger.db").unlink()
        (station.root / "station.toml").write_text(f'[station]\nname = "{station.root.name}"\n')
    monkeypatch.setenv("RMFAB_LEDGER", address)
    return both


def test_a_batch_is_finished(stations, server):
    """The server is killed while a station works: units wait, and pass; the operator is told once, and once again. The
    other station is killed after its claim, and goes on with the same identity; nothing is given twice."""
    one, two = stations
    with serve([spec(index=number) for number in range(4)]) as boards:
        urls = [board.url for board in boards]
        killed = subprocess.Popen(
            words("-C", two.root, "run", "--json", *ports(urls[3])),
            stdout=subprocess.PIPE,
            text=True,
            env=environment(RMFAB_LEDGER=os.environ["RMFAB_LEDGER"]),
        )
        for line in killed.stdout:
            if '"step": "claim"' in line or '"step":"claim"' in line:
                break
        killed.send_signal(signal.SIGKILL)
        killed.communicate()

        def kill_server():
            one.wait_for(lambda event: event["event"] == "step" and event["step"] == "claim", 3)
            server.stop("immediate")
            one.wait_for(lambda event: event["event"] == "log" and "away" in event["text"])
            server.start()

        with beside(kill_server):
            said = one.run(*urls[:3])
        assert said.code == 0
        assert [unit["outcome"] for unit in said.units] == ["PASS"] * 3
        said_of_server = [text for text in said.logs if "server" in text]
        assert ["server is away" in text for text in said_of_server] == [True, False]
        assert said_of_server[1] == "the ledger's server is back"
        again = two.run(urls[3])
        assert again.code == 0
    with Ledger.open(server.url("l"), create=False) as ledger:
        units = [one for batch in ledger.batches() for one in ledger.identities(batch.name) if one.mac]
        assert len({unit.mac for unit in units}) == len({unit.serial for unit in units}) == 4
        assert {unit.state.value for unit in units} == {"verified"}
        assert ledger.check() == ()
