"""Claims: each rule by itself, then all of them against a small model."""

import tempfile
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from rmfab.errors import BatchUsedUp, CloneError, InputError, IntegrityError
from rmfab.ledger.claim_terms import Carried, Wish
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.pool_standing import AdoptionReason
from rmfab.ledger.states import State, allowed
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import STATION, digest, fresh, mac, make, now


@pytest.fixture
def ledger(place):
    with fresh(place) as opened:
        yield opened


def claim(ledger, board, *, carried=None, slot=None, product="lamp", batch=None, serial=None):
    wish = Wish(product, batch, serial)
    return ledger.claim(mac(board), wish, station=STATION, ts=now(), slot=slot, carried=carried)


def move(ledger, serial, *states, **more):
    ledger.record(STATION, [Event(now(), EventKind.STEP, serial=serial, state=state, **more) for state in states])


def carrying(serial):
    return Carried(f"node-{serial}", digest(f"random {serial}"))


def test_the_lowest_free_identity_is_given(ledger):
    """Boards get identities in order of position, one each."""
    assert [claim(ledger, board).identity.serial for board in (7, 5, 9)] == ["LMP-000001", "LMP-000002", "LMP-000003"]


@pytest.mark.parametrize("states", [(), (State.FLASHED,), (State.FLASHED, State.VERIFIED), (State.FAILED,)])
def test_the_same_board_gets_the_same_identity(ledger, states):
    """A board gets the same identity again, however far it came before."""
    first = claim(ledger, 1)
    move(ledger, first.identity.serial, *states)
    again = ledger.claim(mac(1).upper(), Wish("lamp"), station="other", ts=now(5))
    assert (first.again, again.again) == (False, True)
    assert again.identity.record == first.identity.record
    assert (again.identity.state, again.identity.standing.attempts) == (State.CLAIMED, 2)


def test_a_void_identity_is_never_given_again(ledger):
    """A board with a voided identity gets a new one, even while its flash still contains the void one."""
    first = claim(ledger, 1).identity
    ledger.void(mac(1), reason="label lost", station=STATION, ts=now())
    second = claim(ledger, 1, carried=carrying(first.serial)).identity
    assert second.serial != first.serial
    with pytest.raises(InputError, match="void"):
        claim(ledger, 2, serial=first.serial)


def test_a_free_identity_can_be_voided(ledger):
    """A voided identity that no board has is skipped from then on."""
    ledger.void("LMP-000001", reason="leaked", station=STATION, ts=now())
    assert claim(ledger, 1).identity.serial == "LMP-000002"


@pytest.mark.parametrize("node_only", [True, False])
@pytest.mark.parametrize("voided", [True, False])
def test_a_clone_stops_the_line(ledger, voided, node_only):
    """A board with the identity of a different board in its flash, live or void, gets none; nothing is written."""
    first = claim(ledger, 1).identity
    if voided:
        ledger.void(mac(1), reason="scrapped", station=STATION, ts=now())
    carried = Carried(node_id=first.node_id) if node_only else Carried(random_sha256=first.record.random_sha256)
    before = ledger.counts()
    with pytest.raises(CloneError, match=mac(1)):
        claim(ledger, 2, carried=carried)
    assert ledger.counts() == before
    assert ledger.history(mac(2)) == ()


def test_a_clone_is_found_before_its_own_identity_is_given_again(ledger):
    """A board with an identity whose flash contains that of a different board is a clone too."""
    claim(ledger, 1)
    second = claim(ledger, 2).identity
    with pytest.raises(CloneError):
        claim(ledger, 1, carried=carrying(second.serial))


def test_what_a_board_carries_is_trusted_after_a_loss(place, tmp_path):
    """A backup that was adopted binds a board to the identity in its flash, although that is in quarantine."""
    with fresh(place) as ledger:
        ledger.backup(tmp_path / "backup")
        for board in (1, 2, 3):
            last = claim(ledger, board).identity
    with Ledger.open(tmp_path / "backup", create=False) as ledger:
        ledger.adopt(AdoptionReason.LOSS, station=STATION, ts=now())
        bound = claim(ledger, 3, carried=carrying(last.serial), batch="lamp-0001")
        assert (bound.identity.serial, bound.restored, bound.again) == (last.serial, True, False)
        assert claim(ledger, 3).again
        assert ledger.check() == ()


def test_a_board_that_contradicts_the_ledger_is_set_aside(ledger):
    """A board with an identity whose flash contains a different, free one needs the operator's decision."""
    claim(ledger, 1)
    with pytest.raises(IntegrityError) as caught:
        claim(ledger, 1, carried=carrying("LMP-000009"))
    assert caught.value.cause == "carried-conflict"
    with pytest.raises(IntegrityError, match="two identities"):
        claim(ledger, 2, carried=Carried("node-LMP-000008", digest("random LMP-000009")))


def test_what_is_not_of_this_ledger_is_overwritten(ledger):
    """A board with an unknown node id in its flash is treated as a new board, and the claim says what it had. The node
    id of a void identity is not unknown, nor that of one whose `random` this ledger has."""
    claimed = claim(ledger, 1, carried=Carried("foreign", digest("foreign")))
    assert (claimed.identity.serial, claimed.unknown) == ("LMP-000001", "foreign")
    assert claim(ledger, 2, carried=Carried(None, digest("foreign"))).unknown is None
    assert claim(ledger, 1, carried=Carried("foreign")).unknown == "foreign"
    assert claim(ledger, 1, carried=carrying("LMP-000001")).unknown is None
    ledger.void("LMP-000001", reason="broken", station=STATION, ts=now())
    assert claim(ledger, 1, carried=carrying("LMP-000001")).unknown is None
    assert claim(ledger, 3, carried=Carried("foreign", digest("random LMP-000007"))).unknown is None


def test_a_serial_can_be_asked_for(ledger):
    """A requested serial is bound if it is free, and again to the same board; otherwise the error names its holder."""
    assert claim(ledger, 1, serial="LMP-000005").identity.serial == "LMP-000005"
    assert claim(ledger, 1, serial="LMP-000005").again
    for board, serial, cause, words in (
        (2, "LMP-000005", "serial-taken", mac(1)),
        (1, "LMP-000006", "serial-mismatch", "LMP-000005"),
        (2, "LMP-999999", "no-serial", "LMP-999999"),
    ):
        with pytest.raises(InputError, match=words) as caught:
            claim(ledger, board, serial=serial)
        assert caught.value.cause == cause


def test_a_batch_can_be_asked_for(ledger):
    """A new board gets an identity of the requested batch; a board that has one keeps it, and the claim shows it."""
    make(ledger, "second")
    first = claim(ledger, 1)
    assert claim(ledger, 2, batch="second").identity.batch == "second"
    kept = claim(ledger, 1, batch="second")
    assert (kept.identity.serial, kept.other_batch) == (first.identity.serial, True)
    for wish, cause in (
        ({"batch": "third"}, "no-batch"),
        ({"batch": "second", "serial": "LMP-000003"}, "serial-mismatch"),
    ):
        with pytest.raises(InputError) as caught:
            claim(ledger, 3, **wish)
        assert caught.value.cause == cause


def test_batches_are_used_oldest_first_and_then_used_up(ledger):
    """Without a batch, the oldest batch with a free identity is used; after the last one the batch is used up."""
    make(ledger, "second", size=1)
    given = [claim(ledger, board).identity.batch for board in range(11)]
    assert given == ["lamp-0001"] * 10 + ["second"]
    with pytest.raises(BatchUsedUp, match="all batches of lamp"):
        claim(ledger, 99)
    with pytest.raises(BatchUsedUp, match="lamp-0001"):
        claim(ledger, 99, batch="lamp-0001")
    assert ledger.free("lamp") == 0
    assert claim(ledger, 0).again


def test_products_do_not_mix(ledger):
    """Boards and batches of one product cannot be claimed for a different product."""
    claim(ledger, 1)
    with pytest.raises(InputError) as caught:
        claim(ledger, 1, product="fan")
    assert caught.value.cause == "other-product"
    with pytest.raises(InputError) as caught:
        claim(ledger, 2, product="fan", batch="lamp-0001")
    assert caught.value.cause == "other-product"
    with pytest.raises(BatchUsedUp):
        claim(ledger, 2, product="fan")


def test_a_claim_is_an_event(ledger):
    """Each claim, including a repeated one, is in the history of its unit."""
    claim(ledger, 1, slot="1-1.2")
    claim(ledger, 1)
    told = [stored.event for stored in ledger.history("LMP-000001")]
    assert [(event.kind, event.mac, event.slot, event.details["again"]) for event in told] == [
        (EventKind.CLAIM, mac(1), "1-1.2", False),
        (EventKind.CLAIM, mac(1), None, True),
    ]


BOARDS = st.integers(1, 6)
POSITIONS = st.integers(1, 12)


class ClaimRules(RuleBasedStateMachine):
    """The ledger compared with a model of three small dictionaries."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.ledger = Ledger.open(self.place(), create=True)
        make(self.ledger, "a", size=6)
        make(self.ledger, "b", size=6)
        self.holder = {}
        self.void = set()
        self.ever = {}

    def place(self):
        return Path(self.folder.name) / "l"

    def teardown(self):
        self.ledger.close()
        self.folder.cleanup()

    def serial_of(self, board):
        return next((serial for serial, holder in self.holder.items() if holder == board), None)

    def free(self, batch=None):
        names = {"a": range(1, 7), "b": range(7, 13)}
        numbers = names.get(batch, range(1, 13))
        return [s for n in numbers if (s := f"LMP-{n:06d}") not in self.holder and s not in self.void]

    @rule(
        board=BOARDS,
        batch=st.sampled_from([None, "a", "b"]),
        wanted=st.none() | POSITIONS,
        carries=st.none() | POSITIONS,
    )
    def claim(self, board, batch, wanted, carries):
        serial = None if wanted is None else f"LMP-{wanted:06d}"
        carried = None if carries is None else f"LMP-{carries:06d}"
        held = self.serial_of(board)
        free = self.free(batch)
        try:
            claim = self.ledger.claim(
                mac(board),
                Wish("lamp", batch, serial),
                station=STATION,
                ts=now(),
                carried=None if carried is None else carrying(carried),
            )
        except CloneError:
            assert carried is not None
            assert self.ever[carried] != board
            return
        except IntegrityError:
            assert carried in self.free()
            assert held is not None
            return
        except BatchUsedUp:
            assert held is None
            assert not free
            return
        except InputError:
            assert serial is not None
            return
        given = claim.identity.serial
        assert given not in self.void
        assert self.ever.get(given, board) == board
        assert claim.again == (held is not None)
        if held is not None:
            assert given == held
        elif carried in self.free():
            assert (given, claim.restored) == (carried, True)
        elif serial is not None:
            assert given == serial
        else:
            assert given == free[0]
        if serial is not None:
            assert given == serial
        self.holder[given] = board
        self.ever[given] = board

    @rule(board=BOARDS, state=st.sampled_from([State.FLASHED, State.VERIFIED, State.FAILED]))
    def step(self, board, state):
        serial = self.serial_of(board)
        if serial is None:
            return
        standing = self.ledger.find(serial)[0].standing
        outcome = Outcome.FAIL if state is State.FAILED else Outcome.PASS
        event = Event(now(), EventKind.STEP, serial=serial, mac=mac(board), state=state, outcome=outcome)
        if allowed(standing.state, state, flashed=standing.flashed_ts is not None):
            self.ledger.record(STATION, [event])
        else:
            with pytest.raises(InputError):
                self.ledger.record(STATION, [event])

    @rule(position=POSITIONS)
    def throw_away(self, position):
        serial = f"LMP-{position:06d}"
        (gone,) = self.ledger.void(serial, reason="test", station=STATION, ts=now())
        assert gone.state is State.VOID
        self.void.add(serial)
        self.holder.pop(serial, None)

    @invariant()
    def boards_are_as_the_model_says(self):
        live = {i.serial: i.mac for name in ("a", "b") for i in self.ledger.identities(name) if i.standing.live}
        assert live == {serial: mac(board) for serial, board in self.holder.items()}
        assert len(set(live.values())) == len(live)

    @rule()
    def history_and_state_agree(self):
        assert self.ledger.check() == ()
        assert self.ledger.rebuild() == 0


ClaimRules.TestCase.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
TestClaimRules = pytest.mark.slow(ClaimRules.TestCase)


class ServerClaimRules(ClaimRules):
    """The same on a server."""

    databases: ClassVar[list] = []

    def place(self):
        return self.databases[0]()


@pytest.mark.slow
@pytest.mark.peers
def test_claim_rules_on_a_server(databases):
    """The rules are the same on a server."""
    ServerClaimRules.databases = [databases]
    fewer = settings(max_examples=6, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(ServerClaimRules, settings=fewer)
