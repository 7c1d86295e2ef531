"""A return and its merge: what the owner takes over, and how what contradicts the ledger is refused."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rmfab.errors import BatchUsedUp
from rmfab.ledger.claim_terms import Carried, Claim, Wish
from rmfab.ledger.events import EventKind
from rmfab.ledger.label_words import LabelWord
from rmfab.ledger.states import State
from rmfab.line.label_event import LabelledUnit, label_event
from rmfab.release.container import locate
from tests.exchange.sides import BATCH, NOON, Side, mac


def returned(factory: Side, name: str, *more: str) -> Path:
    """Make a return."""
    factory.well("return", "-o", name, *more)
    return factory.terminal.folder / name


def test_units_come_home(owner: Side, factory: Side) -> None:
    """Boards, verdicts, labels, reasons and history are the factory's; both ledgers are sound."""
    owner.give(factory, "1.handover", "--count", "5")
    factory.work(1, 2)
    factory.work(3, verdict=State.FAILED)
    done = owner.json("merge", returned(factory, "1.return"))
    assert (done["units"], done["again"], done["kept"]) == (3, False, [])
    assert done["handovers"] == {"1": {"verified": 2, "failed": 1, "generated": 2}}
    assert owner.states() == {"generated": 3, "verified": 2, "failed": 1, "handed-over": 2}
    for number, serial in enumerate(("LMP-000001", "LMP-000002", "LMP-000003"), 1):
        ours, theirs = owner.unit(serial), factory.unit(serial)
        assert (ours.mac, ours.handover) == (mac(number), 1)
        for name in (
            "state",
            "attempts",
            "claimed_ts",
            "flashed_ts",
            "verified_ts",
            "labelled_count",
            "cause",
            "reason",
        ):
            assert getattr(ours, name) == getattr(theirs, name), name
    with owner.open() as workspace, factory.open() as there:
        ours = [one.event for one in workspace.ledger.history("LMP-000001")]
        theirs = [one.event for one in there.ledger.history("LMP-000001")]
    assert [one for one in ours if one.kind not in (EventKind.HANDOVER, EventKind.MERGE)] == theirs
    assert "flash" in owner.well("trace", mac(1)).out


def test_what_a_factory_knows_of_labels_comes_home(owner: Side, factory: Side) -> None:
    """Labels that it sent, printed and scanned, and one in doubt, are known to the owner after the merge."""
    owner.give(factory, "1.handover", "--count", "3")
    factory.work(1, 2)
    with factory.open() as workspace:
        for serial, words in (("LMP-000001", ("sending", "printed", "scanned")), ("LMP-000002", ("sending",))):
            events = [label_event(NOON, LabelledUnit(serial), LabelWord(word), printer="file:///x") for word in words]
            workspace.ledger.record(workspace.station.name, events)
    owner.well("merge", returned(factory, "1.return"))
    first, second = (owner.unit(serial) for serial in ("LMP-000001", "LMP-000002"))
    assert (first.printed_count, first.scanned_ts, first.doubt_ts) == (1, NOON, None)
    assert (second.printed_count, second.doubt_ts) == (0, NOON)
    owner.well("ledger", "check")


def test_the_line_goes_on_after_a_return(owner: Side, factory: Side) -> None:
    """Each return has what is new, in order; a unit that changed twice ends as at the factory."""
    owner.give(factory, "1.handover", "--count", "3")
    factory.work(1, verdict=State.FAILED)
    first = returned(factory, "1.return")
    factory.work(1, 2)
    second = returned(factory, "2.return")
    owner("merge", second).refused(5, "not merged yet: 1", "`rmfab return --again 1`")
    owner.well("merge", first)
    assert owner.unit("LMP-000001").state is State.FAILED
    owner.well("merge", second)
    assert owner.unit("LMP-000001").state is State.VERIFIED
    assert owner.unit("LMP-000001").attempts == 2
    assert owner.states() == {"generated": 5, "verified": 2, "handed-over": 1}


def test_merging_twice_changes_nothing(owner: Side, factory: Side) -> None:
    """A return that is merged again says so; the ledger does not change by a byte of history."""
    owner.give(factory, "1.handover", "--count", "2")
    factory.work(1)
    path = returned(factory, "1.return")
    owner.well("merge", path)
    before = owner.json("trace", "LMP-000001")
    for _ in range(2):
        done = owner.json("merge", path)
        assert (done["again"], done["events"]) == (True, 0)
    assert owner.json("trace", "LMP-000001") == before


def test_a_lost_return_is_written_again(owner: Side, factory: Side) -> None:
    """By its number, and byte for byte, although the factory went on since."""
    owner.give(factory, "1.handover", "--count", "4")
    factory.work(1)
    paths = [returned(factory, "1.return")]
    factory.work(2)
    paths.append(returned(factory, "2.return", "--unused"))
    whole = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    factory.work(2)
    returned(factory, "3.return")
    for number, data in enumerate(whole, 1):
        assert returned(factory, f"{number}.return", "--again", str(number)).read_bytes() == data
        owner.well("merge", f"{number}.return")
    owner.well("merge", "3.return")
    factory("return", "--again", "9", "-o", "x").refused(3, "was never made")
    factory("return", "--again", "1", "--unused", "-o", "x").refused(2, "exclude each other")
    factory("return", "-o", "1.return").refused(3, "already exists")


def test_unused_identities_come_back(owner: Side, factory: Side, rival: Side) -> None:
    """Given back, they are no longer usable at the factory, and free again at the owner once it is merged."""
    owner.give(factory, "1.handover", "--count", "3")
    factory.work(1)
    path = returned(factory, "1.return", "--unused")
    assert factory.states() == {"verified": 1, "handed-over": 2}
    with factory.open() as workspace, pytest.raises(Exception, match="used up"):
        Side.claim(workspace, 9)
    assert owner.states() == {"generated": 5, "handed-over": 3}
    owner.well("merge", path)
    assert owner.states() == {"generated": 7, "verified": 1}
    owner.give(rival, "2.handover", "--count", "2")
    assert rival.work(4) == ["LMP-000002"]
    assert owner.work(5) == ["LMP-000004"]
    factory.work(1)
    owner.well("merge", returned(factory, "2.return"))
    owner.well("merge", returned(rival, "r.return"))
    assert owner.states() == {"generated": 4, "verified": 3, "handed-over": 1}


def test_what_was_given_back_is_not_handed_over_again(owner: Side, factory: Side, rival: Side) -> None:
    """A ledger keeps what it gave back, so it gets different identities from then on; others get those."""
    owner.give(factory, "1.handover", "--count", "3")
    owner.well("merge", returned(factory, "1.return", "--unused"))
    assert owner.states() == {"generated": 8}
    again = ("handover", "lamp-0001", "--to", "factory.card", "-o", "2.handover", "--count")
    owner(*again, "6").refused(3, "only 5 free, not counting what this station gave back before")
    owner.give(factory, "2.handover", "--count", "4")
    assert factory.work(1) == ["LMP-000004"]
    owner.give(rival, "3.handover", "--count", "4")
    assert rival.work(2) == ["LMP-000001"]
    owner.well("merge", returned(factory, "2.return", "--unused"))
    owner.well("merge", returned(rival, "3.return", "--unused"))
    owner(*again, "2", "--force").refused(3, "only 1 free, not counting")
    owner.give(factory, "4.handover", "--count", "1")
    assert factory.work(3) == ["LMP-000008"]
    owner(*again, "1", "--force").refused(3, "used up, not counting what this station gave back before")


def test_what_the_owner_worked_on_since_is_kept(owner: Side, factory: Side) -> None:
    """A unit that came back and was voided here stays void, whatever the factory did; its history is taken over."""
    owner.give(factory, "1.handover", "--count", "2")
    factory.work(1, 2)
    owner.well("merge", returned(factory, "1.return"))
    owner.well("void", "LMP-000001", "--reason", "returned by a customer", "--yes")
    factory.work(1, 2)
    said = owner.well("merge", returned(factory, "2.return"))
    assert "kept as they are here" in said.err
    assert "LMP-000001" in said.err
    assert owner.unit("LMP-000001").state is State.VOID
    assert owner.unit("LMP-000002").attempts == 2
    assert owner.states() == {"generated": 6, "verified": 1, "void": 1}


def test_two_hosts_with_one_key(owner: Side, factory: Side, rival: Side) -> None:
    """Two hosts with a copied station key both receive it: the first return decides, the second one names both."""
    factory.card()
    shutil.copytree(factory.folder, rival.folder, dirs_exist_ok=True)
    fingerprint = owner.hand_over(factory, "1.handover", "--count", "2")
    for side in (factory, rival):
        side.well("receive", "1.handover", "--fingerprint", fingerprint)
    factory.work(1)
    rival.work(2)
    owner.well("merge", returned(factory, "1.return"))
    owner("merge", returned(rival, "2.return")).refused(5, "was received twice: by ledger", ", and by ledger")
    assert owner.unit("LMP-000001").mac == mac(1)
    assert owner.states() == {"generated": 6, "verified": 1, "handed-over": 1}


def test_one_board_with_two_identities(owner: Side, factory: Side) -> None:
    """A board that is a unit here and there is named, and nothing is merged; once one of the two is void, it is."""
    owner.give(factory, "1.handover", "--count", "2")
    ours = owner.work(1)[0]
    theirs = factory.work(1, 2)[0]
    path = returned(factory, "1.return")
    owner("merge", path).refused(5, "contradicts the ledger", f"board {mac(1)} is {ours} here, and {theirs} there")
    assert owner.states() == {"generated": 5, "verified": 1, "handed-over": 2}
    owner.well("void", ours, "--reason", "its board is the factory's", "--yes")
    owner.well("merge", path)
    assert owner.states() == {"generated": 5, "verified": 2, "void": 1}


def test_a_ledger_that_forks(owner: Side, factory: Side) -> None:
    """A factory that goes on from an old backup makes a different return with a number that was merged."""
    owner.give(factory, "1.handover", "--count", "3")
    factory.well("ledger", "backup", "old.db")
    factory.work(1)
    owner.well("merge", returned(factory, "1.return"))
    factory.well("ledger", "restore", "old.db", "--force")
    factory.well("ledger", "adopt", "--name", "lamp")
    assert factory.states() == {"quarantined": 3}
    owner("merge", returned(factory, "2.return")).refused(5, "two different returns", "have the number 1")


def test_a_factory_that_lost_its_ledger_goes_on(owner: Side, factory: Side) -> None:
    """Restored from a backup that has everything that was returned, it goes on in new chains; what is in quarantine
    there is still out here, and a board that carries it brings it home."""
    owner.give(factory, "1.handover", "--count", "3")
    factory.work(1)
    owner.well("merge", returned(factory, "1.return"))
    factory.well("ledger", "backup", "new.db")
    factory.well("ledger", "restore", "new.db", "--force")
    factory.well("ledger", "adopt", "--name", "lamp")
    with factory.open() as workspace:
        node = workspace.ledger.identity_by_serial("LMP-000002").node_id
        carried = Carried(node_id=node)
        workspace.ledger.claim(mac(2), Wish("lamp"), station="new", ts=NOON, carried=carried)
    owner.well("merge", returned(factory, "2.return"))
    assert owner.states() == {"generated": 5, "verified": 1, "claimed": 1, "handed-over": 1}


def test_an_owner_that_lost_its_ledger(owner: Side, factory: Side) -> None:
    """Restored to before the handover, what was handed over is in quarantine; the return proves the handover by the
    owner's own signature, and settles what is on boards. What is given back stays in quarantine."""
    owner.well("ledger", "backup", "old.db")
    owner.give(factory, "1.handover", "--count", "4")
    factory.work(1)
    path = returned(factory, "1.return")
    again = returned(factory, "2.return", "--unused")
    owner.well("ledger", "restore", "old.db", "--force")
    owner.well("ledger", "adopt", "--name", "lamp")
    assert owner.states() == {"quarantined": 8}
    owner.well("merge", path)
    assert owner.states() == {"quarantined": 4, "verified": 1, "handed-over": 3}
    assert "3 identities that were given back are in quarantine" in owner.well("merge", again).err
    assert owner.states() == {"quarantined": 7, "verified": 1}
    assert owner.json("handover")[0]["standing"] == "received"


def test_a_board_that_was_erased_and_made_here_too(owner: Side, factory: Side) -> None:
    """The return with the identity that is on the board no more is merged once the owner gives that one up; the one
    here stays, and so do both when the factory voids its own. Nothing else can be given up so."""
    owner.give(factory, "1.handover", "--count", "3")
    factory.work(1, 2)
    assert owner.work(1) == ["LMP-000004"]
    path = returned(factory, "1.return")
    there = f"board {mac(1)} is LMP-000004 here, and LMP-000001 there"
    owner("merge", path).refused(5, there, "`rmfab void`", "`rmfab merge FILE --void SERIAL`")
    owner("merge", path, "--void", "LMP-000001").refused(2, "--reason must not be empty")
    because = ("--reason", "erased there")
    owner("merge", path, "--void", "LMP-000004", *because).refused(3, "LMP-000004 is not out in a handover")
    merged = owner.json("merge", path, "--void", "LMP-000001", *because)
    assert (merged["kept"], merged["void"], merged["units"]) == (["LMP-000001"], 1, 1)
    assert owner.states() == {"generated": 4, "verified": 2, "void": 1, "handed-over": 1}
    assert "nothing to do" in owner.well("merge", path, "--void", "LMP-000001", *because).err
    owner("merge", path, "--void", "LMP-000002", *because).refused(3, "it is verified", "`rmfab void LMP-000002")
    factory.well("void", "LMP-000001", "--reason", "erased", "--yes")
    owner.well("merge", returned(factory, "2.return"))
    assert owner.states() == {"generated": 4, "verified": 2, "void": 1, "handed-over": 1}
    assert "merged before; 1 void" in owner.well("merge", path, "--void", "LMP-000003", *because).err
    assert owner.states() == {"generated": 4, "verified": 2, "void": 2}
    owner.well("ledger", "check")


def test_a_unit_that_came_to_an_owner_that_lost_its_ledger(owner: Side, factory: Side) -> None:
    """A board of the factory that brought its identity home before the return did, and an identity that was voided in
    quarantine, stay as they are here; the rest of the handover is merged, also by later returns."""
    owner.well("ledger", "backup", "old.db")
    owner.give(factory, "1.handover", "--count", "4")
    factory.work(1, 2)
    first = returned(factory, "1.return")
    owner.well("ledger", "restore", "old.db", "--force")
    owner.well("ledger", "adopt", "--name", "lamp")
    bring_home(owner, "LMP-000001", board=1)
    owner.well("void", "LMP-000003", "--reason", "replaced", "--yes")
    assert owner.json("merge", first)["kept"] == ["LMP-000001"]
    assert owner.states() == {"quarantined": 4, "claimed": 1, "verified": 1, "void": 1, "handed-over": 1}
    factory.work(3, 4)
    assert owner.json("merge", returned(factory, "2.return"))["kept"] == ["LMP-000003"]
    assert owner.states() == {"quarantined": 4, "claimed": 1, "verified": 2, "void": 1}


def test_two_boards_with_one_identity_after_a_loss(owner: Side, factory: Side) -> None:
    """A copy of a factory's board that came to an owner that lost its ledger is named with both boards, until a person
    has voided the identity."""
    owner.well("ledger", "backup", "old.db")
    owner.give(factory, "1.handover", "--count", "2")
    factory.work(1)
    path = returned(factory, "1.return")
    owner.well("ledger", "restore", "old.db", "--force")
    owner.well("ledger", "adopt", "--name", "lamp")
    bring_home(owner, "LMP-000001", board=9)
    owner("merge", path).refused(5, f"LMP-000001 is board {mac(9)} here, and {mac(1)} there")
    owner.well("void", "LMP-000001", "--reason", "two boards have it", "--yes")
    assert owner.json("merge", path)["kept"] == ["LMP-000001"]


def bring_home(side: Side, serial: str, board: int) -> Claim:
    """Give *board* the identity *serial*, which its flash carries; return the claim."""
    with side.open() as workspace:
        found = workspace.ledger.identity_by_serial(serial)
        assert found is not None
        carried = Carried(node_id=found.node_id)
        return workspace.ledger.claim(mac(board), Wish("lamp"), station="desk", ts=NOON, carried=carried)


def test_what_the_lost_ledger_gave_again(owner: Side, factory: Side) -> None:
    """An identity that was given back, merged and given to a board here, before the ledger was lost, is not given again
    when the return is merged once more; the board that carries it gets it. What is handed over later is free again."""
    owner.give(factory, "1.handover", "--count", "2")
    owner.well("ledger", "backup", "old.db")
    owner.well("merge", returned(factory, "1.return", "--unused"))
    assert owner.work(1) == ["LMP-000001"]
    owner.well("ledger", "restore", "old.db", "--force")
    owner.well("ledger", "adopt", "--name", "lamp")
    assert owner.json("merge", "1.return")["quarantined"] == 2
    with owner.open() as workspace, pytest.raises(BatchUsedUp):
        owner.claim(workspace, 2)
    assert bring_home(owner, "LMP-000001", board=1).identity.serial == "LMP-000001"
    owner.well("generate", "--count", "2", "--batch", "more")
    card, printed = factory.card()
    owner.well("handover", "more", "--to", card, "--fingerprint", printed, "-o", "2.handover")
    factory.well("receive", "2.handover")
    merged = owner.json("merge", returned(factory, "2.return", "--unused"))
    assert (merged["given_back"], merged["quarantined"]) == (2, 0)


@pytest.mark.parametrize("same", [False, True], ids=["far apart", "the same number"])
def test_a_restored_owner_that_handed_over_again(owner: Side, factory: Side, rival: Side, same: bool) -> None:
    """After a loss, later handovers have numbers far from those that were lost, so the returns of both are merged; if
    two handovers had one number, the return of the one that is lost here is refused."""
    owner.well("ledger", "backup", "old.db")
    owner.give(factory, "1.handover", "--count", "2")
    factory.work(1)
    path = returned(factory, "1.return")
    owner.well("ledger", "restore", "old.db", "--force")
    owner.well("ledger", "adopt", "--name", "lamp")
    if same:
        with closing(sqlite3.connect(owner.folder / "ledger.db")) as ledger, ledger:
            ledger.execute("UPDATE meta SET value = json_set(value, '$.first_handover', 1) WHERE name = 'loss'")
    owner.well("generate", "--count", "2", "--batch", "more")
    card, printed = rival.card("rival.card")
    said = owner.well("handover", "more", "--count", "1", "--to", card, "--fingerprint", printed, "-o", "2.handover")
    assert (owner.json("handover")[0]["handover"] == 1) is same
    if same:
        owner("merge", path).refused(5, "is not the one in this ledger, which was restored")
        return
    rival.well("receive", "2.handover", "--fingerprint", said.err.split("`rmfab receive`: ")[1].strip())
    rival.work(2)
    owner.well("merge", path)
    owner.well("merge", returned(rival, "2.return"))
    assert owner.states() == {"quarantined": 6, "verified": 2, "handed-over": 1, "generated": 1}


def test_numbers_after_two_losses(owner: Side, factory: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each loss counts on from the last handover that the ledger has, also if all of that was given back."""
    jumps = iter((500, 0))
    monkeypatch.setattr("rmfab.ledger.numbers.secrets.randbelow", lambda _: next(jumps))
    numbers = []
    for name in ("one", "two"):
        owner.well("ledger", "backup", f"{name}.db")
        owner.well("ledger", "restore", f"{name}.db", "--force")
        owner.well("ledger", "adopt", "--name", "lamp")
        owner.well("generate", "--count", "2", "--batch", name)
        card, printed = factory.card()
        to = ("--to", card, "--fingerprint", printed)
        numbers.append(owner.json("handover", name, *to, "-o", f"{name}.handover")["handover"])
        if name == "one":
            said = owner.well("handover", "--again", str(numbers[0]), *to, "-o", "again.handover")
            factory.well("receive", "again.handover", "--fingerprint", said.err.split("`rmfab receive`: ")[1].strip())
            owner.well("merge", returned(factory, "1.return", "--unused"))
            assert owner.states() == {"quarantined": 8, "generated": 2}
    assert numbers == [501_001, 502_002]


def test_returns_of_others(owner: Side, factory: Side, rival: Side) -> None:
    """A return that is signed by a station without a handover, or about a different ledger, changes nothing."""
    owner.give(factory, "1.handover", "--count", "2")
    factory.work(1)
    (factory.folder / "keys" / "signing.key").unlink()
    owner("merge", returned(factory, "1.return")).refused(5, "no station that got a handover has this key")
    owner("return", "-o", "x").refused(3, "received no handover")
    factory("merge", "1.return").refused(5, "no station")
    owner.give(rival, "2.handover", "--count", "1")
    rival("return", "-o", "missing/x").refused(3, "missing")
    assert rival.json("return", "-o", "2.return")["return"] == 1
    owner.well("merge", "2.return")


def test_a_tampered_return(owner: Side, factory: Side) -> None:
    """A changed byte in any region, a file that is cut off or longer, and a different file are refused."""
    owner.give(factory, "1.handover", "--count", "2")
    factory.work(1)
    data = returned(factory, "1.return").read_bytes()
    places, _ = locate(lambda at, size: data[at : at + size], len(data))
    spots = [at for place in places for at in (place.start - 512, place.start - 400, place.start, place.start + 40)]
    spots += [place.start + place.size - 2 for place in places] + [len(data) - 1, len(data) - 1000]
    bad = Path("bad.return")
    for at in sorted(set(spots)):
        bad.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        said = owner("merge", bad)
        assert said.code in (3, 5), (at, said.err)
        said.refused(said.code)
    for cut in (*(data[:end] for end in (-1, -1024, 4096, 512, 0)), data + b"\0", data + data):
        bad.write_bytes(cut)
        said = owner("merge", bad)
        said.refused(said.code, "bad.return")
    owner("merge", "1.handover").refused(3, "not a return")
    assert owner.states() == {"generated": 6, "handed-over": 2}
    owner.well("merge", "1.return")
    assert owner.json("handover")[0]["batch"] == BATCH
