"""docs/printing.md names every fault, every control command and every cause of printers, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rmfab.causes import Blame, Cause
from rmfab.errors import StationError
from rmfab.virtual.printers.faults import PrinterTrouble
from rmfab.virtual.printers.serving import serve_printer
from rmfab.virtual.printers.spec import PrinterKind, VirtualPrinterSpec
from tests.docs.pages import DOCS

PAGE = (DOCS / "printing.md").read_text()


def _first_column(heading: str) -> list[str]:
    section = PAGE.split(f" {heading}\n")[1].split("\n## ")[0].split("\n### ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_every_fault_has_a_row() -> None:
    """The table of what can go wrong lists each fault of virtual printers once."""
    assert _first_column("What can go wrong") == [trouble.value for trouble in PrinterTrouble]
    assert f"with {len(PrinterTrouble)} faults" in (DOCS.parent / "CHANGELOG.md").read_text()


def test_every_command_has_a_row(tmp_path: Path) -> None:
    """The table of commands has those that a printer lists when it receives an unknown one."""
    spec = VirtualPrinterSpec(PrinterKind.ZPL, 203, 40, 30, 0)
    with serve_printer(spec, tmp_path / "out") as printer, pytest.raises(StationError) as refused:
        printer.control("help")
    listed = {re.split(r"[ |\[]", one)[0] for one in str(refused.value).split("commands: ")[1].split(" | ")}
    assert {name.split()[0] for name in _first_column("Commands")} == listed


def test_every_cause_has_a_row() -> None:
    """The table of faults has each cause of printers for which the station is to blame, and only those."""
    causes = {cause.value for cause in Cause if cause.value.startswith("printer-") and cause.blame is Blame.STATION}
    assert set(_first_column("Faults")) == causes
