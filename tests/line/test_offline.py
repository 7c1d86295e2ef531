"""The rules for a board while the shared ledger is away, and the names of batches in a lease."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rmfab.errors import LedgerError
from rmfab.ledger.claim_terms import Carried
from rmfab.ledger.records import Batch, LedgerIdentity
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State
from rmfab.line.offline import Offline, judge_offline, leased_batches
from tests.ledger.workshop import digest, record

MAC = "24:0a:c4:00:00:01"


def unit(serial: str, state: State = State.GENERATED, mac: str | None = None) -> LedgerIdentity:
    """Return an identity of the lease."""
    return LedgerIdentity(record(serial), Standing(state, mac), "lamp-0001-h1", "lamp", 0, 1)


OURS = unit("LMP-000001")
HELD = unit("LMP-000001", State.FLASHED, MAC)
BLANK = Offline(MAC)
NODE, RANDOM = "node-LMP-000001", digest("random LMP-000001")

GOES_ON = {
    "a blank board that nobody knows": BLANK,
    "a board that has an identity of the lease": Offline(MAC, HELD),
    "the same, which the shared ledger has bound as the lease did": Offline(MAC, HELD, bound=True),
    "the same, whose flash contains a part of it": Offline(MAC, HELD, carried=Carried(NODE), found=(HELD,)),
    "a board whose flash contains a free identity of the lease": Offline(
        MAC, carried=Carried(NODE, RANDOM), found=(OURS,)
    ),
    "the same, by its random only": Offline(MAC, carried=Carried(None, RANDOM), found=(OURS,)),
    "a board whose flash contains a void identity of the lease": Offline(
        MAC, carried=Carried(NODE, RANDOM), found=(unit("LMP-000001", State.VOID),)
    ),
}

WAITS = {
    "a board that the shared ledger has bound, or may have": (Offline(MAC, bound=True), "has bound this board"),
    "the same, with an identity of the lease in its flash": (
        Offline(MAC, bound=True, carried=Carried(NODE, RANDOM), found=(OURS,)),
        "has bound this board",
    ),
    "a unit of the lease that the shared ledger has otherwise": (
        Offline(MAC, HELD, otherwise=True),
        "has worked on LMP-000001",
    ),
    "flash that is not blank, and names nobody": (Offline(MAC, carried=Carried()), "neither blank nor"),
    "an identity of nobody here": (Offline(MAC, carried=Carried("node-x", digest("x"))), "neither blank nor"),
    "our node id with a different random": (
        Offline(MAC, carried=Carried(NODE, digest("x")), found=(OURS,)),
        "neither blank nor",
    ),
    "a different node id with our random": (
        Offline(MAC, carried=Carried("node-x", RANDOM), found=(OURS,)),
        "neither blank nor",
    ),
    "an identity that was given back": (
        Offline(MAC, carried=Carried(NODE, RANDOM), found=(unit("LMP-000001", State.HANDED_OVER),)),
        "neither blank nor",
    ),
    "a unit of the lease with a foreign identity in its flash": (
        Offline(MAC, HELD, carried=Carried("node-x")),
        "neither blank nor",
    ),
}


@pytest.mark.parametrize("board", GOES_ON.values(), ids=GOES_ON.keys())
def test_goes_on(board: Offline) -> None:
    """These boards get an identity of the lease, or keep theirs."""
    judge_offline(board)


@pytest.mark.parametrize(("board", "words"), WAITS.values(), ids=WAITS.keys())
def test_waits(board: Offline, words: str) -> None:
    """These boards get nothing: an error of the station, never of the unit, which says what to do."""
    with pytest.raises(LedgerError, match=words) as refused:
        judge_offline(board)
    assert refused.value.cause == "ledger-away"
    assert "set this board aside" in str(refused.value.hint)


def batch(name: str, policy: str = "{}") -> Batch:
    """Return a closed batch."""
    return Batch(1, name, "lamp", policy, 3, 500, None, True, None, "")


def test_batches_of_a_lease() -> None:
    """A batch of the shared ledger is found by its name there, with what replaces parts of it; others are not."""
    origin = '"pool":"p","handover":%d,"until":"9"'
    mine = batch("lamp-0001-h1", '{"batch":"lamp-0001",%s}' % (origin % 1))
    more = batch("lamp-0001-h3", '{"batch":"lamp-0001",%s}' % (origin % 3))
    replacing = batch("lamp-0001-r1-h4", '{"batch":"lamp-0001-r1","replaces":"lamp-0001",%s}' % (origin % 4))
    other = batch("lamp-0002-h2", '{"batch":"lamp-0002",%s}' % (origin % 2))
    every = (mine, other, more, replacing, replace(more, name="open", closed=False), batch("lamp-0001"))
    assert leased_batches(every, "lamp-0001") == ("lamp-0001-h1", "lamp-0001-h3", "lamp-0001-r1-h4")
    assert leased_batches(every, "lamp-0003") == ()
    assert leased_batches(every, None) == ("lamp-0001-h1", "lamp-0002-h2", "lamp-0001-h3", "lamp-0001-r1-h4")
