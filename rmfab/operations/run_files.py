"""The files that a run writes besides the ledger: a JUnit report for CI, metrics for a monitor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rmfab.line.events import LineEvent

if TYPE_CHECKING:
    from rmfab.report.junit import LineReport
    from rmfab.report.metrics import MetricsFile


class RunFiles:
    """The files of one run, complete when the block ends: *junit* then, *metrics* after every unit.

    Raise InputError or StationError if *junit* cannot be written, or is a file other than a report. *warn* tells the
    operator, once, that the metrics could not be written.
    """

    def __init__(
        self,
        junit: Path | None = None,
        metrics: MetricsFile | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._junit = junit
        self._report = None if junit is None else _report(junit)
        self._metrics = metrics
        self._warn = warn
        self._warned = False

    def __enter__(self) -> Self:
        return self

    def take(self, event: LineEvent) -> None:
        """Take an event of the line."""
        if self._report is not None:
            self._report.take(event)
        if self._metrics is not None:
            self._metrics.take(event)
            self._tell(self._metrics)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._metrics is not None:
            self._metrics.end()
            self._tell(self._metrics)
        if self._report is not None and self._junit is not None:
            self._report.write(self._junit)

    def _tell(self, metrics: MetricsFile) -> None:
        if metrics.failure is not None and not self._warned:
            self._warned = True
            self._warn(f"the metrics are not written: {metrics.failure}")


def _report(path: Path) -> LineReport:
    from rmfab.report.junit import LineReport, refuse_place

    refuse_place(path)
    return LineReport()


NO_FILES = RunFiles()
