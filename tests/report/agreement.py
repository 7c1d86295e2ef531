"""The forms of one report, read with readers that others made, and that they tell the same numbers."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import openpyxl

from rmfab.cli import main
from tests.line.floor import Factory

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


def lists_agree(shift: Written) -> None:
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


def forms_add_up(shift: Written) -> None:
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


def page_tells_the_totals(shift: Written) -> None:
    """The tiles of the page are the totals of the JSON."""
    totals, terms = shift.json["totals"], shift.page.terms
    assert terms["units"] == str(totals["units"])
    assert terms["PASS at first"] == str(totals["first_pass"]["passed"])
    assert terms["FAIL at first"] == str(totals["first_pass"]["failed"])
    assert terms["first-pass yield"] == f"{100 * totals['first_pass']['yield']:.1f} %"
    assert terms["final yield"] == f"{100 * totals['final']['yield']:.1f} %"
    assert terms["rolled yield"] == f"{100 * totals['rolled_yield']:.1f} %"
    assert terms["runs with ERROR"] == str(totals["runs"]["ERROR"])


def sheets_tell_the_sections(shift: Written) -> None:
    """Each section of the JSON is a sheet with the same values; the summary has the totals."""
    for name, title in (("causes", "Causes of FAIL"), ("slots", "Slots"), ("steps", "Steps"), ("chains", "Seal"),
                        ("measurements", "Measurements"), ("shifts", "Yield by shift")):  # fmt: skip
        _, *rows = shift.book[title].iter_rows(values_only=True)
        assert [["" if value is None else value for value in row] for row in rows] == [
            ["" if value is None else value for value in one.values()] for one in shift.json[name]
        ]
    summary = dict(shift.book["Summary"].iter_rows(min_row=2, values_only=True))
    assert summary["totals.first_pass.yield"] == shift.json["totals"]["first_pass"]["yield"]


def status_counts_the_same(shift: Written) -> None:
    """`status` counts the same states, besides the identities that are free."""
    (counts,) = json.loads(called(shift.factory, "status", "--json"))
    bound = {state: number for state, number in counts["states"].items() if number and state != "generated"}
    assert bound == shift.json["totals"]["states"]


def all_agree(shift: Written) -> None:
    """Page, JSON, CSV, XLSX, `units` and `status` tell the same."""
    for check in (lists_agree, forms_add_up, page_tells_the_totals, sheets_tell_the_sections, status_counts_the_same):
        check(shift)
