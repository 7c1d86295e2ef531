"""The state in the ledger that a step brings its unit to. Pure."""

from __future__ import annotations

from rmfab.ledger.events import Outcome
from rmfab.ledger.states import State
from rmfab.line.ending import Ending
from rmfab.line.events import Step

_PROOFS = (Step.IDENTIFY, Step.PROVISION, Step.CLOUD, Step.RESET, Step.RECHECK)


def wanted_state(steps: tuple[Step, ...], step: Step, ending: Ending) -> State | None:
    """Return the state of a unit after *step* of *steps* ended this way, or None if it does not change."""
    if ending.outcome is Outcome.FAIL:
        return State.FAILED
    return _reached_by(steps, step) if ending.good else None


def _reached_by(steps: tuple[Step, ...], step: Step) -> State | None:
    """Return the state of a unit that passed *step*: verified by the last of the requested proofs.

    A unit that keeps a release which the line did not flash is not verified: those were proofs of the one before. A
    factory reset after the proofs is one of them: a unit that is not reset is not finished. So are a product's own
    steps.
    """
    if step is Step.READBACK:
        return State.FLASHED
    if Step.IDENTIFY not in steps or (Step.UPDATE in steps and Step.BACK not in steps):
        return None
    proofs = [one for one in steps if one in _PROOFS or one.own]
    return State.VERIFIED if step is proofs[-1] else None
