"""What an IPP printer or a CUPS queue says about itself.

Source: RFC 8011, 5.4 (printer-state-reasons) and 5.3 (job-state); PWG 5100.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rmfab.causes import Cause
from rmfab.label.printers.ipp import IppAnswer
from rmfab.label.printers.media import Media
from rmfab.label.printers.printer import PrinterStatus

WANTED = (
    "printer-state",
    "printer-state-reasons",
    "printer-is-accepting-jobs",
    "printer-make-and-model",
    "document-format-supported",
    "printer-resolution-default",
    "printer-resolution-supported",
    "media-ready",
    "device-uri",
    "queued-job-count",
)
_STOPPED = 5
_SEVERITY = re.compile(r"-(?:report|warning|error)\Z")
_SIZE = re.compile(r"_([0-9]{1,4}(?:\.[0-9]{1,3})?)x([0-9]{1,4}(?:\.[0-9]{1,3})?)(mm|in)\Z")
_PROVEN = ("ipp:", "ipps:", "dnssd:")
_REASONS = {
    "cover-open": Cause.PRINTER_COVER_OPEN,
    "door-open": Cause.PRINTER_COVER_OPEN,
    "interlock-open": Cause.PRINTER_COVER_OPEN,
    "media-jam": Cause.PRINTER_JAM,
    "media-empty": Cause.PRINTER_PAPER,
    "media-needed": Cause.PRINTER_PAPER,
    "input-tray-missing": Cause.PRINTER_PAPER,
    "marker-supply-empty": Cause.PRINTER_RIBBON,
    "developer-empty": Cause.PRINTER_RIBBON,
    "toner-empty": Cause.PRINTER_RIBBON,
    "spool-area-full": Cause.PRINTER_BUFFER,
    "output-area-full": Cause.PRINTER_TAKE_LABEL,
    "cups-missing-filter": Cause.PRINTER_SET_UP,
    "cups-insecure-filter": Cause.PRINTER_SET_UP,
    "offline": Cause.PRINTER_UNREACHABLE,
    "shutdown": Cause.PRINTER_UNREACHABLE,
    "timed-out": Cause.PRINTER_UNREACHABLE,
    "fuser-over-temp": Cause.PRINTER_HOT,
    "fuser-under-temp": Cause.PRINTER_COLD,
    "hold-new-jobs": Cause.PRINTER_PAUSED,
    "moving-to-paused": Cause.PRINTER_PAUSED,
    "paused": Cause.PRINTER_PAUSED,
}


@dataclass(frozen=True)
class QueueState:
    """A queue: its *status*, the *formats* that it takes, *waiting* jobs, and two facts: a queue that *is_raw* has no
    driver; one that *proves* reports the end of a job only when the printer itself does."""

    status: PrinterStatus
    formats: frozenset[str]
    waiting: int
    is_raw: bool
    proves: bool


def queue_state(answer: IppAnswer, configured_dpi: int | None) -> QueueState:
    """Return what *answer* to Get-Printer-Attributes says. State and reasons are told apart: with media-empty a
    printer may be idle."""
    faults = list(reasons_to_faults(answer.texts("printer-state-reasons")))
    if not answer.number("printer-is-accepting-jobs", 1):
        faults.append(Cause.PRINTER_REJECTS)
    elif answer.number("printer-state") == _STOPPED and not faults:
        faults.append(Cause.PRINTER_STOPPED)
    model = next(iter(answer.texts("printer-make-and-model")), None)
    device = next(iter(answer.texts("device-uri")), None)
    return QueueState(
        PrinterStatus(True, model, _dpi(answer, configured_dpi), _media(answer), tuple(faults)),
        frozenset(answer.texts("document-format-supported")),
        answer.number("queued-job-count"),
        model is not None and "raw printer" in model.lower(),
        device is None or device.startswith(_PROVEN),
    )


def reasons_to_faults(reasons: Iterable[str]) -> tuple[Cause, ...]:
    """Return the faults among *reasons*, the most urgent first. Whether a reason is only a report does not matter."""
    found = {_REASONS.get(_SEVERITY.sub("", reason)) for reason in reasons}
    return tuple(dict.fromkeys(cause for cause in _REASONS.values() if cause in found))


def _dpi(answer: IppAnswer, configured: int | None) -> int | None:
    if configured is not None and configured in answer.attributes.get("printer-resolution-supported", ()):
        return configured
    return answer.number("printer-resolution-default") or None


def _media(answer: IppAnswer) -> Media | None:
    """Return the labels in the printer, if it has only one kind of them."""
    sizes = {found.groups() for name in answer.texts("media-ready") if (found := _SIZE.search(name))}
    if len(sizes) != 1:
        return None
    width, height, unit = sizes.pop()
    scale = 25.4 if unit == "in" else 1.0
    return Media(round(float(width) * scale, 2), round(float(height) * scale, 2))
