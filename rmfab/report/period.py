"""Periods: what --since, --until and --shift mean, in the local time of the station. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rmfab.errors import InputError, UsageError
from rmfab.ledger.events import timestamp
from rmfab.line.shifts import Shift, Shifts, time_of_day

_AGO = re.compile(r"(?P<number>[0-9]{1,4})(?P<unit>[mhd])")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_DATE = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<time>[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?))?"
    r"(?P<zone>Z|[+-][0-9]{2}:?[0-9]{2})?"
)
_WAYS = "write 2026-11-28, 2026-11-28T14:00, 14:00, today, yesterday, or 90m, 8h, 3d for a time ago"


@dataclass(frozen=True)
class Period:
    """From *since* until before *until*, ledger times; None has no limit. *shift*: it is one shift of the station."""

    since: str | None = None
    until: str | None = None
    shift: bool = False

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise UsageError("--until must be later than --since")

    def contains(self, ts: str) -> bool:
        """Return whether the ledger time *ts* is in it."""
        return (self.since is None or self.since <= ts) and (self.until is None or ts < self.until)


ALWAYS = Period()


@dataclass(frozen=True)
class Recently:
    """Since when the last *hour*, the *shift* and the *day* of a station count: ledger times."""

    hour: str
    shift: str
    day: str

    @property
    def longest(self) -> str:
        """The earliest of them."""
        return min(self.hour, self.shift, self.day)


def recently(now: datetime, shifts: Shifts) -> Recently:
    """Return since when the last hour, the shift and the day count at *now*."""
    starts = (now - timedelta(hours=1), shifts.at(now).start, shifts.day(now).start)
    return Recently(*map(timestamp, starts))


def moment(text: str, now: datetime, shifts: Shifts) -> datetime:
    """Return the time that *text* means at *now*, in UTC. Raise InputError.

    A time of day is the last one that has passed; a day is its first moment.
    """
    word = text.strip()
    if word in ("today", "yesterday"):
        today = shifts.day(now)
        return today.start if word == "today" else Shifts((), shifts.local).before(today).start
    if (ago := _AGO.fullmatch(word)) is not None:
        return now - int(ago["number"]) * _UNITS[ago["unit"]]
    if (time := time_of_day(word)) is not None:
        return Shifts((time,), shifts.local).at(now).start
    return _dated(word, shifts)


def _dated(word: str, shifts: Shifts) -> datetime:
    found = _DATE.fullmatch(word)
    if found is None or (found["zone"] and not found["time"]):
        raise InputError(f'"{word}" is not a time', hint=_WAYS)
    try:
        if found["zone"]:
            return datetime.fromisoformat(word).astimezone(UTC)
        return shifts.local.instant(datetime.fromisoformat(f"{found['day']}T{found['time'] or '00:00'}"))
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(f'"{word}" is not a time: {error}', hint=_WAYS) from error


def shift_named(text: str, now: datetime, shifts: Shifts) -> Shift:
    """Return the shift that *text* means at *now*: `current`, `last`, or the one that starts at a time.

    Raise InputError if no shift starts then.
    """
    current = shifts.at(now)
    word = text.strip()
    if word == "current":
        return current
    if word == "last":
        return shifts.before(current)
    known = ", ".join(f"{time:%H:%M}" for time in shifts.starts) or "00:00, as station.toml has no shifts"
    hint = f"shifts start at {known}; or write current, or last"
    try:
        start = moment(word, now, shifts)
    except InputError as error:
        raise InputError(error.what, hint=hint) from error
    shift = shifts.at(start)
    if shift.start != start or start > now:
        raise InputError(f'no shift starts at "{word}"', hint=hint)
    return shift


def period(since: str | None, until: str | None, shift: str | None, now: datetime, shifts: Shifts) -> Period:
    """Return the period of the options. Raise UsageError if they contradict each other, InputError for a bad time."""
    if shift is not None:
        if since is not None or until is not None:
            raise UsageError("--shift is a period of its own: leave out --since and --until")
        chosen = shift_named(shift, now, shifts)
        return Period(timestamp(chosen.start), timestamp(chosen.end), shift=True)
    start, end = (None if text is None else timestamp(moment(text, now, shifts)) for text in (since, until))
    return Period(start, end)
