"""A handover: what leaves the pool, who can open it, and how a file is refused."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rmfab.errors import IntegrityError, RmfabError
from rmfab.identity.make_identities import open_identity
from rmfab.identity.sealing import load_station_key, unwrap
from rmfab.ledger.claim_terms import Carried, Wish
from rmfab.ledger.states import State
from rmfab.operations.receive import receive
from rmfab.release.container import locate
from rmfab.report.status import as_table
from tests.exchange.sides import BATCH, NOON, Side, mac

EARLY = datetime(2026, 1, 1, tzinfo=UTC)


def test_no_handover(owner: Side) -> None:
    """Before the first handover, the list says that there is none; as JSON, it is empty."""
    assert "nothing was handed over yet" in owner("handover").err
    assert owner.json("handover") == []


def test_a_handover_leaves_the_pool(owner: Side, factory: Side) -> None:
    """The lowest free identities are the factory's alone: there they are free, here no board gets them."""
    owner.work(1)
    owner.give(factory, "1.handover", "--count", "3")
    assert owner.states() == {"generated": 4, "verified": 1, "handed-over": 3}
    assert factory.states() == {"generated": 3}
    assert owner.work(2) == ["LMP-000005"]
    assert factory.work(3, 4) == ["LMP-000002", "LMP-000003"]
    rows = owner.json("handover")
    assert [(one["handover"], one["count"], one["out"], one["standing"]) for one in rows] == [(1, 3, 3, "handed over")]
    assert (owner.folder / "keys" / "ledger.key").stat().st_mode & 0o777 == 0o600


def test_what_is_handed_over_is_not_bound_here(owner: Side, factory: Side) -> None:
    """A board that carries a handed-over identity gets nothing, neither here nor, once it is given back, there."""
    owner.give(factory, "1.handover", "--count", "2")
    with owner.open() as workspace:
        node = workspace.ledger.identity_by_serial("LMP-000001").node_id
    factory.well("return", "--unused", "-o", "1.return")
    for side in (owner, factory):
        carried = Carried(node_id=node)
        with side.open() as workspace, pytest.raises(IntegrityError) as caught:
            workspace.ledger.claim(mac(7), Wish("lamp"), station="bench", ts=NOON, carried=carried)
        assert caught.value.cause == "handed-over"
        side("void", "LMP-000001", "--reason", "lost").refused(3, "handed over")
        side("label", "LMP-000001", "-o", "l.png").refused(3, "handed over")
    owner("handover", BATCH, "--count", "9", "--to", "factory.card", "-o", "2").refused(3, "only 6 free")
    assert not Path("2").exists()


def test_what_is_not_handed_over_can_never_be_opened(owner: Side, factory: Side) -> None:
    """With its keys and the owner's whole ledger, the factory opens what it received, from its own file only."""
    owner.give(factory, "1.handover", "--count", "2")
    key = load_station_key(factory.folder / "keys" / "station.key")
    with owner.open() as workspace, factory.open() as there:
        received = {one.serial: there.open_identity(one) for one in there.ledger.identities("lamp-0001-h1")}
        data_keys = [unwrap(chunk.wrapped_key, key) for chunk in there.ledger.chunks()]
        for chunk in workspace.ledger.chunks():
            with pytest.raises(RmfabError) as caught:
                unwrap(chunk.wrapped_key, key)
            assert caught.value.cause == "not-admitted"
        for one in workspace.ledger.identities(BATCH):
            for data_key in data_keys:
                with pytest.raises(IntegrityError):
                    open_identity(one.record, data_key, workspace.ledger.id, BATCH)
            if one.serial in received:
                assert workspace.open_identity(one) == received[one.serial]
    assert sorted(received) == ["LMP-000001", "LMP-000002"]


def test_the_owners_secrets_never_travel(owner: Side, factory: Side) -> None:
    """The file contains no private key, no uniqueness key and no identity that is not in the handover."""
    owner.hand_over(factory, "1.handover", "--count", "2")
    data = Path("1.handover").read_bytes()
    with owner.open() as workspace:
        for number, one in enumerate(workspace.ledger.identities(BATCH)):
            identity = workspace.open_identity(one)
            assert identity.private_key_pem is not None
            for secret in (identity.random.reveal(), identity.private_key_pem.reveal(), identity.pop.reveal().encode()):
                assert secret not in data
            assert (one.serial.encode() in data) is (number < 2)
    for name in ("ca/ca.key", "keys/unique.key", "keys/station.key", "keys/ledger.key"):
        assert (owner.folder / name).read_bytes().strip() not in data
    assert Path("1.handover").stat().st_mode & 0o777 == 0o600


def test_a_card_is_compared_once(owner: Side, factory: Side, rival: Side) -> None:
    """The first handover to a card wants its fingerprint; a recipient alone, or the own card, is not enough."""
    path, fingerprint = factory.card()
    argv = ("handover", BATCH, "--count", "1", "-o", "h", "--to")
    owner(*argv, path).refused(3, "requires the fingerprint of its card", "--fingerprint")
    owner(*argv, path, "--fingerprint", "0000").refused(5, "does not match")
    owner.well(*argv, path, "--fingerprint", fingerprint.upper().replace("-", " "))
    owner("handover", BATCH, "--count", "1", "-o", "h", "--to", path).refused(3, "already exists", "--force")
    owner.well("handover", BATCH, "--count", "1", "-o", "h2", "--to", path)
    recipient = rival.json("station", "card", "-o", "rival.card")["recipient"]
    owner(*argv, recipient).refused(3, "needs the card")
    owner.well("station", "card", "-o", "own.card")
    owner(*argv, "own.card").refused(3, "card of this station")
    damaged = Path("bad.card")
    for bad in (b"", b"{}", path.read_bytes()[:-1], path.read_bytes().replace(b"age1", b"age2"), b"\xff" * 9):
        damaged.write_bytes(bad)
        owner(*argv, damaged).refused(3, "bad.card")
    assert owner.states()["handed-over"] == 2


def test_the_same_file_is_received_once(owner: Side, factory: Side, tmp_path: Path) -> None:
    """In the same workspace a second time changes nothing; a different workspace of the host is refused, for ever."""
    fingerprint = owner.hand_over(factory, "1.handover", "--count", "2")
    other = Side(factory.terminal, tmp_path / "other", factory.state, factory.monkeypatch)
    shutil.copytree(factory.folder, other.folder)
    factory.well("receive", "1.handover", "--fingerprint", fingerprint)
    assert factory.json("receive", "1.handover")["again"] is True
    other("receive", "1.handover", "--fingerprint", fingerprint).refused(5, "has received this handover before")
    shutil.rmtree(factory.folder)
    other("receive", "1.handover", "--fingerprint", fingerprint).refused(5, "has received this handover before")
    owner.hand_over(factory.__class__(**vars(other)), "1b.handover", "--again", "1")
    other("receive", "1b.handover", "--fingerprint", fingerprint).refused(5, "has received this handover before")


def test_a_copy_of_the_factorys_ledger_cannot_receive_again(owner: Side, factory: Side) -> None:
    """A ledger that is restored to before the handover and adopted must not get the same identities once more."""
    owner.give(factory, "1.handover", "--count", "1")
    factory.well("ledger", "backup", "before.db")
    owner.give(factory, "2.handover", "--count", "2")
    factory.work(1, 2)
    factory.well("ledger", "restore", "before.db", "--force")
    factory("receive", "2.handover").refused(5, "is a copy")
    factory.well("ledger", "adopt", "--name", "lamp")
    factory("receive", "2.handover").refused(5, "has received this handover before")
    assert factory.states() == {"quarantined": 1}


def test_the_wrong_station(owner: Side, factory: Side, rival: Side) -> None:
    """A handover opens only in the folder with the keys of its card. Without keys, it is refused before the operator is
    asked for a fingerprint, and the error says how a factory gets them."""
    fingerprint = owner.hand_over(factory, "1.handover")
    said = rival("receive", "1.handover")
    said.refused(4, "no station key", "`rmfab station card -o FILE`", "send its card to the owner")
    assert "admit" not in said.err
    assert not (rival.folder / "keys").exists()
    rival.card("rival.card")
    rival("receive", "1.handover", "--fingerprint", fingerprint).refused(3, "is for the station")
    assert sorted(path.name for path in rival.folder.iterdir()) == ["keys"]
    owner("receive", "1.handover", "--fingerprint", fingerprint).refused(3, "is for the station")


def test_the_fingerprint_of_the_owner(owner: Side, factory: Side, tmp_path: Path, template: Path) -> None:
    """It is asked for once; a handover by somebody else is refused afterwards, and by a wrong one before."""
    fingerprint = owner.hand_over(factory, "1.handover", "--count", "2")
    factory("receive", "1.handover").refused(3, "requires the fingerprint of its owner", "--fingerprint F")
    factory("receive", "1.handover", "--fingerprint", fingerprint[::-1]).refused(5, "does not match")
    factory.well("receive", "1.handover", "--fingerprint", fingerprint)
    owner.hand_over(factory, "2.handover", "--count", "1")
    factory.well("receive", "2.handover")
    (owner.folder / "keys" / "ledger.key").unlink()
    new = owner.hand_over(factory, "3.handover", "--count", "1")
    factory("receive", "3.handover").refused(5, "signed by a different key")
    factory.well("receive", "3.handover", "--fingerprint", new)
    assert factory.states() == {"generated": 4}


def test_a_workspace_of_identities_of_its_own(owner: Side, factory: Side, rival: Side) -> None:
    """Identities of two owners never share a ledger: returns contain all of it."""
    fingerprint = owner.hand_over(factory, "1.handover", "--count", "2")
    own = factory.folder
    factory.well("receive", "1.handover", "--fingerprint", fingerprint)
    factory("handover", "lamp-0001-h1", "--to", rival.card()[0], "--fingerprint", rival.card()[1], "-o", "x").refused(
        3, "only their owner"
    )
    factory("generate", "--count", "1").refused(3)
    assert own.is_dir()


def test_the_validity_date(owner: Side, factory: Side) -> None:
    """After it nothing is received, and no new board gets an identity; a board that has one goes on."""
    owner.give(factory, "1.handover", "--count", "2", "--until", "2098-12-24")
    owner.hand_over(factory, "2.handover", "--count", "1", "--until", "2098-12-24")
    with factory.open() as workspace:
        for board, ts in ((1, "2098-12-24T23:59:58.000Z"), (1, "2099-01-01T00:00:00.000Z")):
            workspace.ledger.claim(mac(board), Wish("lamp"), station="b", ts=ts)
        with pytest.raises(RmfabError) as caught:
            workspace.ledger.claim(mac(3), Wish("lamp"), station="b", ts="2098-12-24T23:59:59.000Z")
        assert caught.value.cause == "handover-expired"
        for moment, cause in ((datetime(2098, 12, 25, tzinfo=UTC), "handover-expired"), (EARLY, "clock")):
            workspace.now = lambda moment=moment: moment
            with pytest.raises(RmfabError) as caught:
                receive(workspace, Path("2.handover"))
            assert caught.value.cause == cause
    owner("handover", BATCH, "--to", "factory.card", "-o", "3", "--until", "2020-01-01").refused(3, "has passed")


def test_an_expired_handover_is_not_free(owner: Side, factory: Side) -> None:
    """Nothing of it is counted as free or given to a new board, and `status` marks it; the next handover is used."""
    before, after = "2098-12-24T12:00:00.000Z", "2098-12-25T00:00:00.000Z"
    owner.give(factory, "1.handover", "--count", "2", "--until", "2098-12-24")
    first, second = f"{BATCH}-h1", f"{BATCH}-h2"
    with factory.open() as workspace:
        assert workspace.ledger.free("lamp", ts=before) == 2
        assert workspace.ledger.free("lamp", ts=after) == workspace.ledger.free("lamp", first, ts=after) == 0
        with pytest.raises(RmfabError, match="expired on 2098-12-24"):
            workspace.ledger.claim(mac(1), Wish("lamp"), station="b", ts=after)
    owner.give(factory, "2.handover", "--count", "1", "--until", "2099-12-24")
    with factory.open() as workspace:
        ledger = workspace.ledger
        assert [one.name for one in ledger.claimable("lamp", before)] == [first, second]
        assert [one.name for one in workspace.inquiry.claimable("lamp", after)] == [second]
        assert (ledger.free("lamp", ts=before), ledger.free("lamp", ts=after)) == (3, 1)
        marked = [row[0] for row in as_table(ledger.counts(), after)[1]]
        assert marked == [f"{first} (expired)", second]
        claimed = ledger.claim(mac(1), Wish("lamp"), station="b", ts=after)
        assert claimed.identity.batch == second
        with pytest.raises(RmfabError, match="expired on 2098-12-24"):
            ledger.claim(mac(2), Wish("lamp"), station="b", ts=after)
    assert [one["until"][:10] for one in factory.json("status")] == ["2098-12-24", "2099-12-24"]
    assert [one["until"] for one in owner.json("status")] == [None]


def test_a_tampered_file(owner: Side, factory: Side) -> None:
    """A changed byte in any region, a file that is cut off or longer, and other files are refused; nothing is made."""
    fingerprint = owner.hand_over(factory, "1.handover", "--count", "2")
    data = Path("1.handover").read_bytes()
    places, _ = locate(lambda at, size: data[at : at + size], len(data))
    spots = [at for place in places for at in (place.start - 512, place.start - 400, place.start, place.start + 40)]
    spots += [place.start + place.size - 2 for place in places] + [len(data) - 1, len(data) - 1000]
    bad = Path("bad.handover")
    before = sorted(path.name for path in factory.folder.iterdir())
    for at in sorted(set(spots)):
        bad.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        said = factory("receive", bad, "--fingerprint", fingerprint)
        assert said.code in (3, 5), (at, said.err)
        said.refused(said.code)
    for cut in (
        data[:-1],
        data[:-1024],
        data[:4096],
        data[:512],
        data[:100],
        b"",
        data + b"\0",
        data + data,
        b"PK\x03",
    ):
        bad.write_bytes(cut)
        said = factory("receive", bad, "--fingerprint", fingerprint)
        said.refused(said.code, "bad.handover")
        assert said.code in (3, 5)
    assert sorted(path.name for path in factory.folder.iterdir()) == before
    factory("receive", "nowhere", "--fingerprint", fingerprint).refused(3, "nowhere")
    factory("merge", "1.handover").refused(3)
    owner("merge", "1.handover").refused(3, "not a return")
    factory.well("receive", "1.handover", "--fingerprint", fingerprint)


def test_a_lost_file_is_written_again(owner: Side, factory: Side, rival: Side) -> None:
    """By its number and for the same card only; not once a return of it was merged, or it was declared lost."""
    fingerprint = owner.hand_over(factory, "1.handover", "--count", "2")
    path, theirs = rival.card("rival.card")
    owner("handover", "--again", "1", "--to", path, "--fingerprint", theirs, "-o", "x").refused(3, "different card")
    owner("handover", "--again", "2", "--to", "factory.card", "-o", "x").refused(3, "there is no handover 2")
    Path("1.handover").unlink()
    owner.well("handover", "--again", "1", "--to", "factory.card", "-o", "1.handover")
    factory.well("receive", "1.handover", "--fingerprint", fingerprint)
    assert owner.states() == {"generated": 6, "handed-over": 2}
    factory.well("return", "-o", "1.return")
    owner.well("merge", "1.return")
    owner("handover", "--again", "1", "--to", "factory.card", "-o", "x").refused(3, "was received")


def test_a_lost_handover(owner: Side, factory: Side) -> None:
    """What is still out becomes void, once somebody confirms it; a return of it is refused and says why."""
    owner.give(factory, "1.handover", "--count", "3")
    factory.work(1)
    factory.well("return", "-o", "1.return")
    owner.well("merge", "1.return")
    factory.work(2)
    factory.well("return", "-o", "2.return")
    lost = ("handover", "--lost", "1", "--reason", "burned down")
    owner(*lost).refused(3, "nothing was changed", "--yes")
    owner("handover", "--lost", "1").refused(2, "--reason")
    assert owner.json(*lost, "--yes") == {"handover": 1, "void": 2}
    owner(*lost, "--yes").refused(3, "was declared lost already")
    assert owner.states() == {"generated": 5, "verified": 1, "void": 2}
    owner("merge", "2.return").refused(5, "was declared lost")
    owner("handover", "--again", "1", "--to", "factory.card", "-o", "x").refused(3, "was declared lost")
    assert owner.states() == {"generated": 5, "verified": 1, "void": 2}


def test_files_of_the_workspace(owner: Side, factory: Side) -> None:
    """product.toml travels; the owner's changes replace it, those of the factory are kept unless --force is given."""
    owner.give(factory, "1.handover", "--count", "1")
    toml = owner.folder / "product.toml"
    assert (factory.folder / "product.toml").read_bytes() == toml.read_bytes()
    toml.write_text(toml.read_text() + "\n# changed by the owner\n")
    owner.hand_over(factory, "2.handover", "--count", "1")
    factory.well("receive", "2.handover")
    assert (factory.folder / "product.toml").read_bytes() == toml.read_bytes()
    (factory.folder / "product.toml").write_text(toml.read_text() + "# changed by the factory\n")
    toml.write_text(toml.read_text() + "# again\n")
    owner.hand_over(factory, "3.handover", "--count", "1")
    factory("receive", "3.handover").refused(3, "already exists with different content", "--force")
    factory.well("receive", "3.handover", "--force")
    assert factory.states() == {"generated": 3}


def test_states_of_the_identities_there(owner: Side, factory: Side) -> None:
    """A factory's state of an identity is its own: what it voids is void there, and here once it is merged."""
    owner.give(factory, "1.handover", "--count", "2")
    factory.well("void", "LMP-000001", "--reason", "scrapped")
    assert owner.unit("LMP-000001").state is State.HANDED_OVER
    factory.well("return", "-o", "1.return")
    owner.well("merge", "1.return")
    assert owner.unit("LMP-000001").state is State.VOID
    assert owner.unit("LMP-000001").reason == "scrapped"


def test_the_same_command_continues(owner: Side, factory: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that ended between the record and the file writes that file when it is repeated, and takes no more."""
    path, fingerprint = factory.card()
    argv = ("handover", BATCH, "--count", "2", "--to", path, "--fingerprint", fingerprint, "-o", "1.handover")

    def ends(*_: object) -> None:
        raise OSError(5, "the disk was unplugged")

    with monkeypatch.context() as broken:
        broken.setattr("rmfab.exchange.parcel.ParcelWriter.sign", ends)
        owner(*argv).refused(4, "it is recorded", "`rmfab handover --again 1")
    assert not Path("1.handover").exists()
    assert "handover 1 was interrupted" in owner.well(*argv).err
    assert owner.states() == {"generated": 6, "handed-over": 2}
    owner.well(*argv[:-1], "2.handover")
    assert owner.states() == {"generated": 4, "handed-over": 4}


def test_what_product_toml_names_travels(owner: Side, factory: Side) -> None:
    """Files that product.toml names come along under their path; one outside the workspace is refused."""
    toml = owner.folder / "product.toml"
    before = toml.read_text()
    (owner.folder / "fonts").mkdir()
    (owner.folder / "fonts" / "Lamp.ttf").write_bytes(b"letters")
    (owner.folder / "white.png").write_bytes(b"dots")
    step = '\n[[step]]\nname = "lamp"\nafter = "boot"\nask = "Is it white?"\npicture = "white.png"\n'
    toml.write_text(before.replace("[label]\n", '[label]\nfont = "fonts/Lamp.ttf"\n') + step)
    owner.give(factory, "1.handover", "--count", "1")
    assert (factory.folder / "fonts" / "Lamp.ttf").read_bytes() == b"letters"
    assert (factory.folder / "white.png").read_bytes() == b"dots"
    (owner.folder.parent / "elsewhere.ttf").write_bytes(b"letters")
    for path in ("../elsewhere.ttf", "keys/unique.key", "a b.ttf"):
        (owner.folder / "a b.ttf").write_bytes(b"letters")
        toml.write_text(before.replace("[label]\n", f'[label]\nfont = "{path}"\n'))
        owner("handover", BATCH, "--count", "1", "--to", "factory.card", "-o", "2.handover").refused(3, "relative path")
    assert owner.states() == {"generated": 7, "handed-over": 1}


def test_the_trust_file_follows_its_owner(owner: Side, factory: Side) -> None:
    """The first one comes with the handover, later ones as successors; one that is newer at the factory stays."""
    for name in ("a", "b"):
        owner.terminal.well("release", "keygen", "-o", f"{name}.key", "--no-passphrase")
    owner.well("trust", "add", "a.pub", "--role", "release", "--key", "a.key")
    owner.give(factory, "1.handover", "--count", "1")
    assert factory.json("trust", "list")["version"] == 1
    owner.well("trust", "add", "b.pub", "--role", "release", "--key", "a.key")
    owner.hand_over(factory, "2.handover", "--count", "1")
    assert "version 2 of the trust file is in force" in factory.well("receive", "2.handover").err
    owner.hand_over(factory, "3.handover", "--count", "1")
    owner.well("trust", "remove", "b", "--key", "a.key")
    owner.well("trust", "export", "-o", "3.json")
    factory.well("trust", "import", "3.json")
    assert "kept version 3" in factory.well("receive", "3.handover").err
    assert factory.json("trust", "list")["version"] == 3


def test_identities_without_certificates(owner: Side, factory: Side, tmp_path: Path) -> None:
    """Identities for self claiming are handed over as well: without node id, certificate and key."""
    fan = Side(owner.terminal, tmp_path / "fan", tmp_path / "fan-state", owner.monkeypatch)
    owner.monkeypatch.setenv("RMFAB_STATE", str(fan.state))
    owner.terminal.well("init", fan.folder, "--cloud-claim")
    fan.well("generate", "--count", "2", "--batch", BATCH)
    fan.give(factory, "1.handover")
    with fan.open() as there, factory.open() as here:
        ours, theirs = there.ledger.identities(BATCH), here.ledger.identities("lamp-0001-h1")
        assert [there.open_identity(one) for one in ours] == [here.open_identity(one) for one in theirs]
    assert fan.states() == {"handed-over": 2}


def test_a_factory_admits_a_second_station(owner: Side, factory: Side, rival: Side) -> None:
    """The station of the card, which product.toml does not name, still opens its identities afterwards."""
    owner.give(factory)
    card, _ = rival.card()
    factory.well("station", "admit", card)
    assert factory.work(1) == ["LMP-000001"]
