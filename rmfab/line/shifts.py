"""The shifts of a station, in its local time: a value of station.toml, and arithmetic that survives daylight saving.

A shift that contains the change to summer time is an hour shorter, one that contains the change back an hour longer. A
boundary that the clock skips is the moment of the change; one that it shows twice is the first of the two.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from functools import lru_cache

from rmfab.product.toml_reader import Table

_TIME = re.compile(r"(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])")
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


def time_of_day(text: str) -> time | None:
    """Return the time in *text*, `HH:MM`; None if it is not one."""
    found = _TIME.fullmatch(text)
    return None if found is None else time(int(found["hour"]), int(found["minute"]))


@dataclass(frozen=True)
class LocalTime:
    """The local time of *zone*, None for that of this host."""

    zone: tzinfo | None = None

    def of(self, moment: datetime) -> datetime:
        """Return *moment* in local time."""
        return moment.astimezone(self.zone)

    def instant(self, local: datetime) -> datetime:
        """Return the moment, in UTC, at which a clock on the wall first shows *local*, a time without a zone.

        If the clock skips it, return the moment of the change.
        """
        earlier = self._read(local)
        if self._shown(earlier) == local:
            return earlier
        before, after = sorted((earlier, self._read(local.replace(fold=1))))
        while after - before > _SECOND:
            middle = before + (after - before) / 2
            before, after = (middle, after) if self._shown(middle) < local else (before, middle)
        return after.replace(microsecond=0)

    def _read(self, local: datetime) -> datetime:
        aware = local if self.zone is None else local.replace(tzinfo=self.zone)
        return aware.astimezone(UTC)

    def _shown(self, moment: datetime) -> datetime:
        return self.of(moment).replace(tzinfo=None, fold=0)


HOST_TIME = LocalTime()


@dataclass(frozen=True)
class Shift:
    """A shift from *start* until before *end*, both in UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True)
class Shifts:
    """The shifts that start at the times *starts* of every day, in *local* time; one per day if there are none."""

    starts: tuple[time, ...] = ()
    local: LocalTime = HOST_TIME

    def at(self, moment: datetime) -> Shift:
        """Return the shift in which *moment* is."""
        day = self.local.of(moment).replace(tzinfo=None, hour=0, minute=0, second=0, microsecond=0, fold=0)
        boundaries = _boundaries(self, day)
        place = bisect_right(boundaries, moment)
        return Shift(boundaries[place - 1], boundaries[place])

    def before(self, shift: Shift) -> Shift:
        """Return the shift before *shift*."""
        return self.at(shift.start - timedelta(microseconds=1))

    def day(self, moment: datetime) -> Shift:
        """Return the local day of *moment*."""
        return Shifts((), self.local).at(moment)


PER_DAY = Shifts()
"""One shift per day, in the local time of this host."""


@lru_cache(maxsize=4096)
def _boundaries(shifts: Shifts, day: datetime) -> list[datetime]:
    """Return the moments at which a shift starts around the local *day*, in order."""
    starts = shifts.starts or (time(0),)
    days = (day + offset * _DAY for offset in (-2, -1, 0, 1, 2))
    return sorted({shifts.local.instant(datetime.combine(one, start)) for one in days for start in starts})


def shifts_in(table: Table) -> Shifts:
    """Return the shifts in the table `[station]` of station.toml; complain in it about what is not valid."""
    texts = table.strings("shifts")
    starts = [start for text in texts if (start := time_of_day(text)) is not None]
    for text in texts:
        if time_of_day(text) is None:
            table.complain("shifts", f'"{text}" is not a time of day', 'write hours and minutes, such as "06:00"')
    if len(set(starts)) < len(starts):
        table.complain("shifts", "two shifts start at the same time")
    return Shifts(tuple(sorted(starts)), _local(table))


def _local(table: Table) -> LocalTime:
    zone = table.text("timezone", "")
    if not zone:
        return HOST_TIME
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return LocalTime(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        table.complain("timezone", f'"{zone}" is not a time zone', 'write its IANA name, such as "Asia/Shanghai"')
        return HOST_TIME
