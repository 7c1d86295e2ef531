"""The judge of a slot: whether what happened to its last boards is the slot's fault. Pure.

    row     as many boards in a row as the cause takes (three, unless causes.toml has a number) ended with one cause
    yield   fewer boards passed at first than on the other slots together, and not by chance

Only boards that are known by their MAC count, each once: a board that fails three times is a bad board, not a bad slot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rmfab.causes import Cause
from rmfab.ledger.events import Outcome
from rmfab.line.retries import retry_of

ROW = 3
KEPT_BOARDS = 100
"""How many boards of a slot are looked at: a slot that was bad last week may be good."""
_LOOK_BACK = 5
_LEAST_OTHERS = 20
_PASSED = (Outcome.PASS, Outcome.MARGINAL)

Worse = Callable[[tuple[int, int], tuple[int, int]], bool]
"""Whether a yield, as passed and whole, is worse than that of the others, and not by chance: what yield is, is defined
in `rmfab.report.yields`."""


@dataclass(frozen=True)
class SeenBoard:
    """A *board* on a slot: its *outcome* and *cause* the last time, and the *first* verdict of its first run anywhere,
    None if that was on a different slot."""

    board: str
    outcome: Outcome
    cause: str | None = None
    first: Outcome | None = None


Recent = tuple[SeenBoard, ...]
"""The boards of a slot, each once, in the order of their last runs."""


def with_board(recent: Recent, seen: SeenBoard, *, elsewhere: bool = False, decides: bool = True) -> Recent:
    """Return *recent* after *seen*. *elsewhere*: the board had its first run on a different slot. *decides*: a run that
    passed proved the unit; one that only flashed it is no first pass."""
    before = next((one for one in recent if one.board == seen.board), None)
    first = before.first if before is not None else None
    if first is None and not elsewhere and (seen.outcome is Outcome.FAIL or (decides and seen.outcome in _PASSED)):
        first = seen.outcome
    others = tuple(one for one in recent if one.board != seen.board)
    return (*others, SeenBoard(seen.board, seen.outcome, seen.cause, first))[-KEPT_BOARDS:]


def is_slots_fault(recent: Recent, board: str, cause: str | None) -> bool:
    """Return whether *cause* on *board* is the fault of its slot, whose boards before are *recent*: it has a number of
    boards in causes.toml, and so many of the last ones ended with it."""
    known = _known(cause)
    if known is None or known.slot_boards is None:
        return False
    last = [one for one in recent if one.board != board][1 - _LOOK_BACK :]
    return sum(one.cause == cause for one in last) + 1 >= known.slot_boards


def reason_to_lock(slot: str, recents: Mapping[str, Recent], worse: Worse) -> str | None:
    """Return why *slot* has to be locked, None if it need not be. *recents* has the boards of all slots by name."""
    return _row(slot, recents) or _low_yield(slot, recents, worse)


def _row(slot: str, recents: Mapping[str, Recent]) -> str | None:
    recent = recents[slot]
    last = recent[-1] if recent else None
    limit = None if last is None else _limit(last)
    if last is None or limit is None or len(recent) < limit:
        return None
    if any((one.outcome, one.cause) != (last.outcome, last.cause) for one in recent[-limit:]):
        return None
    elsewhere = [name for name, boards in recents.items() if name != slot and boards and boards[-1].cause == last.cause]
    guess = f"as on {', '.join(sorted(elsewhere))}: parts or release?" if elsewhere else "a worn pin?"
    if limit == 1:
        return _meaning(last.cause)
    return f"{limit} boards in a row ended with {last.outcome} ({last.cause}): {guess}"


def _limit(last: SeenBoard) -> int | None:
    """Return how many boards in a row that end like *last* lock the slot; None if none do."""
    known = _known(last.cause)
    if known is not None and known.slot_boards is not None:
        return known.slot_boards
    if last.outcome is Outcome.FAIL:
        return ROW
    kind = retry_of(last.cause)
    return ROW if last.outcome is Outcome.ERROR and kind is not None and kind.always else None


def _low_yield(slot: str, recents: Mapping[str, Recent], worse: Worse) -> str | None:
    own = _yield(recents[slot])
    rest = [_yield(boards) for name, boards in recents.items() if name != slot]
    others = (sum(passed for passed, _ in rest), sum(whole for _, whole in rest))
    if others[1] < _LEAST_OTHERS or not worse(own, others):
        return None
    theirs = f"{100 * others[0] / others[1]:.0f} % on the others"
    return f"{own[0]} of {own[1]} boards passed at first, {theirs}: a worn pin?"


def _yield(recent: Sequence[SeenBoard]) -> tuple[int, int]:
    firsts = [one.first for one in recent if one.first is not None]
    return sum(first in _PASSED for first in firsts), len(firsts)


def _known(cause: str | None) -> Cause | None:
    return next((one for one in Cause if one == cause), None)


def _meaning(cause: str | None) -> str:
    known = _known(cause)
    return "" if known is None else known.clause
