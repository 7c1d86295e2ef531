"""The report of a real shift: every form tells the same numbers, and no form contains a secret or runs a formula."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from rmfab.cli import main
from tests.line.floor import Factory
from tests.report.story import worked_off

FORMS = ("html", "json", "csv", "xlsx")


class Page(HTMLParser):
    """The tables and paragraphs of a page, as an outsider's parser finds them."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.terms: dict[str, str] = {}
        self.links: list[str] = []
        self.tags: Counter[str] = Counter()
        self._open: list[str] = []
        self._term = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a table, a row or a cell."""
        self.tags[tag] += 1
        for name, value in attrs:
            self.tags[f"@{name}"] += 1
            if name in ("src", "href", "action", "data", "xlink:href"):
                self.links.append(value or "")
        self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """End an element."""
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Collect text."""
        if "dt" in self._open:
            self._term = data
        elif "dd" in self._open and "small" not in self._open:
            self.terms[self._term] = data
        elif {"td", "th"} & set(self._open) and "span" not in self._open:
            self.tables[-1][-1][-1] += data

    @property
    def units(self) -> list[dict[str, str]]:
        """The list of units."""
        head, *rows = self.tables[-1]
        return [dict(zip(head, row, strict=True)) for row in rows]


@dataclass(frozen=True)
class Written:
    """The forms of one report, and what `rmfab units` lists."""

    factory: Factory
    html: str
    json: dict[str, Any]
    csv: list[dict[str, str]]
    book: openpyxl.Workbook
    units: list[dict[str, Any]]

    @property
    def page(self) -> Page:
        """The page, parsed."""
        page = Page()
        page.feed(self.html)
        return page


def called(factory: Factory, *argv: str) -> str:
    """Run a command; return its stdout."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert main(["-C", str(factory.root), *argv]) == 0
    return out.getvalue()


def written(factory: Factory, folder: Path, *argv: str) -> Written:
    """Write all forms of a report and read them, each with a reader that others made."""
    for form in FORMS:
        called(factory, "report", *argv, "-o", str(folder / f"r.{form}"), "--operator", "boss")
    return Written(
        factory,
        (folder / "r.html").read_text(encoding="utf-8"),
        json.loads((folder / "r.json").read_text()),
        list(csv.DictReader(io.StringIO((folder / "r.csv").read_text(encoding="utf-8-sig"), newline=""))),
        openpyxl.load_workbook(folder / "r.xlsx"),
        json.loads(called(factory, "units", "--json")),
    )


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """24 boards on 8 slots; six bad ones, one behind a bad cable that came back."""
    folder = tmp_path_factory.mktemp("report")
    return written(worked_off(folder / "ws"), folder, "lamp-0001")


def sheet(book: openpyxl.Workbook, name: str) -> list[dict[str, Any]]:
    """The rows of a sheet by its head."""
    head, *rows = book[name].iter_rows(values_only=True)
    return [dict(zip(map(str, head), row, strict=True)) for row in rows]


def recount(units: list[dict[str, Any]]) -> dict[str, Any]:
    """What a list of units adds up to, counted here and not by rmfab."""
    first = Counter(one["first_pass"] for one in units if one["first_pass"])
    final = Counter(one["final"] for one in units if one["final"])
    return {
        "units": len(units),
        "first": (first["PASS"], first["FAIL"]),
        "final": (final["PASS"], final["FAIL"]),
        "serials": sorted(one["serial"] for one in units),
        "states": Counter(one["state"] for one in units),
        "slots": Counter((one["slot"], one["first_pass"]) for one in units if one["first_pass"]),
    }


def test_the_story_is_what_it_should_be(shift: Written) -> None:
    """24 units: 18 passed at first, 6 failed; the bad cable's ERROR belongs to no unit and is in no yield."""
    totals = shift.json["totals"]
    assert (totals["units"], totals["first_pass"]["passed"], totals["first_pass"]["failed"]) == (24, 18, 6)
    assert totals["first_pass"]["yield"] == 0.75
    assert totals["runs"] == {"ERROR": 1, "FAIL": 6, "PASS": 18}
    assert totals["marginal"] == 2
    assert [(one["slot"], one["class"], one["runs"]) for one in shift.json["errors"]] == [("A6", "tx-path", 1)]
    causes = [(one["step"], one["class"], one["units"]) for one in shift.json["causes"]]
    assert causes[0] == ("boot", "brownout", 2)
    assert {cause for _, cause, _ in causes} == {"brownout", "panic", "silent", "key-mismatch", "weak-signal"}
    assert shift.json["causes"][-1]["cumulative"] == 1


def test_every_list_of_units_is_the_same(shift: Written) -> None:
    """`units`, JSON, CSV and XLSX have the same rows, value by value; the page has them for people."""
    assert shift.json["units"] == shift.units
    for unit, row, cells in zip(shift.units, shift.csv, sheet(shift.book, "Units"), strict=True):
        named = {("cause" if name == "class" else name): value for name, value in unit.items()}
        assert {name: cells[name] for name in named} == named
        assert {name: row[name] for name in named} == {
            name: "" if value is None else str(value) for name, value in named.items()
        }
    shown = [(one["serial"], one["state"], one["verdict"], one["first pass"], one["slot"]) for one in shift.page.units]
    assert shown == [
        (one["serial"], one["state"], one["verdict"], one["first_pass"] or "", one["slot"]) for one in shift.units
    ]


def test_every_form_adds_up_to_the_same(shift: Written) -> None:
    """Counted again from each list, the totals are those of the report."""
    totals = shift.json["totals"]
    expected = {
        "units": totals["units"],
        "first": (totals["first_pass"]["passed"], totals["first_pass"]["failed"]),
        "final": (totals["final"]["passed"], totals["final"]["failed"]),
        "states": Counter(totals["states"]),
    }
    page = [one | {"first_pass": one["first pass"]} for one in shift.page.units]
    for units in (shift.units, shift.json["units"], shift.csv, sheet(shift.book, "Units"), page):
        counted = recount(units)
        assert {name: counted[name] for name in expected} == expected
        for slot in shift.json["slots"]:
            assert counted["slots"][slot["slot"], "PASS"] == slot["passed"]
            assert counted["slots"][slot["slot"], "FAIL"] == slot["failed"]


def test_the_page_tells_the_totals(shift: Written) -> None:
    """The tiles of the page are the totals of the JSON."""
    totals, terms = shift.json["totals"], shift.page.terms
    assert terms["units"] == str(totals["units"])
    assert terms["PASS at first"] == str(totals["first_pass"]["passed"])
    assert terms["FAIL at first"] == str(totals["first_pass"]["failed"])
    assert terms["first-pass yield"] == f"{100 * totals['first_pass']['yield']:.1f} %"
    assert terms["final yield"] == f"{100 * totals['final']['yield']:.1f} %"
    assert terms["rolled yield"] == f"{100 * totals['rolled_yield']:.1f} %"
    assert terms["runs with ERROR"] == str(totals["runs"]["ERROR"])


def test_the_sheets_tell_the_sections(shift: Written) -> None:
    """Each section of the JSON is a sheet with the same values; the summary has the totals."""
    for name, title in (("causes", "Causes of FAIL"), ("slots", "Slots"), ("steps", "Steps"), ("chains", "Seal"),
                        ("measurements", "Measurements"), ("shifts", "Yield by shift")):  # fmt: skip
        _, *rows = shift.book[title].iter_rows(values_only=True)
        assert [["" if value is None else value for value in row] for row in rows] == [
            ["" if value is None else value for value in one.values()] for one in shift.json[name]
        ]
    summary = dict(shift.book["Summary"].iter_rows(min_row=2, values_only=True))
    assert summary["totals.first_pass.yield"] == shift.json["totals"]["first_pass"]["yield"]


def test_status_counts_the_same(shift: Written) -> None:
    """`status` counts the same states, besides the identities that are free."""
    (counts,) = json.loads(called(shift.factory, "status", "--json"))
    bound = {state: number for state, number in counts["states"].items() if number and state != "generated"}
    assert bound == shift.json["totals"]["states"]


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
