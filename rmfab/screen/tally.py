"""The numbers of this run: units by verdict, first-pass yield, causes, slots. `rmfab.report.yields` defines yield."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from rmfab.ledger.events import Outcome
from rmfab.line.events import UnitEnded
from rmfab.report.yields import DECIDED, PASSED, Ratio

HOUR = 3600.0
LAST = 50


def percent(ratio: Ratio) -> str:
    """Return a yield such as `91.3 %`; `-` without a unit."""
    return "-" if ratio.value is None else f"{100 * ratio.value:.1f} %"


@dataclass(frozen=True)
class CauseCount:
    """How many units failed because of *cause*, and the *share* of them and of the more frequent causes, 0 to 1."""

    cause: str
    units: int
    share: float


@dataclass(frozen=True)
class SlotCount:
    """The verdicts of one *slot*, by outcome, with its first-pass yield."""

    slot: str
    verdicts: Counter[Outcome]
    first_pass: Ratio


@dataclass(frozen=True)
class _First:
    at: float
    slot: str
    good: bool
    cause: str | None


class RunTally:
    """The numbers of this run. The times given to it are those of one monotonic clock, in seconds."""

    def __init__(self, slots: Iterable[str]) -> None:
        self._last: dict[str, Outcome] = {}
        self._first: dict[str, _First] = {}
        self._slots: dict[str, Counter[Outcome]] = {slot: Counter() for slot in slots}
        self.recent: deque[UnitEnded] = deque(maxlen=LAST)

    def count(self, ended: UnitEnded, now: float) -> None:
        """Add one verdict."""
        unit = ended.serial or ended.mac or f"{ended.slot} {ended.ts}"
        self._last[unit] = ended.outcome
        self._slots.setdefault(ended.slot, Counter())[ended.outcome] += 1
        self.recent.appendleft(ended)
        if ended.outcome in DECIDED and unit not in self._first:
            good = ended.outcome in PASSED
            self._first[unit] = _First(now, ended.slot, good, ended.cause)

    @property
    def units(self) -> int:
        """How many units had a verdict."""
        return len(self._last)

    def verdicts(self) -> Counter[Outcome]:
        """Return how many units have each outcome as their last one."""
        return Counter(self._last.values())

    def first_pass(self, since: float | None = None) -> Ratio:
        """Return the first-pass yield of all units, or of those whose first run ended at *since* or later."""
        return _yield(one for one in self._first.values() if since is None or one.at >= since)

    def causes(self) -> tuple[CauseCount, ...]:
        """Return the causes of units that failed at their first run, the most frequent first."""
        counts = Counter(one.cause or "" for one in self._first.values() if not one.good)
        total, seen, rows = counts.total(), 0, []
        for cause, units in counts.most_common():
            seen += units
            rows.append(CauseCount(cause, units, seen / total))
        return tuple(rows)

    def slots(self) -> tuple[SlotCount, ...]:
        """Return the verdicts of each slot, in the station's order."""
        return tuple(
            SlotCount(slot, counts, _yield(one for one in self._first.values() if one.slot == slot))
            for slot, counts in self._slots.items()
        )


def _yield(firsts: Iterable[_First]) -> Ratio:
    good = [one.good for one in firsts]
    return Ratio(sum(good), len(good))
