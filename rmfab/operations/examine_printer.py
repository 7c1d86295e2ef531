"""Diagnosis of the label printer: reachable, ready, its resolution, two-way; and what CUPS keeps."""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.causes import Cause
from rmfab.errors import StationError
from rmfab.label.printers.address import IppPlace
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.discovery import cups_keeps_files
from rmfab.label.printers.faults import fault_of, judge_dpi, judge_media
from rmfab.line.diagnosis import Diagnosis
from rmfab.line.station import Station
from rmfab.operations.use_printer import PrinterReport, ask_printer


def diagnose_printer(station: Station) -> Iterator[Diagnosis]:
    """Yield what is to be said about the printer of *station*, nothing without one."""
    config = station.printer
    if config is None:
        return
    yield from _spool(config)
    try:
        report = ask_printer(config)
        judge_dpi(config, report.status.dpi)
        judge_media(config, report.status.media)
    except StationError as error:
        yield Diagnosis(f"the printer {error}", False, error.hint or Cause(error.cause).remedy, error)
        return
    yield from _state(report)


def _state(report: PrinterReport) -> Iterator[Diagnosis]:
    address = report.config.address.text
    for cause in report.status.faults:
        error = fault_of(cause, address)
        yield Diagnosis(f"the printer {error}", False, cause.remedy, error)
    if not report.status.faults:
        model = f"{report.status.model}, " if report.status.model else ""
        last = ", ".join(cause.value for cause in report.status.stale)
        doubt = f"; its last job reported {last}" if last else ""
        yield Diagnosis(f"the printer {address} ({model}{report.dpi} dpi){doubt}", True)
    if not report.status.answers:
        what = f"the printer {address} does not answer: labels count as sent, not as printed"
        yield Diagnosis(what, True)


def _spool(config: PrinterConfig) -> Iterator[Diagnosis]:
    """Report if the CUPS of this host keeps jobs: they contain PoPs."""
    place = config.address.place
    if isinstance(place, IppPlace) and place.host is None and cups_keeps_files():
        what = "CUPS keeps the files of printed labels, which contain PoPs, for a day"
        yield Diagnosis(what, False, "add `PreserveJobFiles No` to /etc/cups/cupsd.conf, then restart CUPS")
