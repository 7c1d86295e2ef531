"""docs/virtual-boards.md names every fault and every control command, and no others."""

from __future__ import annotations

import re

import pytest

from rmfab.errors import StationError
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, serve
from rmfab.virtual.faults import BoardFault
from tests.docs.pages import DOCS

PAGE = (DOCS / "virtual-boards.md").read_text()


def _first_column(heading: str) -> list[str]:
    section = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| `")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_every_fault_has_a_row() -> None:
    """The table of faults lists each fault once, and shows which of them take a number."""
    expected = [fault.value + ("=N" if fault.takes_number else "") for fault in BoardFault]
    assert _first_column("Faults") == expected
    assert f"fail in {len(expected)} ways" in (DOCS / "maker.md").read_text()


def test_every_control_command_has_a_row() -> None:
    """The table of control commands has the commands that a board lists when it receives an unknown one."""
    with serve([BoardSpec(chip=Chip.ESP32C3)]) as (board,), pytest.raises(StationError) as refused:
        board.control("help")
    listed = {re.split(r"[ |\[]", one)[0] for one in str(refused.value).split("error: ")[1].split(" | ")}
    assert {name.split()[0] for name in _first_column("Control commands")} == listed
