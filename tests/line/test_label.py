"""The step `label` on virtual boards: one printer for all slots, its faults, and what the ledger knows."""

from __future__ import annotations

import pytest

from rmfab.ledger.events import EventKind
from tests.line.floor import copied, found, serve, spec

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def printing(tmp_path_factory):
    """A factory whose product prints labels, with four identities."""
    edits = (("[label]", '[label]\nprint = "pass"'),)
    return found(tmp_path_factory.mktemp("printing") / "ws", units=4, edits=edits)


@pytest.fixture
def factory(printing, tmp_path):
    factory = copied(printing, tmp_path / "ws")
    (factory.root / "station.toml").write_text(f'[printer]\naddress = "file://{tmp_path}/labels"\n')
    return factory


def words(factory, serial):
    with factory.ledger() as ledger:
        events = [one.event for one in ledger.history(serial)]
    return [event.details["word"] for event in events if event.kind is EventKind.LABEL]


def test_units_that_pass_get_their_labels(factory, tmp_path):
    """Each label is one file in the printer's folder, recorded before and after it; the summary counts them."""
    with serve([spec(index=index) for index in range(2)]) as boards:
        said = factory.run(*(board.url for board in boards))
        assert said.code == 0, said.words
    assert said.summary["labels"] == {"printed": 2}
    assert words(factory, "LMP-000001") == ["sending", "printed"]
    assert len(list((tmp_path / "labels").glob("*.png"))) == 2
