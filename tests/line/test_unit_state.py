"""The state that a step brings its unit to."""

from __future__ import annotations

import pytest

from rmfab.ledger.events import Outcome
from rmfab.ledger.states import State
from rmfab.line.ending import Ending
from rmfab.line.events import Step
from rmfab.line.job import FLASH_STEPS, RESET_STEPS, RUN_STEPS, VERIFY_STEPS
from rmfab.line.unit_state import wanted_state


@pytest.mark.parametrize(
    ("steps", "step", "outcome", "state"),
    [
        (FLASH_STEPS, Step.READBACK, Outcome.PASS, State.FLASHED),
        (RUN_STEPS, Step.PROVISION, Outcome.PASS, None),
        (RUN_STEPS, Step.RESET, Outcome.PASS, State.VERIFIED),
        (RUN_STEPS, Step.RESET, Outcome.SKIP, State.VERIFIED),
        (VERIFY_STEPS, Step.IDENTIFY, Outcome.PASS, None),
        (VERIFY_STEPS, Step.PROVISION, Outcome.MARGINAL, State.VERIFIED),
        (VERIFY_STEPS, Step.PROVISION, Outcome.FAIL, State.FAILED),
        (VERIFY_STEPS, Step.PROVISION, Outcome.ERROR, None),
        (VERIFY_STEPS, Step.PROVISION, Outcome.ABORTED, None),
        ((*VERIFY_STEPS, Step.CLOUD), Step.PROVISION, Outcome.PASS, None),
        ((*VERIFY_STEPS, Step.CLOUD), Step.CLOUD, Outcome.PASS, State.VERIFIED),
        (RESET_STEPS, Step.RESET, Outcome.PASS, None),
        (RESET_STEPS, Step.RESET, Outcome.FAIL, State.FAILED),
    ],
)
def test_wanted_state(steps, step, outcome, state):
    """A unit is flashed after the readback, verified after the last requested proof, failed after a FAIL."""
    assert wanted_state(steps, step, Ending(outcome)) is state
