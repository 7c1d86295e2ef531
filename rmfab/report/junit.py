"""JUnit XML for CI: one test case per check, or per unit and step. FAIL is a failure, ERROR and ABORTED are errors,
SKIP and SEEN are skipped.

Format: the schema that Jenkins' xUnit plugin publishes and that GitLab and GitHub read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from rmfab.errors import InputError, printable
from rmfab.files import file_error, refuse_output, write_file
from rmfab.line.events import LineEvent, StepEnded, UnitEnded

_ELEMENTS = {"FAIL": "failure", "ERROR": "error", "ABORTED": "error", "SKIP": "skipped", "SEEN": "skipped"}


@dataclass(frozen=True)
class Case:
    """One check: its *outcome* (the value of an `Outcome`), and its *cause* and *reason* if it did not pass."""

    group: str
    name: str
    outcome: str
    seconds: float = 0.0
    cause: str | None = None
    reason: str | None = None


@contextmanager
def report_of(suite: str, path: Path | None) -> Iterator[list[Case]]:
    """Yield the cases of a report, which is written to *path*, if that is given, when the block ends, however it ends.

    Raise InputError or StationError before the block if the report cannot be written there.
    """
    if path is None:
        yield []
        return
    refuse_place(path)
    cases: list[Case] = []
    try:
        yield cases
    finally:
        write_report(path, suite, cases)


def refuse_place(path: Path) -> None:
    """Raise InputError or StationError if *path* cannot be written, or is a file other than a JUnit report."""
    refuse_output(path)
    try:
        with path.open("rb") as stream:
            start = stream.read(_LONGEST_START)
    except FileNotFoundError:
        return
    except OSError as error:
        raise file_error("cannot read this file", error, str(path)) from error
    if start.strip() and not _REPORT.search(start):
        what = "not a JUnit report, so it is not replaced"
        raise InputError(what, where=str(path), hint="choose a different name", cause="exists")


_LONGEST_START = 4096
_REPORT = re.compile(rb"<testsuites?[\s/>]")


def write_report(path: Path, suite: str, cases: list[Case]) -> None:
    """Write the report to *path*, replacing an existing file. Raise InputError if that fails."""
    root = ET.Element("testsuite", name=suite, tests=str(len(cases)))
    for kind in ("failure", "error", "skipped"):
        number = sum(_ELEMENTS.get(case.outcome) == kind for case in cases)
        root.set({"failure": "failures", "error": "errors"}.get(kind, kind), str(number))
    root.set("time", f"{sum(case.seconds for case in cases):.3f}")
    for case in cases:
        _add(root, case)
    ET.indent(root)
    write_file(path, ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n", force=True)


def _add(root: ET.Element, case: Case) -> None:
    element = ET.SubElement(
        root, "testcase", classname=case.group, name=printable(case.name), time=f"{case.seconds:.3f}"
    )
    kind = _ELEMENTS.get(case.outcome)
    if kind is not None:
        said = ET.SubElement(element, kind, message=printable(case.reason or case.outcome))
        if kind != "skipped":
            said.set("type", case.cause or case.outcome)


@dataclass
class LineReport:
    """The report of a line: collects the steps of all units as they end."""

    cases: list[Case] = field(default_factory=list)

    def take(self, event: LineEvent) -> None:
        """Add the end of a step; the end of a unit only if none of its steps is in the report."""
        name = event.serial or event.mac or event.slot
        group = f"{event.station}.{event.slot}"
        if isinstance(event, StepEnded):
            outcome, cause, reason = event.outcome.value, event.cause, event.reason
            self.cases.append(Case(group, f"{name} {event.step}", outcome, event.seconds, cause, reason))
        elif isinstance(event, UnitEnded) and not any(case.group == group for case in self.cases):
            self.cases.append(Case(group, name, event.outcome.value, 0.0, event.cause, event.reason))

    def write(self, path: Path) -> None:
        """Write the report."""
        write_report(path, "rmfab", self.cases)
