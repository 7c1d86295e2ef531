"""A report as a value: its head, totals, sections and units. Every form of it is written from this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rmfab.errors import StationError
from rmfab.line.shifts import LocalTime
from rmfab.report.numbers import ReportNumbers
from rmfab.report.period import Period
from rmfab.report.sections import Section
from rmfab.report.units import ListedUnit


@dataclass(frozen=True)
class ReportHead:
    """What a report is about, and what seals it: the ledger's id, and the trust file and the release that were accepted
    last, each with version and digest. *made*, *by* and *station*: when, by whom and where it was written."""

    product: str
    batches: tuple[str, ...]
    period: Period
    made: str
    by: str | None
    station: str
    tool: str
    ledger: str
    trust: tuple[int, str] | None
    release: tuple[str, str] | None

    def to_json(self) -> dict[str, Any]:
        """Return the head as JSON values."""
        return {
            "product": self.product,
            "batches": list(self.batches),
            "since": self.period.since,
            "until": self.period.until,
            "made": self.made,
            "operator": self.by,
            "station": self.station,
            "rmfab": self.tool,
            "ledger": self.ledger,
            "trust": None if self.trust is None else {"version": self.trust[0], "fingerprint": self.trust[1]},
            "release": None if self.release is None else {"version": self.release[0], "digest": self.release[1]},
        }


@dataclass(frozen=True)
class ReportDocument:
    """The report. *units* yields its units, as often as it is called; *local* is the time in which people read it."""

    head: ReportHead
    totals: dict[str, Any]
    sections: tuple[Section, ...]
    numbers: ReportNumbers
    units: Callable[[], Iterator[ListedUnit]]
    local: LocalTime

    def section(self, name: str) -> Section:
        """Return the section *name*."""
        return next(one for one in self.sections if one.name == name)


def missing_extra(form: str) -> StationError:
    """Return the error of an installation that cannot write reports of this *form*."""
    return StationError(
        f"writing {form} requires the extra `reports`",
        hint="run `pip install '.[reports]'` in rmfab's checkout, or write a report as .json or .csv",
        cause="no-reports",
    )
