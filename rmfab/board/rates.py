"""How fast a slot talks to its boards: it climbs by one rate with each board that passed, and falls on errors. Pure.

A rate is trusted once a whole board was written and read back at it: then every byte was checksummed, both ways.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from rmfab.board.bridges import RATES, SAFE_BAUD, Bridge

_AGAIN_AFTER = 20  # boards without an error, for each error that a rate has had
_GIVEN_UP = 5


@dataclass(frozen=True)
class RateRecord:
    """What a slot has learned: the trusted *rate*, how many boards *passed* since it last changed, errors by rate."""

    rate: int
    passed: int = 0
    errors: dict[int, int] = field(default_factory=dict)


def wanted_rate(bridge: Bridge, record: RateRecord | None) -> int:
    """Return the rate for the next board: the trusted one, or the next above it if that deserves a try."""
    if record is None or record.rate not in bridge.rates:
        return bridge.first
    above = next((rate for rate in bridge.rates if rate > record.rate), None)
    if above is None:
        return record.rate
    errors = record.errors.get(above, 0)
    return above if errors < _GIVEN_UP and record.passed >= _AGAIN_AFTER * errors else record.rate


def after_pass(record: RateRecord | None, rate: int) -> RateRecord:
    """Return the record after a board was written and read back at *rate*."""
    if record is None or rate > record.rate:
        return RateRecord(rate, 0, record.errors if record else {})
    return replace(record, passed=record.passed + 1)


def after_error(bridge: Bridge, record: RateRecord | None, rate: int, *, forever: bool = False) -> RateRecord:
    """Return the record after an error at *rate*; *forever*: the bridge does not have this rate."""
    known = record or RateRecord(bridge.first)
    errors = known.errors | {rate: _GIVEN_UP if forever else min(known.errors.get(rate, 0) + 1, _GIVEN_UP)}
    below = max((one for one in bridge.rates if one < rate), default=rate)
    return RateRecord(min(known.rate, below), 0, errors)


def slower_rates(rate: int, bridge: Bridge | None) -> tuple[int, ...]:
    """Return the rates to fall to from *rate*, the fastest first."""
    rates = RATES if bridge is None else bridge.rates
    return tuple(one for one in reversed(rates) if one < rate)


def rom_rate(rate: int, bridge: Bridge | None) -> int:
    """Return the rate for a ROM loader, which takes the stub, before the stub talks at *rate*."""
    return min(rate, SAFE_BAUD if bridge is None else bridge.first)
