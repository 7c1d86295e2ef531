"""States of a unit, and the transitions between them.

    generated ─► claimed ─► flashed ─► verified
                    ▲  └───────┴──────────┴──► failed      any of them ──► void, permanently
                    └── every live state, when the same board is claimed again
    generated ─► quarantined ─► claimed, only by a board whose flash carries it: a board may have it that this ledger
                 does not know, because a ledger was lost, or the batch was imported with its boards
    generated ─► handed-over: it left this pool, for a factory or back to the owner; so does one in quarantine, if the
                 ledger that was lost had handed it over

What a handed-over identity becomes is decided where it is; its owner learns it by a merge (`rmfab.ledger.merge`), which
sets the state without a transition.

A unit that failed after it was flashed can be verified again without a new claim; one that failed before cannot.
Before a verified unit is told to install a different release over the air, it becomes flashed: what was verified is the
release before.
"""

from __future__ import annotations

from enum import StrEnum, unique


@unique
class State(StrEnum):
    """The binding of an identity to a board."""

    GENERATED = "generated"
    CLAIMED = "claimed"
    FLASHED = "flashed"
    VERIFIED = "verified"
    FAILED = "failed"
    VOID = "void"
    QUARANTINED = "quarantined"
    HANDED_OVER = "handed-over"

    @property
    def bound(self) -> bool:
        """Whether an identity in this state belongs to a board."""
        return self not in (State.GENERATED, State.QUARANTINED, State.HANDED_OVER, State.VOID)

    @property
    def ours(self) -> bool:
        """Whether the unit is this ledger's: not void, not in quarantine, not handed over."""
        return self not in (State.VOID, State.QUARANTINED, State.HANDED_OVER)


_FOLLOWS = {
    State.GENERATED: frozenset({State.CLAIMED, State.VOID, State.QUARANTINED, State.HANDED_OVER}),
    State.QUARANTINED: frozenset({State.CLAIMED, State.VOID, State.HANDED_OVER}),
    State.HANDED_OVER: frozenset({State.VOID}),
    State.CLAIMED: frozenset({State.CLAIMED, State.FLASHED, State.FAILED, State.VOID}),
    State.FLASHED: frozenset({State.CLAIMED, State.FLASHED, State.VERIFIED, State.FAILED, State.VOID}),
    State.VERIFIED: frozenset({State.CLAIMED, State.VERIFIED, State.FAILED, State.VOID}),
    State.FAILED: frozenset({State.CLAIMED, State.FAILED, State.VOID}),
    State.VOID: frozenset[State](),
}


def allowed(before: State, after: State, *, flashed: bool = False, updated: bool = False) -> bool:
    """Return whether *after* may follow *before*; *flashed*: the unit was flashed and read back since its last claim;
    *updated*: it is told to install a different release.

    A failed unit recovers through a claim or, if it was flashed, through a new verification.
    """
    recovers = flashed and (before, after) == (State.FAILED, State.VERIFIED)
    unproven = updated and (before, after) == (State.VERIFIED, State.FLASHED)
    return recovers or unproven or after in _FOLLOWS[before]
