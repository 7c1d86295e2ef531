"""Batches: opened, continued, closed; which values must be unique."""

import json
from dataclasses import replace

import pytest

from rmfab.errors import BatchUsedUp, InputError, IntegrityError
from rmfab.ledger.batches import Taken
from rmfab.ledger.claim_terms import Carried, Wish
from rmfab.ledger.numbers import SerialsUnsure
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import STATION, claim, digest, fill, mac, make, now, order, record


@pytest.fixture
def ledger(place):
    with Ledger.open(place, create=True) as opened:
        yield opened


def serials(ledger, name):
    return [identity.serial for identity in ledger.identities(name)]


def test_a_batch_is_invisible_until_it_is_closed(ledger):
    """Stations cannot claim from a batch that is still being made, and no command reads it."""
    batch = ledger.begin_batch(order(), now())
    fill(ledger, batch)
    with pytest.raises(BatchUsedUp):
        ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now())
    for wish in ({"batch": "lamp-0001"}, {"serial": "LMP-000001"}):
        with pytest.raises(InputError) as caught:
            ledger.claim(mac(1), Wish("lamp", **wish), station=STATION, ts=now())
        assert caught.value.cause == "open-batch"
    with pytest.raises(InputError, match="not finished"):
        serials(ledger, "lamp-0001")
    ledger.close_batch(batch, STATION, now())
    assert ledger.claim(mac(1), Wish("lamp"), station=STATION, ts=now()).identity.serial == "LMP-000001"


def test_a_batch_cut_short_goes_on_where_it_stopped(ledger):
    """Repeating the order returns the same batch, with only the missing chunks left to make."""
    batch = ledger.begin_batch(order(), now())
    assert [(p.number, p.first, p.count) for p in ledger.missing_chunks(batch)] == [(0, 0, 4), (1, 4, 4), (2, 8, 2)]
    ledger.add_chunk(batch, 1, b"key", [record(f"LMP-{n:06d}") for n in range(5, 9)])
    again = ledger.begin_batch(order(chunk_size=1000), now(9))
    assert again == batch
    assert [p.number for p in ledger.missing_chunks(again)] == [0, 2]
    with pytest.raises(InputError, match="is missing identities"):
        ledger.close_batch(again, STATION, now())
    fill(ledger, again)
    closed = ledger.close_batch(again, STATION, now())
    assert closed.closed
    assert serials(ledger, "lamp-0001") == [f"LMP-{n:06d}" for n in range(1, 11)]
    assert ledger.check() == ()


def test_a_closed_batch_is_made_once(ledger):
    """Repeating the order of a closed batch makes nothing, and closing it again writes no second event."""
    batch = make(ledger)
    again = ledger.begin_batch(order(), now())
    assert again == batch
    assert ledger.missing_chunks(again) == ()
    assert ledger.close_batch(again, STATION, now(5)) == batch
    assert ledger.check() == ()


def test_two_makers_of_one_batch_do_no_harm(ledger):
    """The second copy of a chunk is dropped, whatever it contains."""
    batch = ledger.begin_batch(order(size=2), now())
    assert ledger.add_chunk(batch, 0, b"first", [record("LMP-000001"), record("LMP-000002")]) == ()
    other = [record("LMP-000001", node_id="x"), record("LMP-000002", node_id="y")]
    assert ledger.add_chunk(batch, 0, b"second", other) == ()
    ledger.close_batch(batch, STATION, now())
    (chunk,) = ledger.chunks("lamp-0001")
    assert ledger.wrapped_key(chunk.id) == b"first"
    assert ledger.find("x") == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 11}, "with 10 identities, not 11"),
        ({"product": "fan"}, 'for product "lamp"'),
        ({"policy": {"key": "rsa-2048"}}, "and differs in key"),
    ],
)
def test_a_name_stands_for_one_batch(ledger, change, words):
    """A batch name with a different size, product or policy is refused, and the message names the difference."""
    ledger.begin_batch(order(), now())
    with pytest.raises(InputError, match=words) as caught:
        ledger.begin_batch(order(**change), now())
    assert caught.value.cause == "batch-exists"


def test_names_count_up_and_a_cut_short_one_is_taken_up(ledger):
    """Without a name, an open batch of the same kind is continued; otherwise the batch gets the next name."""
    make(ledger, "lamp-0007", size=1)
    first = ledger.begin_batch(order(None, size=1), now())
    assert first.name == "lamp-0008"
    assert ledger.begin_batch(order(None, size=1), now()) == first
    assert ledger.begin_batch(order(None, size=2), now()).name == "lamp-0009"
    fill(ledger, first)
    ledger.close_batch(first, STATION, now())
    assert ledger.begin_batch(order(None, size=1), now()).name == "lamp-0010"


def test_a_prefix_is_taken_literally(ledger):
    """Wildcards of SQL's LIKE have no special meaning in the prefix of a name."""
    make(ledger, "laXp-0005", size=1)
    assert ledger.begin_batch(order(None, prefix="la_p"), now()).name == "la_p-0001"


def test_serials_count_over_all_batches_of_a_product(ledger):
    """Numbers are assigned when a batch is opened, so that two batches made at the same time share none."""
    one = ledger.begin_batch(order("a", size=10), now())
    two = ledger.begin_batch(order("b", size=5), now())
    other = ledger.begin_batch(order("c", size=5, product="fan", serial_of=lambda n: f"FAN-{n}"), now())
    assert (one.first_n, two.first_n, other.first_n) == (1, 11, 1)


def test_counting_leaves_out_serials_that_were_given(ledger):
    """A counted batch starts after a serial that a values file already used."""
    given = ledger.begin_batch(order("given", size=1, serial_of=None), now())
    assert given.first_n is None
    ledger.add_chunk(given, 0, b"key", [record("LMP-000003")])
    assert ledger.begin_batch(order("counted", size=5), now()).first_n == 4
    assert ledger.begin_batch(order("two", size=2, product="p2"), now()).first_n == 1


def test_the_first_number_that_the_operator_names(ledger):
    """A batch begins with it or not at all: no other open batch is continued, and no taken serial is left out."""
    policy = {"key": "ecdsa-p256", "serials": "LMP-{n:06d}"}
    begun = ledger.begin_batch(order(None, size=2, policy=policy, first_number=50), now())
    other = ledger.begin_batch(order(None, size=2, policy=policy, first_number=80), now())
    assert (begun.first_n, other.first_n) == (50, 80)
    assert ledger.begin_batch(order(None, size=2, policy=policy, first_number=80), now()) == other
    given = ledger.begin_batch(order("given", size=1, serial_of=None), now())
    ledger.add_chunk(given, 0, b"key", [record("LMP-000101")])
    with pytest.raises(SerialsUnsure, match="LMP-000100 may be given already") as caught:
        ledger.begin_batch(order("late", size=3, policy=policy, first_number=100), now())
    assert caught.value.first == 102


def test_a_pattern_that_is_full_begins_nothing(ledger):
    """If the serial pattern cannot number the whole batch, no batch is opened."""

    def serial_of(n):
        if n > 9:
            raise InputError("does not fit")
        return f"L{n}"

    with pytest.raises(InputError, match="does not fit"):
        ledger.begin_batch(order(size=10, serial_of=serial_of), now())
    assert ledger.batches() == ()


def test_pops_and_service_names_are_drawn_again(ledger):
    """Colliding PoPs and service names are returned by index, and nothing of the chunk is written."""
    make(ledger, "old", size=1, chunk_size=1)
    batch = ledger.begin_batch(order("new", size=4), now())
    chunk = [record(f"LMP-{n:06d}") for n in range(2, 6)]
    chunk[1] = record("LMP-000003", pop_tag=record("LMP-000001").pop_tag)
    chunk[3] = record("LMP-000005", service_name=chunk[2].service_name)
    assert ledger.add_chunk(batch, 0, b"key", chunk) == (1, 3)
    assert len(ledger.missing_chunks(batch)) == 1
    chunk[1], chunk[3] = record("LMP-000003"), record("LMP-000005")
    assert ledger.add_chunk(batch, 0, b"key", chunk) == ()


def test_a_service_name_may_come_again_in_another_batch(ledger):
    """A service name (24 bits) is unique only within its batch."""
    make(ledger, "old", size=1, chunk_size=1)
    batch = ledger.begin_batch(order("new", size=1), now())
    again = record("LMP-000002", service_name=record("LMP-000001").service_name)
    assert ledger.add_chunk(batch, 0, b"key", [again]) == ()


@pytest.mark.parametrize("field", ["serial", "node_id", "certificate_serial"])
def test_identifiers_are_given_once(ledger, field):
    """A serial, node id or certificate serial of an earlier batch is refused, and the message names that batch."""
    make(ledger, "old", size=1, chunk_size=1)
    batch = ledger.begin_batch(order("new", size=1), now())
    taken = getattr(record("LMP-000001"), field)
    with pytest.raises(InputError, match=f'"{taken}" is already in batch old') as caught:
        ledger.add_chunk(batch, 0, b"key", [replace(record("LMP-000002"), **{field: taken})])
    assert caught.value.cause == "taken"


def test_identifiers_are_given_once_within_a_chunk(ledger):
    """The same node id twice in one chunk is refused."""
    batch = ledger.begin_batch(order(size=2), now())
    with pytest.raises(InputError, match="twice"):
        ledger.add_chunk(batch, 0, b"key", [record("LMP-000001", node_id="x"), record("LMP-000002", node_id="x")])


def test_random_that_repeats_stops_the_line(ledger):
    """The same 64 random bytes twice are an IntegrityError: the random number generator is broken."""
    make(ledger, "old", size=1, chunk_size=1)
    batch = ledger.begin_batch(order("new", size=1), now())
    again = record("LMP-000002", random_sha256=record("LMP-000001").random_sha256)
    with pytest.raises(IntegrityError) as caught:
        ledger.add_chunk(batch, 0, b"key", [again])
    assert caught.value.cause == "randomness"


def test_a_values_file_is_judged_before_anything_is_made(ledger):
    """find_taken returns every used serial and node id with its batch, for any number of values."""
    make(ledger, "old", size=2)
    asked = (f"LMP-{n:06d}" for n in range(2, 3000))
    assert ledger.find_taken({"serial": asked, "node_id": ["node-LMP-000001", "node-x"]}) == (
        Taken("serial", "LMP-000002", "old"),
        Taken("node_id", "node-LMP-000001", "old"),
    )


def test_another_uniqueness_key_is_refused(ledger):
    """A different uniqueness key is refused: it would hide equal PoPs."""
    ledger.begin_batch(order("a"), now())
    with pytest.raises(InputError) as caught:
        ledger.begin_batch(order("b", unique_key=digest("other")), now())
    assert caught.value.cause == "unique-key"
    assert len(ledger.batches()) == 1


def test_units_that_claim_on_the_device_need_no_node_id(ledger):
    """Any number of identities can be without node id, key and certificate."""
    batch = ledger.begin_batch(order(size=2), now())
    bare = {"node_id": None, "certificate_serial": None, "certificate": None, "sealed_key": None}
    chunk = [record(f"LMP-{n:06d}", **bare) for n in (1, 2)]
    assert ledger.add_chunk(batch, 0, b"key", chunk) == ()
    ledger.close_batch(batch, STATION, now())
    assert [identity.record for identity in ledger.identities(batch.name)] == chunk


def test_a_chunk_has_the_planned_size(ledger):
    """A chunk that would leave a gap is a ValueError."""
    batch = ledger.begin_batch(order(size=3), now())
    with pytest.raises(ValueError, match="needs 3"):
        ledger.add_chunk(batch, 0, b"key", [record("LMP-000001")])


@pytest.mark.parametrize("name", ["", ".x", "a/b", "ä", "x" * 65])
def test_batch_names_become_file_names(name):
    """A batch name that is not a safe file name is refused."""
    with pytest.raises(InputError):
        order(name)


def test_policy_has_one_spelling(ledger):
    """The order of its keys does not change a policy."""
    one = ledger.begin_batch(order(policy={"a": 1, "b": 2}), now())
    assert ledger.begin_batch(order(policy={"b": 2, "a": 1}), now()) == one
    assert json.loads(one.policy) == {"a": 1, "b": 2}


def test_a_batch_of_boards_goes_into_quarantine(ledger):
    """Closed as on boards, a batch never becomes claimable: no blank board gets one of its identities, one that
    carries it does. Its events make the same standings again; closing it twice changes nothing."""
    batch = ledger.begin_batch(order("shipped", 6), now())
    fill(ledger, batch)
    for _ in range(2):
        assert ledger.close_batch(batch, STATION, now(), on_boards=True).closed
    assert {one.state for one in ledger.identities("shipped")} == {State.QUARANTINED}
    assert ledger.free("lamp") == 0
    with pytest.raises(BatchUsedUp):
        claim(ledger, 1)
    carried = Carried("node-LMP-000002")
    back = ledger.claim(mac(2), Wish("lamp"), station=STATION, ts=now(), carried=carried)
    assert (back.identity.serial, back.restored) == ("LMP-000002", True)
    assert ledger.check() == ()
    assert ledger.rebuild() == 0
