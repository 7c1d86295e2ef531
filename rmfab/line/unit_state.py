"""Which state of the ledger a step brings its unit to. Pure."""

from __future__ import annotations

from rmfab.ledger.events import Outcome
from rmfab.ledger.states import State
from rmfab.line.ending import Ending
from rmfab.line.events import Step


def wanted_state(steps: tuple[Step, ...], step: Step, ending: Ending) -> State | None:
    """The state that a unit ought to have after *step* of *steps* ended so, None where it keeps its own."""
    if ending.outcome is Outcome.FAIL:
        return State.FAILED
    return _reached_by(steps, step) if ending.good else None


def _reached_by(steps: tuple[Step, ...], step: Step) -> State | None:
    """The state of a unit that has come through *step*: verified by the last of the proofs that are asked for.

    A factory reset after the proofs is one of them: a unit that did not leave clean is not done.
    """
    if step is Step.READBACK:
        return State.FLASHED
    if Step.IDENTIFY not in steps:
        return None
    proofs = [one for one in steps if one in (Step.IDENTIFY, Step.PROVISION, Step.RESET)]
    return State.VERIFIED if step is proofs[-1] else None
