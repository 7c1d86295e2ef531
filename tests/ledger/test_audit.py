"""The check finds tampering, and current state can be rebuilt from the events."""

import pytest

from rmfab.errors import IntegrityError
from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from tests.ledger.tampering import change
from tests.ledger.workshop import FILE, STATION, fresh, mac, now


@pytest.fixture
def file(place):
    """Where the ledger is."""
    return place


@pytest.fixture
def ledger(place):
    """A ledger after a working day: claimed, flashed, failed, voided, labelled, at two stations."""
    with fresh(place) as opened:
        for board in range(1, 6):
            claim = opened.claim(mac(board), Wish("lamp"), station=("one", "two")[board % 2], ts=now(board))
            opened.record("one", [Event(now(), EventKind.STEP, serial=claim.identity.serial, state=State.FLASHED)])
        bad = Event(
            now(), EventKind.UNIT, serial="LMP-000002", outcome=Outcome.FAIL, state=State.FAILED, reason="panic"
        )
        opened.record("two", [bad])
        opened.void("LMP-000003", reason="dropped", station="one", ts=now())
        opened.claim(mac(3), Wish("lamp"), station="one", ts=now())
        opened.labelled(["LMP-000001"], station="two", ts=now())
        yield opened


_ONE_MORE = """
INSERT INTO identity (batch_id, chunk_id, position, serial, pop_tag, random_sha256, service_name, sealed_random, state,
 attempts, labelled_count)
VALUES (1, 1, 77, 'LMP-77', hex(randomblob(32)), hex(randomblob(32)), 'x', x'00', 'generated', 0, 0)
"""


def kinds(ledger):
    return {finding.kind for finding in ledger.check()}


def test_a_sound_ledger_has_no_findings(ledger):
    """An untampered ledger has no findings, and there is nothing to repair."""
    assert ledger.check() == ()
    assert ledger.rebuild() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE event SET reason = 'fine' WHERE serial = 'LMP-000002' AND kind = 'unit'", "chain"),
        ("UPDATE event SET outcome = 'PASS' WHERE kind = 'unit'", "chain"),
        ("UPDATE event SET kind = 'nonsense' WHERE kind = 'unit'", "chain"),
        ("UPDATE event SET details = 'no JSON' WHERE kind = 'batch'", "chain"),
        ("UPDATE event SET ts = 'yesterday' WHERE kind = 'claim'", "chain"),
        ("UPDATE event SET mac = 'x' WHERE kind = 'void'", "chain"),
        ("UPDATE event SET seconds = 1.5 WHERE kind = 'void'", "chain"),
        ("DELETE FROM event WHERE station = 'one' AND seq = 2", "chain"),
        (
            "DELETE FROM event WHERE station = 'one' AND seq = (SELECT max(seq) FROM event WHERE station = 'one')",
            "chain",
        ),
        ("DELETE FROM event WHERE station = 'two'", "chain"),
        ("UPDATE event SET id = 900 WHERE station = 'one' AND seq = 1", "chain"),
        ("UPDATE chain SET last_hash = hex(zeroblob(32)) WHERE station = 'one'", "chain"),
        ("UPDATE identity SET node_id = 'mine' WHERE serial = 'LMP-000009'", "batch"),
        ("UPDATE identity SET certificate = x'00' WHERE serial = 'LMP-000001'", "batch"),
        ("UPDATE identity SET sealed_random = x'00' WHERE serial = 'LMP-000001'", "batch"),
        ("UPDATE identity SET serial = 'LMP-7' WHERE serial = 'LMP-000007'", "batch"),
        ("UPDATE identity SET position = 99 WHERE position = 0", "batch"),
        ("DELETE FROM identity WHERE serial = 'LMP-000010'", "batch"),
        ("UPDATE identity SET chunk_id = 1 WHERE serial = 'LMP-000010'", "batch"),
        (_ONE_MORE, "batch"),
        ("DELETE FROM identity WHERE serial = 'LMP-000002'", "standing"),
        ("UPDATE chunk SET digest = hex(zeroblob(32)) WHERE number = 1", "batch"),
        ("UPDATE batch SET digest = hex(zeroblob(32))", "batch"),
        ("UPDATE batch SET policy = '{}'", "batch"),
        ("UPDATE batch SET state = 'open'", "batch"),
        ("UPDATE chunk SET wrapped_key = x'00' WHERE number = 1", "key"),
        ("UPDATE identity SET state = 'verified' WHERE serial = 'LMP-000002'", "standing"),
        ("UPDATE identity SET state = 'generated', mac = NULL WHERE serial = 'LMP-000001'", "standing"),
        ("UPDATE identity SET mac = '24:0a:c4:00:00:99' WHERE serial = 'LMP-000001'", "standing"),
        ("UPDATE identity SET state = 'generated', mac = NULL WHERE state = 'void'", "standing"),
        ("UPDATE identity SET labelled_count = 0 WHERE serial = 'LMP-000001'", "standing"),
    ],
)
def test_every_edit_is_found(ledger, file, statement, kind):
    """Every row that is changed or deleted outside rmfab is found, with the right kind of finding."""
    change(file, statement)
    assert kind in kinds(ledger)


def test_a_renamed_batch_is_found(ledger, file):
    """A renamed batch does not match its events and digests."""
    change(file, "UPDATE batch SET name = 'other'")
    assert "batch" in kinds(ledger)


def test_a_chain_from_another_ledger_is_found(ledger, file):
    """Events do not match the id of a different ledger."""
    change(file, f"UPDATE meta SET value = '{'feed' * 8}' WHERE name = 'ledger_id'")
    with Ledger.open(file, create=False) as other:
        assert "chain" in kinds(other)


def test_findings_say_where(ledger, file):
    """A finding contains the station and event, or the serial, and the expected value."""
    change(file, "UPDATE identity SET state = 'verified' WHERE serial = 'LMP-000002'")
    (finding,) = ledger.check()
    assert (finding.where, finding.what) == ("LMP-000002", "state is verified, expected failed from the events")
    assert len(ledger.check(limit=0)) == 0


def test_rebuild_makes_state_from_history(ledger, file):
    """Current state is restored exactly from the events, even if MACs were swapped."""
    before = list(ledger.identities("lamp-0001"))
    change(
        file,
        "UPDATE identity SET state = 'generated', mac = NULL, attempts = 9, labelled_count = 5, reason = 'x'",
        f"UPDATE identity SET state = 'verified', mac = '{mac(5)}' WHERE serial = 'LMP-000001'",
        f"UPDATE identity SET state = 'claimed', mac = '{mac(1)}' WHERE serial = 'LMP-000005'",
    )
    assert ledger.rebuild() == 10
    assert list(ledger.identities("lamp-0001")) == before
    assert ledger.check() == ()


def test_rebuild_refuses_a_history_that_was_changed(ledger, file):
    """State is not rebuilt from tampered events."""
    change(file, "UPDATE event SET serial = 'LMP-000009' WHERE kind = 'void'")
    with pytest.raises(IntegrityError) as caught:
        ledger.rebuild()
    assert caught.value.cause == "chain"


def test_reading_what_was_changed_is_an_integrity_error(ledger, file):
    """Tracing a unit with edited events stops with an error message, not with a traceback."""
    change(file, "UPDATE event SET kind = 'nonsense' WHERE kind = 'unit'")
    with pytest.raises(IntegrityError, match="changed"):
        ledger.history("LMP-000002")
    change(file, "UPDATE identity SET pop_tag = '' WHERE serial = 'LMP-000002'")
    with pytest.raises(IntegrityError, match="changed"):
        ledger.identity_by_serial("LMP-000002")


def test_a_forged_event_under_a_recomputed_hash_breaks_the_next(ledger, file):
    """An event with a recomputed hash is found by the event after it."""
    change(file, f"UPDATE event SET reason = 'x', hash = '{'0' * 64}' WHERE station = 'one' AND seq = 1")
    assert "chain" in kinds(ledger)


@pytest.mark.slow
def test_damaged_pages_are_an_integrity_error(tmp_path):
    """A ledger with overwritten pages is reported as damaged, when it is checked and when it is used."""
    file = tmp_path / FILE
    with fresh(tmp_path) as ledger:
        for number in range(6, 400):
            ledger.record(STATION, [Event(now(), EventKind.STEP, mac=mac(number), reason="x" * 200)])
    data = bytearray(file.read_bytes())
    for page in range(8, len(data) // 4096, 2):
        data[page * 4096 : page * 4096 + 512] = b"\xa5" * 512
    file.write_bytes(data)
    try:
        with Ledger.open(file, create=False) as damaged:
            assert damaged.check() != ()
    except IntegrityError as error:
        caught = error
        assert caught.cause == "ledger-corrupt"


@pytest.mark.parametrize("value", ["", "../../../tmp/other", "0A" * 16, "0a" * 16 + "\n", "\u03de\u021a" * 16])
def test_an_id_that_is_none(ledger, file, value):
    """A ledger whose id was changed to what is none is damaged: files of this host are named after it."""
    ledger.close()
    change(file, f"UPDATE meta SET value = '{value}' WHERE name = 'ledger_id'")
    with pytest.raises(IntegrityError, match="no id") as caught:
        Ledger.open(file, create=False)
    assert caught.value.cause == "ledger-corrupt"
