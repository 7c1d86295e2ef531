"""Retries within the run of a unit: after which step, from which step on, and whether at a lower rate. Pure.

Which causes are retried is a fact of causes.toml. A retry starts where the board is restarted anyway: at the first step
of the group of the step that failed.

    detect claim flash readback   a second attempt, and a third one at a lower rate unless `detect` failed: the ROM's
                                  own rate is fixed
    reset                         the same
    boot identify provision cloud a second attempt; after what only a restart may help, if product.toml says so

Steps that product.toml names belong to the group of the step before them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rmfab.causes import Cause, Retry
from rmfab.errors import RmfabError
from rmfab.ledger.events import Outcome
from rmfab.line.ending import Ending
from rmfab.line.events import Step

_LOADER = (Step.DETECT, Step.CLAIM, Step.FLASH, Step.READBACK)
_RUN = (Step.BOOT, Step.IDENTIFY, Step.PROVISION, Step.CLOUD)
_GROUPS = (_LOADER, _RUN, (Step.RESET,))
_BY_STUB = (Step.CLAIM, Step.FLASH, Step.READBACK, Step.RESET)
_ORDINALS = {2: "second", 3: "third"}


@dataclass(frozen=True)
class Again:
    """A further attempt, the one with this *number*, from the step at *start* on; *slower*: at a lower rate."""

    start: int
    number: int
    slower: bool = False


def retry_of(cause: str | None) -> Retry | None:
    """Return what a retry may overcome after *cause*; None for one that is not retried, or not of the table."""
    known = next((one for one in Cause if one == cause), None)
    return None if known is None else known.retry


def group_at(steps: Sequence[Step], index: int) -> tuple[Step, ...]:
    """Return the group of the step at *index*; empty if it is not retried."""
    while index and steps[index].own:
        index -= 1
    return next((group for group in _GROUPS if steps[index] in group), ())


def start_of(steps: Sequence[Step], index: int) -> int:
    """Return where the group of the step at *index* starts."""
    group = group_at(steps, index)
    while index and group_at(steps, index - 1) == group:
        index -= 1
    return index


def what_of(failed: Ending) -> str:
    """Return why a step *failed*, without the hint: another attempt follows."""
    reason = failed.reason or ""
    hint = failed.error.hint if isinstance(failed.error, RmfabError) else None
    return reason.removesuffix(f"; {hint}") if hint else reason


class Tries:
    """The attempts at the steps of one unit. *whole*: the product lets a group be retried if a restart may help."""

    def __init__(self, steps: tuple[Step, ...], *, whole: bool) -> None:
        self._steps = steps
        self._whole = whole
        self._made: Counter[int] = Counter()
        self._failed: dict[int, Ending] = {}

    def number(self, index: int) -> int:
        """Return the number of the attempt at the step at *index*, from 1."""
        return 1 + self._made[start_of(self._steps, index)]

    def after(self, index: int, ending: Ending) -> Again | None:
        """Return the attempt that follows the *ending* of the step at *index*; None if it is not retried."""
        kind, group = retry_of(ending.cause), group_at(self._steps, index)
        if kind is None or not group or ending.outcome not in (Outcome.FAIL, Outcome.ERROR):
            return None
        if not kind.always and not (self._whole and group is _RUN):
            return None
        number = self.number(index)
        if number == 1 or (number == 2 and self._steps[index] in _BY_STUB and kind.always):
            return Again(start_of(self._steps, index), number + 1, slower=number == 2)
        return None

    def start(self, again: Again, index: int, ending: Ending) -> None:
        """Note that the attempt *again* follows the *ending* of the step at *index*."""
        self._made[again.start] += 1
        self._failed.setdefault(index, ending)

    def judged(self, index: int, ending: Ending) -> Ending:
        """Return the *ending* of the step at *index* with what its attempts say of it: cured is MARGINAL.

        A passed claim is already in the ledger as it was; the step after it says why it was late.
        """
        number, step = self.number(index), self._steps[index]
        if number > 1:
            ending = replace(ending, measurements={**ending.measurements, "attempt": number})
        if step is Step.CLAIM or ending.outcome not in (Outcome.PASS, Outcome.MARGINAL):
            return ending
        start = start_of(self._steps, index)
        failed = [self._failed.pop(at) for at in sorted(self._failed) if start <= at <= index]
        return cured(ending, failed[-1], number) if failed else ending


def cured(ending: Ending, failed: Ending, number: int) -> Ending:
    """Return *ending*, of a step that passed at the attempt *number*, as MARGINAL because an earlier one *failed*."""
    why = f"passed at the {_ORDINALS.get(number, 'last')} attempt; before: {what_of(failed)}"
    if ending.outcome is Outcome.MARGINAL:
        return replace(ending, reason=f"{ending.reason}; {why}")
    return replace(ending, outcome=Outcome.MARGINAL, cause=failed.cause, reason=why)
