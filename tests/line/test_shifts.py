"""Shifts in local time, also on the days on which the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError, UsageError
from rmfab.line.shifts import LocalTime, Shifts
from rmfab.line.station import load_station
from rmfab.report.period import Period, moment, period, shift_named

BERLIN = LocalTime(ZoneInfo("Europe/Berlin"))
THREE = Shifts((time(6), time(14), time(22)), BERLIN)


def wall(*fields: int) -> datetime:
    """Return what a clock on the wall shows: a time without a zone."""
    return datetime(*fields)  # type: ignore[arg-type]  # noqa: DTZ001


def utc(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("at", "start", "end"),
    [
        ("2026-01-15T04:59", "2026-01-14T21:00", "2026-01-15T05:00"),  # 05:59 is the end of the night
        ("2026-01-15T05:00", "2026-01-15T05:00", "2026-01-15T13:00"),
        ("2026-07-15T12:00", "2026-07-15T12:00", "2026-07-15T20:00"),  # 14:00 in summer
        ("2026-03-29T00:30", "2026-03-28T21:00", "2026-03-29T04:00"),  # the clocks go forward: 7 hours
        ("2026-10-25T01:30", "2026-10-24T20:00", "2026-10-25T05:00"),  # the clocks go back: 9 hours
    ],
)
def test_the_shift_of_a_moment(at: str, start: str, end: str) -> None:
    """A shift is from one time on the wall to the next; the night of the change is an hour shorter or longer."""
    shift = THREE.at(utc(at))
    assert (shift.start, shift.end) == (utc(start), utc(end))
    assert THREE.before(shift).end == shift.start


def test_a_boundary_that_the_clock_skips_or_shows_twice() -> None:
    """02:30 does not exist when the clocks go forward: it is the moment of the change. Twice, it is the first one."""
    assert BERLIN.instant(wall(2026, 3, 29, 2, 30)) == utc("2026-03-29T01:00")
    assert BERLIN.instant(wall(2026, 10, 25, 2, 30)) == utc("2026-10-25T00:30")
    night = Shifts((time(2, 30), time(3)), BERLIN)
    shift = night.at(utc("2026-03-29T01:00"))
    assert (shift.start, shift.end) == (utc("2026-03-29T01:00"), utc("2026-03-30T00:30"))


@given(
    st.datetimes(wall(2020, 1, 1), wall(2030, 1, 1)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Asia/Shanghai"]),
    st.sets(st.times(), max_size=4),
)
def test_shifts_leave_no_gap(at: datetime, zone: str, starts: set[time]) -> None:
    """Every moment is in exactly one shift of at most 26 hours, and the one before ends where it starts."""
    whole = {start.replace(second=0, microsecond=0) for start in starts}
    shifts = Shifts(tuple(sorted(whole)), LocalTime(ZoneInfo(zone)))
    now = at.replace(tzinfo=UTC)
    shift = shifts.at(now)
    assert shift.start <= now < shift.end
    assert shift.end - shift.start <= timedelta(hours=26)
    assert shifts.before(shift).end == shift.start
    assert shifts.at(shift.end).start == shift.end


NOW = utc("2026-11-28T15:30")  # 16:30 in Berlin, in the shift from 14:00


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("14:00", "2026-11-28T13:00"),
        ("17:00", "2026-11-27T16:00"),
        ("today", "2026-11-27T23:00"),
        ("yesterday", "2026-11-26T23:00"),
        ("8h", "2026-11-28T07:30"),
        ("3d", "2026-11-25T15:30"),
        ("2026-11-01", "2026-10-31T23:00"),
        ("2026-07-01 06:00", "2026-07-01T04:00"),
        ("2026-11-01T06:00Z", "2026-11-01T06:00"),
        ("2026-11-01T06:00+08:00", "2026-10-31T22:00"),
    ],
)
def test_a_time_in_words(text: str, meant: str) -> None:
    """A time of day is the last one that has passed; a day is its first moment in local time."""
    assert moment(text, NOW, THREE) == utc(meant)


@pytest.mark.parametrize("text", ["", "14:77", "2026-13-01", "2026-02-30", "9", "next week", "2026-11-01Z", "٣d"])
def test_no_time(text: str) -> None:
    """Anything else is refused with the ways to write a time."""
    with pytest.raises(InputError) as caught:
        moment(text, NOW, THREE)
    assert "14:00" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "start"),
    [("current", "2026-11-28T13:00"), ("last", "2026-11-28T05:00"), ("22:00", "2026-11-27T21:00"),
     ("2026-11-01T06:00", "2026-11-01T05:00")],
)  # fmt: skip
def test_a_shift_by_name(text: str, start: str) -> None:
    """A shift is the current one, the last one, or the one that starts at a time."""
    assert shift_named(text, NOW, THREE).start == utc(start)


@pytest.mark.parametrize("text", ["15:00", "2026-11-29T06:00", "early"])
def test_no_shift_starts_then(text: str) -> None:
    """A time at which no shift starts, or in the future, is refused; the hint has all that --shift accepts."""
    with pytest.raises(InputError) as refused:
        shift_named(text, NOW, THREE)
    assert refused.value.hint == "shifts start at 06:00, 14:00, 22:00; or write current, or last"


def test_a_period_is_a_shift_or_two_times() -> None:
    """--shift excludes --since and --until, and a period must not end before it begins."""
    assert period(None, None, "last", NOW, THREE) == Period(
        "2026-11-28T05:00:00.000Z", "2026-11-28T13:00:00.000Z", shift=True
    )
    with pytest.raises(UsageError, match="--shift"):
        period("today", None, "last", NOW, THREE)
    with pytest.raises(UsageError, match="later"):
        period("today", "yesterday", None, NOW, THREE)


def test_shifts_of_a_station(tmp_path: Path) -> None:
    """station.toml has the starts of shifts, and the time zone if it is not the host's."""
    path = tmp_path / "station.toml"
    path.write_text('[station]\nshifts = ["22:00", "06:00", "14:00"]\ntimezone = "Europe/Berlin"\n')
    assert load_station(path).shifts == THREE


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('shifts = ["6:00"]', "is not a time of day"),
        ('shifts = ["24:00"]', "is not a time of day"),
        ('shifts = ["06:00", "06:00"]', "two shifts start at the same time"),
        ('timezone = "Berlin"', "is not a time zone"),
        ('timezone = "../etc/passwd"', "is not a time zone"),
    ],
)
def test_bad_shifts_of_a_station(tmp_path: Path, line: str, complaint: str) -> None:
    """A bad time or zone is named with its key."""
    path = tmp_path / "station.toml"
    path.write_text(f"[station]\n{line}\n")
    with pytest.raises(InputError, match=complaint):
        load_station(path)
