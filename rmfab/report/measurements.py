"""The measurements in the details of a step: numbers with a unit, and the limits they were judged by. Pure.

A number in the details is a measurement if it has limits beside it (`rssi`, and `rssi_limits` with the limits of FAIL
and MARGINAL), if its name is known here, or if it is an object with a `value`, and perhaps `low`, `high` and `unit`.
The other numbers are book-keeping, such as bytes written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any, NamedTuple

from rmfab.errors import one_line
from rmfab.report.spread import Limits

_UNITS = {
    "rssi": "dBm",
    "ble_rssi": "dBm",
    "handshake": "s",
    "join": "s",
    "config": "s",
    "connected": "s",
    "fetch": "s",
}
_LONGEST = 40
_SUFFIX = "_limits"
_SIGN = re.compile(rf'"(?:{"|".join(_UNITS)}|value)":|{_SUFFIX}":')


class Measured(NamedTuple):
    """A value, in *unit* if that is known."""

    name: str
    value: float
    unit: str
    limits: Limits


def may_measure(details: str) -> bool:
    """Return whether *details*, as JSON, may contain a measurement: most steps have none, and need not be parsed."""
    return _SIGN.search(details) is not None


def measurements_in(details: Mapping[str, Any]) -> Iterator[Measured]:
    """Yield the measurements in *details*; what is no finite number is none."""
    for name, found in details.items():
        if isinstance(found, dict):
            value, limits = found.get("value"), Limits(_number(found.get("low")), _number(found.get("high")))
            unit = found.get("unit") if isinstance(found.get("unit"), str) else ""
        elif name in _UNITS or name + _SUFFIX in details:
            value, limits, unit = found, _lower(details.get(name + _SUFFIX)), _UNITS.get(name, "")
        else:
            continue
        if (number := _number(value)) is not None:
            yield Measured(one_line(name, _LONGEST), number, one_line(unit or "", _LONGEST), limits)


def _lower(limits: object) -> Limits:
    """Return the limits in a list: a value fails below the first, and is marginal below the second."""
    values = [_number(one) for one in limits] if isinstance(limits, list) else []
    low, marginal, *_ = [*values, None, None]
    return Limits(low=low, marginal=marginal)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    number = float(value) if abs(value) < 1e300 else float("inf")
    return number if isfinite(number) else None
