"""What an IPP printer or a CUPS queue says about itself.

Source: RFC 8011, 5.4 (printer-state-reasons) and 5.3 (job-state); PWG 5100.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rmfab.causes import Cause
from rmfab.label.printers.faults import MM_PER_INCH
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
    "media-supported",
    "print-scaling-supported",
)
_PROCESSING, _STOPPED = 4, 5
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
_OF_CUPS = frozenset({"cups-missing-filter", "cups-insecure-filter", "hold-new-jobs", "spool-area-full"})
"""Reasons that a queue of CUPS has of itself. The others come from its printer, which CUPS asks only during a job."""


@dataclass(frozen=True)
class QueueState:
    """A queue: its *status*, the *formats* that it takes, its *sizes* as PWG names, *waiting* jobs, the faults that its
    printer has *reported*, now or during its last job, and three facts:

    one that *is_raw* has no driver, one that *proves* reports the end of a job only when the printer itself does, and
    one that *may_scale* makes a page fit its labels unless that is ruled out.
    """

    status: PrinterStatus
    formats: frozenset[str]
    waiting: int
    is_raw: bool
    proves: bool
    may_scale: bool
    reported: frozenset[Cause]
    sizes: tuple[str, ...] = ()


def queue_state(answer: IppAnswer, configured_dpi: int | None) -> QueueState:
    """Return what *answer* to Get-Printer-Attributes says. State and reasons are told apart: with media-empty a
    printer may be idle.

    CUPS learns the reasons of a printer during a job, and keeps them after it: labels that were loaded meanwhile are
    not noticed before the next one.
    """
    reasons, state = answer.texts("printer-state-reasons"), answer.number("printer-state")
    model = next(iter(answer.texts("printer-make-and-model")), None)
    device = next(iter(answer.texts("device-uri")), None)
    reported = reasons_to_faults(reasons)
    is_known = device is None or state == _PROCESSING
    faults = list(reported if is_known else reasons_to_faults(one for one in reasons if one in _OF_CUPS))
    if not answer.number("printer-is-accepting-jobs", 1):
        faults.append(Cause.PRINTER_REJECTS)
    elif state == _STOPPED and not faults:
        faults.append(Cause.PRINTER_STOPPED)
    stale = () if is_known else tuple(cause for cause in reported if cause not in faults)
    return QueueState(
        PrinterStatus(True, model, _dpi(answer, configured_dpi), _media(answer), tuple(faults), stale),
        frozenset(answer.texts("document-format-supported")),
        answer.number("queued-job-count"),
        model is not None and "raw printer" in model.lower(),
        device is None or device.startswith(_PROVEN),
        "none" in answer.texts("print-scaling-supported"),
        frozenset(reported),
        answer.texts("media-supported"),
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
    sizes = {size for name in answer.texts("media-ready") if (size := _size(name))}
    return Media(*sizes.pop()) if len(sizes) == 1 else None


def _size(name: str) -> tuple[float, float] | None:
    """Return the size in a PWG name such as `iso_a7_74x105mm`, in mm."""
    found = _SIZE.search(name)
    if found is None:
        return None
    scale = MM_PER_INCH if found[3] == "in" else 1.0
    return round(float(found[1]) * scale, 2), round(float(found[2]) * scale, 2)


def media_name(width: float, height: float, supported: Iterable[str]) -> str | None:
    """Return the name of a size in mm that a queue accepts: a custom one within its limits, else the very same one.

    A printer may reject a whole job for the name of a size that it does not know.
    """
    sizes = {name: size for name in supported if (size := _size(name))}
    least = next((size for name, size in sizes.items() if name.startswith("custom_min_")), None)
    most = next((size for name, size in sizes.items() if name.startswith("custom_max_")), None)
    if least and most and least[0] <= width <= most[0] and least[1] <= height <= most[1]:
        return f"custom_label_{width:g}x{height:g}mm"
    same = (name for name, size in sizes.items() if abs(size[0] - width) <= 1 and abs(size[1] - height) <= 1)
    return next((name for name in same if not name.startswith(("custom_min_", "custom_max_"))), None)
