"""JUnit reports: where they may be written, and when."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from rmfab.errors import InputError
from rmfab.operations.run_files import RunFiles
from rmfab.report.junit import Case, report_of, write_report

KEPT = {"the ledger": b"SQLite format 3\0", "product.toml": b"[product]\n", "a page": b"<?xml version='1.0'?><svg/>"}


@pytest.mark.parametrize("content", KEPT.values(), ids=KEPT)
def test_other_files_are_not_replaced(tmp_path: Path, content: bytes) -> None:
    """A report takes the place of a report or of an empty file, and of no other file; that is said before the work."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a JUnit report, so it is not replaced"), report_of("suite", path):
        pytest.fail("the work began")
    with pytest.raises(InputError, match="not a JUnit report, so it is not replaced"):
        RunFiles(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("before", ["", "\n", "a report", "a report of a different program"])
def test_reports_are_replaced(tmp_path: Path, before: str) -> None:
    """The report of the last job, and what a CI made beforehand, is replaced, also by that of work that failed."""
    path = tmp_path / "report.xml"
    path.write_text({"a report of a different program": "<testsuites><testsuite/></testsuites>"}.get(before, ""))
    if before == "a report":
        write_report(path, "old", [])

    def fails() -> None:
        with report_of("suite", path) as cases:
            cases.append(Case("group", "name", "PASS"))
            raise InputError("the work failed")

    with pytest.raises(InputError, match="the work failed"):
        fails()
    suite = ET.parse(path).getroot()
    assert (suite.attrib["name"], suite.attrib["tests"]) == ("suite", "1")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """It is an error before the first board is touched, not after the last one."""
    for path in (tmp_path, tmp_path / "nowhere" / "report.xml"):
        with pytest.raises(InputError) as caught, report_of("suite", path):
            pytest.fail("the work began")
        assert caught.value.where == str(path)
        with pytest.raises(InputError):
            RunFiles(path)
