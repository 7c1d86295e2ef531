"""An owner and a factory whose ledgers are on servers, as people at both see them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.exchange.sides import Side
from tests.postgres import Server, databases, server

__all__ = ["databases", "server"]

pytestmark = pytest.mark.peers


@pytest.fixture
def empty(server: Server, databases: Callable[[], str]) -> Callable[[], str]:
    """Return a function that makes an empty database and returns its address."""

    def make() -> str:
        address = databases()
        name = address.partition("?")[0].rpartition("/")[2]
        server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public", name)
        return address

    return make


def bring(side: Side, address: str) -> None:
    """Bring the ledger of *side* to a server."""
    side.well("ledger", "copy", address, "--yes")
    (side.folder / "station.toml").write_text(f'[station]\nname = "{side.folder.name}"\nledger = "{address}"\n')


def test_both_ledgers_move_to_a_server(owner: Side, factory: Side, empty: Callable[[], str]) -> None:
    """A factory goes on with what it received, receives more, and returns; the owner hands over and merges."""
    owner.give(factory, "1.handover", "--count", "2")
    bring(owner, empty())
    bring(factory, empty())
    assert factory.work(1) == ["LMP-000001"]
    owner.give(factory, "2.handover", "--count", "3")
    factory("receive", "1.handover").refused(0, "was received here already")
    assert factory.work(2, 3) == ["LMP-000002", "LMP-000003"]
    factory.well("return", "--unused", "-o", "1.return")
    merged = owner.json("merge", "1.return")
    assert (merged["units"], merged["given_back"]) == (3, 2)
    assert owner.json("merge", "1.return")["again"]
    assert owner.states() == {"verified": 3, "generated": 5}
    assert factory.states() == {"verified": 3, "handed-over": 2}


def test_a_second_station_of_the_factory(owner: Side, factory: Side, rival: Side, empty: Callable[[], str]) -> None:
    """The station of the card admits a second one, which then opens identities of the handover, too."""
    owner.give(factory, "1.handover", "--count", "3")
    bring(factory, empty())
    card, _ = rival.card()
    factory.well("station", "admit", card)
    for name in ("product.toml", "station.toml"):
        text = (factory.folder / name).read_text().replace('name = "factory"', 'name = "rival"')
        (rival.folder / name).write_text(text)
    assert factory.work(1) == ["LMP-000001"]
    assert rival.work(2) == ["LMP-000002"]
    factory.well("return", "-o", "1.return")
    assert owner.json("merge", "1.return")["units"] == 2


def test_a_handover_for_a_database_without_a_ledger(
    owner: Side, factory: Side, empty: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handover makes a ledger only in a file; in an empty database it says so, and may be received afterwards."""
    fingerprint = owner.hand_over(factory, "1.handover")
    monkeypatch.setenv("RMFAB_LEDGER", empty())
    factory("receive", "1.handover", "--fingerprint", fingerprint).refused(4, "there is no ledger in this database")
    monkeypatch.delenv("RMFAB_LEDGER")
    factory.well("receive", "1.handover", "--fingerprint", fingerprint)
