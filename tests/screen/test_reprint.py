"""REPRINT on the screen, over a real line on virtual boards and a printer that writes pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from rmfab.errors import UnitsFailed
from rmfab.language.speech import Language
from rmfab.ledger.events import EventKind
from rmfab.screen.tile import Look
from rmfab.virtual import BoardHandle
from tests.line.floor import Factory, copied, found, serve, spec
from tests.screen.stage import scanned, shown, until
from tests.screen.test_on_boards import Shift

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def printing(tmp_path_factory: pytest.TempPathFactory) -> Factory:
    """A factory whose product prints the label of each unit that passes."""
    edits = (('print = "off"', 'print = "pass"'), ("wait = 300", "wait = 0.0"))
    return found(tmp_path_factory.mktemp("reprint") / "ws", units=4, edits=edits)


@pytest.fixture
def boards() -> Iterator[list[BoardHandle]]:
    """Two boards; the second one has a brownout."""
    with serve([spec(), spec(index=1, faults=("brownout",))]) as served:
        yield list(served)


def labels(factory: Factory, serial: str) -> list[tuple[str, str | None, str | None]]:
    """Return what the ledger has of the labels of a unit: the word, the reason, and the slot."""
    with factory.ledger() as ledger:
        events = [one.event for one in ledger.history(serial)]
    return [(one.details["word"], one.reason, one.slot) for one in events if one.kind is EventKind.LABEL]


@pytest.mark.parametrize("prints", [True, False])
def test_reprint(printing: Factory, tmp_path: Path, boards: list[BoardHandle], prints: bool) -> None:
    """REPRINT prints one more label and records it with its reason, slot and operator, whether the line prints or not.

    A unit that failed gets none.
    """
    factory, out = copied(printing, tmp_path / "ws"), tmp_path / "printer"
    if not prints:
        factory.edit('print = "pass"', 'print = "off"')
    shift = Shift(factory, boards, f'''[printer]\naddress = "file://{out}"''')

    async def story(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: (shift.look("A1"), shift.look("A2")) == (Look.PASS, Look.FAIL))
        await scanned(pilot, "BADGE:wei")
        await scanned(pilot, "REPRINT A1")
        done = "printed again; destroy the other label" if prints else "label printed"
        await until(pilot, lambda: f"{shift.serial('A1')}: {done}" in shown(pilot))
        await pilot.press("f9")
        shift.app.desk.language = Language.CHINESE
        await scanned(pilot, "REPRINT A2")
        await until(pilot, lambda: "未打印标签" in shown(pilot))

    with pytest.raises(UnitsFailed):
        shift.play(story, (120, 30))
    assert len(list(out.glob("*.png"))) == 1 + prints
    first = [("sending", None, "A1"), ("printed", None, "A1")]
    again = [(word, "reprint at the screen", "A1") for word, _, _ in first]
    with factory.ledger() as ledger:
        unit = next(one for one in ledger.identities(ledger.batches()[0].name) if one.standing.labelled_count)
        who = ledger.history(unit.name)[-1].event.details["operator"]
    assert (labels(factory, unit.name), who) == ([*first, *again] if prints else first, "wei")


def test_reprint_without_a_printer(printing: Factory, tmp_path: Path, boards: list[BoardHandle]) -> None:
    """A station without a printer is told what to do instead."""
    shift = Shift(copied(printing, tmp_path / "ws"), boards)

    async def story(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: (shift.look("A1"), shift.look("A2")) == (Look.PASS, Look.FAIL))
        await scanned(pilot, "REPRINT A1")
        await until(pilot, lambda: f"use `rmfab label {shift.serial('A1')} -o FILE`" in shown(pilot))

    with pytest.raises(UnitsFailed):
        shift.play(story, (160, 30))
