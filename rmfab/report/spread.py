"""The spread of a measurement: its number, mean, deviation, quantiles and Cpk, in memory that does not grow. Pure.

Mean and deviation are exact (Welford, Technometrics 4, 1962). Quantiles and the histogram come from counts of values
that are rounded to three digits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import ceil, sqrt

LEAST_VALUES = 30
"""A Cpk of fewer values says little: it is shown with their number."""


@dataclass(frozen=True)
class Limits:
    """The limits of a measurement: it fails below *low* or above *high*, and is marginal below *marginal*."""

    low: float | None = None
    high: float | None = None
    marginal: float | None = None


NO_LIMITS = Limits()


@dataclass
class Spread:
    """Values that were added, as their statistics."""

    count: int = 0
    mean: float = 0.0
    low: float = 0.0
    high: float = 0.0
    _squares: float = 0.0
    rounded: Counter[float] = field(default_factory=Counter)
    """How often each value occurred, rounded to three digits."""

    def add(self, value: float) -> None:
        """Add *value*, a finite number."""
        self.low = value if not self.count else min(self.low, value)
        self.high = value if not self.count else max(self.high, value)
        self.count += 1
        distance = value - self.mean
        self.mean += distance / self.count
        self._squares += distance * (value - self.mean)
        self.rounded[float(f"{value:.3g}")] += 1

    @property
    def deviation(self) -> float | None:
        """The standard deviation of the sample; None for fewer than two values."""
        return sqrt(self._squares / (self.count - 1)) if self.count > 1 else None

    def quantile(self, share: float) -> float | None:
        """Return the smallest value, to three digits, that at least *share* (0 to 1) of all are not above."""
        wanted, seen = max(1, ceil(share * self.count)), 0
        for value in sorted(self.rounded):
            seen += self.rounded[value]
            if seen >= wanted:
                return value
        return None

    def cpk(self, limits: Limits) -> float | None:
        """Return the capability: the distance of the mean from the nearer limit, in three deviations.

        None without a limit, or if the values do not differ.
        """
        deviation = self.deviation
        if not deviation:
            return None
        below = [] if limits.low is None else [self.mean - limits.low]
        above = [] if limits.high is None else [limits.high - self.mean]
        return min(below + above, default=0.0) / (3 * deviation) if below or above else None

    def bins(self, most: int = 24) -> list[tuple[float, float, int]]:
        """Return a histogram: start, end and count of at most *most* bins of one width, empty without values."""
        if not self.count:
            return []
        low, high = min(self.rounded), max(self.rounded)
        width = (high - low) / most
        if float(low).is_integer() and all(value.is_integer() for value in self.rounded):
            width = max(1.0, ceil(width))
        elif not width:
            width = abs(low) / 100 or 1.0
        counts: Counter[int] = Counter()
        for value, times in self.rounded.items():
            counts[min(int((value - low) / width), most)] += times
        return [(low + at * width, low + (at + 1) * width, counts[at]) for at in range(max(counts) + 1)]
