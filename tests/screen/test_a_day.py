"""A day at the screen at 80x24: 24 units on eight slots with planted faults, in both languages, and its report."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from rmfab.errors import UnitsFailed
from rmfab.ledger.events import Outcome
from rmfab.report.unit_tally import percent
from rmfab.screen.tile import Look
from tests.line.floor import found, serve, spec
from tests.report.agreement import Written, all_agree, written
from tests.screen.stage import scanned, shown, until
from tests.screen.test_on_boards import Shift

pytestmark = pytest.mark.slow

PASS, FAIL, ERROR = Outcome.PASS, Outcome.FAIL, Outcome.ERROR
FAULTS = {2: "vanish", 3: "brownout", 4: "panic", 5: "vanish", 6: "no-sync", 7: "vanish-and-swap", 8: "wrong-key"}
"""By the number of the slot: what its first board has."""
_FIELDS = ("ver", "name", "pop", "transport")


class Day(Shift):
    """A shift whose steps can be waited for."""

    async def verdicts(self, pilot: Pilot[None], slot: str, *expected: Outcome) -> None:
        """Wait until the verdicts on *slot*, with those of aborted runs left out, are *expected*."""

        def so_far() -> list[Outcome]:
            return [one.outcome for one in self.run.ended if one.slot == slot]

        await until(pilot, lambda: so_far() == list(expected) and self.look(slot) is not Look.WORKING)

    async def label_scanned(self, pilot: Pilot[None], slot: str) -> None:
        """Scan the label of the unit on *slot*."""
        names: dict[str, str] = self.app.desk.hands._names  # type: ignore[attr-defined]
        serial = self.serial(slot)
        await until(pilot, lambda: serial in names.values())
        name = next(name for name, known in names.items() if known == serial)
        for letter in f'{{"ver":"v1","name":"{name}","pop":"abcdef01","transport":"ble"}}':
            self.app.desk.scan.type(letter, 0.0)
        await pilot.press("enter")


async def _first_round(day: Day, pilot: Pilot[None]) -> None:
    """One board is cured by a retry, two are swapped, and four are bad."""
    messages = day.app.desk.wall.messages
    await until(pilot, lambda: any(one.slot == "A5" and "trying it again" in one.text for one in messages))
    await day.hand("A5", "return")
    await day.verdicts(pilot, "A5", PASS)
    assert day.look("A5") is Look.MARGINAL, "it passed at the second attempt"
    await day.verdicts(pilot, "A3", FAIL)
    await day.label_scanned(pilot, "A3")
    assert day.app.desk.wall.tiles["A3"].acknowledged
    await day.verdicts(pilot, "A4", FAIL)
    assert day.look("A6") is Look.EMPTY, "a board that does not answer looks like none"
    await day.hand("A6", "swap")
    await day.verdicts(pilot, "A6", PASS)
    await day.verdicts(pilot, "A7", ERROR, PASS)
    await day.verdicts(pilot, "A8", FAIL)
    await day.hand("A8", "fault none")
    await scanned(pilot, "RETRY A8")
    await day.verdicts(pilot, "A8", FAIL, PASS)


async def _bad_slot(day: Day, pilot: Pilot[None]) -> None:
    """Three boards with one fault in a row lock a slot, here in Chinese; a supervisor unlocks it."""
    for number in (2, 3):
        await scanned(pilot, "A4")
        await pilot.press("f5")
        await day.hand("A4", "swap panic")
        await day.verdicts(pilot, "A4", *[FAIL] * number)
    await until(pilot, lambda: day.look("A4") is Look.LOCKED)
    await pilot.press("f4")
    await until(pilot, lambda: "已 锁 定" in shown(pilot) and "不合格 4" in shown(pilot))
    assert "连续 3 块板子" in shown(pilot)
    await pilot.press("f7", "f5")
    await until(pilot, lambda: day.look("A4") is not Look.LOCKED)


async def _unplugged(day: Day, pilot: Pilot[None]) -> None:
    """One board is unplugged in the middle of its work, and comes back long after the line has given it up."""
    await until(pilot, lambda: ERROR in [one.ended.outcome for one in day.app.desk.wall.visits("A2")])
    await until(pilot, lambda: day.app.desk.wall.tiles["A2"].gone)
    assert day.look("A2") is Look.ERROR, "whoever comes sees what happened"
    await day.hand("A2", "fault none")
    await day.hand("A2", "return")
    await until(pilot, lambda: day.look("A2") is Look.PASS)


async def _good_rounds(day: Day, pilot: Pilot[None]) -> None:
    """Two rounds of good boards; one is unplugged while nothing is done to it."""
    for _ in range(2):
        ended = {slot: len(day.app.desk.wall.visits(slot)) for slot in day.boards}
        await day.hand("A1", "vanish")
        await until(pilot, lambda: day.look("A1") is Look.EMPTY)
        await day.hand("A1", "return")
        for slot in day.boards:
            if slot != "A4" or day.look(slot) is Look.PASS:
                await day.hand(slot, "swap")
        if day.look("A4") is Look.FAIL:
            await day.hand("A4", "swap")
        await until(pilot, lambda ended=ended: all(  # type: ignore[misc]
            len(day.app.desk.wall.visits(slot)) > count and day.look(slot) is Look.PASS for slot, count in ended.items()
        ))  # fmt: skip


def test_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Worked off with retries, a locked slot, a scan, a swapped board and two unplugged ones, the day has one set of
    numbers: on the screen, in the HTML report, `units`, JSON, CSV and XLSX."""
    monkeypatch.setenv("RMFAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr("rmfab.line.connection._RETURN_SECONDS", 15.0)  # a busy machine is slow to plug in
    factory = found(tmp_path / "ws", units=40)
    specs = [spec(index=slot - 1, faults=(FAULTS[slot],) if slot in FAULTS else ()) for slot in range(1, 9)]
    with serve(specs) as boards:
        day = Day(factory, list(boards))

        async def story(pilot: Pilot[None]) -> None:
            await _first_round(day, pilot)
            await _bad_slot(day, pilot)
            await _unplugged(day, pilot)
            await _good_rounds(day, pilot)
            await pilot.press("f4", "f3")
            await until(pilot, lambda: "boot, panic:" in shown(pilot))
            assert "60 %" in shown(pilot)

        with pytest.raises(UnitsFailed):
            day.play(story)
    told = written(factory, tmp_path, "lamp-0001")
    all_agree(told)
    _screen_agrees(day, told)


def _screen_agrees(day: Day, told: Written) -> None:
    """The screen has the numbers of the report."""
    tally, totals = day.app.desk.wall.tally, told.json["totals"]
    first, said = tally.first_pass(), totals["first_pass"]
    assert (first.passed, first.whole) == (said["passed"], said["passed"] + said["failed"])
    assert told.page.terms["first-pass yield"] == percent(first)
    assert tally.verdicts() == totals["verdicts"]
    passes = tally.first_passes()
    assert [(one["step"], one["class"], one["units"], one["cumulative"]) for one in told.json["causes"]] == [
        (one.step, one.cause, one.units, pytest.approx(one.cumulative, abs=0.0001)) for one in passes.pareto()
    ]
    for slot in told.json["slots"]:
        mine = passes.slots[slot["slot"]]
        errors = tally.spoilt()[slot["slot"], ERROR]
        assert (mine.passed, mine.failed, errors) == (slot["passed"], slot["failed"], slot["errors"]), slot["slot"]
