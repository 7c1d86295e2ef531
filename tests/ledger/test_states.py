"""States, and the transitions between them."""

import pytest

from rmfab.ledger.states import State, allowed

LIVE = (State.CLAIMED, State.FLASHED, State.VERIFIED, State.FAILED)


@pytest.mark.parametrize("after", State)
def test_nothing_follows_void(after):
    """A void identity stays void."""
    assert not allowed(State.VOID, after)
    assert not allowed(State.VOID, after, flashed=True)


@pytest.mark.parametrize("before", LIVE)
def test_every_live_unit_can_be_claimed_again_and_voided(before):
    """A unit in any live state can be claimed again and voided."""
    assert allowed(before, State.CLAIMED)
    assert allowed(before, State.VOID)
