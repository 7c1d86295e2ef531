"""The report of a real shift: every form tells the same numbers, and no form contains a secret or runs a formula."""

from __future__ import annotations

import json
import re
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest

from rmfab.ledger.events import Outcome
from rmfab.ledger.states import State
from tests.line.test_faults import MUTE
from tests.report.agreement import (
    Written,
    called,
    forms_add_up,
    lists_agree,
    page_tells_the_totals,
    sheet,
    sheets_tell_the_sections,
    status_counts_the_same,
    written,
)
from tests.report.story import worked_off

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """24 boards on 8 slots; six bad ones, one behind a bad cable that came back."""
    folder = tmp_path_factory.mktemp("report")
    return written(worked_off(folder / "ws"), folder, "lamp-0001")


def test_the_story_is_what_it_should_be(shift: Written) -> None:
    """24 units: 18 passed at first, 6 failed; the bad cable's ERROR belongs to no unit and is in no yield."""
    totals = shift.json["totals"]
    assert (totals["units"], totals["first_pass"]["passed"], totals["first_pass"]["failed"]) == (24, 18, 6)
    assert totals["first_pass"]["yield"] == 0.75
    assert totals["runs"] == {"ERROR": 1, "FAIL": 6, "PASS": 18}
    assert totals["marginal"] == len(narrow := narrowly_passed(shift))
    assert Counter(chain.from_iterable(narrow.values()))["weak-signal"] == 2
    (error,) = shift.json["errors"]
    assert (error["slot"], error["class"] in MUTE, error["runs"]) == ("A6", True, 1)
    causes = [(one["step"], one["class"], one["units"]) for one in shift.json["causes"]]
    assert causes[0] == ("boot", "brownout", 2)
    assert {cause for _, cause, _ in causes} == {"brownout", "panic", "silent", "key-mismatch", "weak-signal"}
    assert shift.json["causes"][-1]["cumulative"] == 1


def narrowly_passed(shift: Written) -> dict[str, set[str | None]]:
    """Return the causes for which units passed narrowly: a slow machine may add an attempt that was repeated."""
    with shift.factory.ledger() as ledger:
        causes = {
            unit.serial: {one.cause for one in unit.events if one.outcome == Outcome.MARGINAL}
            for unit in ledger.histories("lamp-0001", states=[State.VERIFIED])
        }
    return {serial: found for serial, found in causes.items() if found}


def test_every_list_of_units_is_the_same(shift: Written) -> None:
    """`units`, JSON, CSV and XLSX have the same rows, value by value; the page has them for people."""
    lists_agree(shift)


def test_every_form_adds_up_to_the_same(shift: Written) -> None:
    """Counted again from each list, the totals are those of the report."""
    forms_add_up(shift)


def test_the_page_tells_the_totals(shift: Written) -> None:
    """The tiles of the page are the totals of the JSON."""
    page_tells_the_totals(shift)


def test_the_sheets_tell_the_sections(shift: Written) -> None:
    """Each section of the JSON is a sheet with the same values; the summary has the totals."""
    sheets_tell_the_sections(shift)


def test_status_counts_the_same(shift: Written) -> None:
    """`status` counts the same states, besides the identities that are free."""
    status_counts_the_same(shift)


def test_rssi_against_its_limits(shift: Written) -> None:
    """RSSI has its limits, n, and the Cpk of the lower one, over all slots and on each."""
    every, *slots = [one for one in shift.json["measurements"] if one["name"] == "rssi"]
    assert (every["unit"], every["low_limit"], every["high_limit"], every["slot"]) == ("dBm", -80, None, "")
    assert every["cpk"] == pytest.approx((every["mean"] + 80) / (3 * every["deviation"]), abs=0.01)
    assert every["n"] == sum(one["n"] for one in slots) == 19
    assert every["min"] == min(one["min"] for one in slots) == -91


def test_what_seals_it(shift: Written) -> None:
    """Every form has the digest of the release and the heads of the chains, as the ledger has them."""
    with shift.factory.ledger() as ledger:
        heads = {one.chain: (one.head.seq, one.head.hash) for one in ledger.chain_heads()}
        release = ledger.last_release("Lamp").event.details["digest"]
    assert {one["chain"]: (one["events"], one["hash"]) for one in shift.json["chains"]} == heads
    assert shift.json["report"]["release"]["digest"] == release
    assert {(int(row["chain_events"]), row["chain_hash"]) for row in shift.csv} <= set(heads.values())
    assert {row["release_digest"] for row in shift.csv} == {release}
    for _, digest in heads.values():
        assert digest in shift.html
    assert release in shift.html


def test_who_did_it(shift: Written) -> None:
    """Each unit has its operator, and the report that of its own."""
    assert Counter(one["operator"] for one in shift.units) == {"op-7": 15, "op-9": 9}
    assert shift.json["report"]["operator"] == "boss"
    assert {one["operator"]: one["runs"] for one in shift.json["operators"]} == {"op-7": 15, "op-9": 9}
    assert "on bench-1 by boss" in shift.html


def test_no_secret_in_any_form(shift: Written) -> None:
    """No form contains a PoP, a key or a `random` of any identity."""
    workspace = shift.factory.workspace
    text = json.dumps(shift.json) + shift.html + json.dumps(shift.csv)
    text += json.dumps([row for one in shift.book for row in one.iter_rows(values_only=True)], default=str)
    assert "PRIVATE KEY" not in text
    for bound in workspace.ledger.identities("lamp-0001"):
        identity = workspace.open_identity(bound)
        assert identity.pop.reveal() not in text
        assert identity.random.reveal().hex() not in text


def test_the_page_needs_nothing_else(shift: Written) -> None:
    """The page names no address, and its policy allows only its own style and script."""
    assert all(one.startswith("#") for one in shift.page.links)
    assert "//" not in re.sub(r"xmlns(:\w+)?=\"[^\"]*\"", "", shift.html).replace("// Sorts", "")
    tags = shift.page.tags
    assert (tags["script"], tags["style"], tags["@style"], tags["@onclick"]) == (1, 1, 0, 0)
    assert "default-src 'none'" in shift.html


def test_a_report_of_a_shift(shift: Written, tmp_path: Path) -> None:
    """The report of the current shift has the units of this shift, that of yesterday none."""
    now = written(shift.factory, tmp_path, "--since", "1h").json["totals"]
    assert now["first_pass"] == shift.json["totals"]["first_pass"]
    old = tmp_path / "old.json"
    called(shift.factory, "report", "--since", "3d", "--until", "2d", "-o", str(old))
    totals = json.loads(old.read_text())["totals"]
    assert (totals["units"], totals["first_pass"]["yield"], totals["rolled_yield"]) == (0, None, None)


def test_a_report_of_nothing(tmp_path: Path, shift: Written) -> None:
    """Every form of a report without units can be written, and says that there are none."""
    none = written(shift.factory, tmp_path, "--since", "2001-01-01", "--until", "2001-01-02")
    assert (none.json["units"], none.csv, sheet(none.book, "Units")) == ([], [], [])
    assert none.page.terms["first-pass yield"] == "-"
