"""The label printer of this station: list printers, ask one, and print labels that try it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum, unique
from pathlib import Path

from rmfab.causes import Cause
from rmfab.errors import InputError
from rmfab.label.printers.address import PrinterAddress
from rmfab.label.printers.area import USUAL_MEDIA, printable_dots
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.discovery import FoundPrinter, cups_queues, usb_printers
from rmfab.label.printers.media import Media
from rmfab.label.printers.open_printer import open_printer
from rmfab.label.printers.patience import PrinterPatience
from rmfab.label.printers.printer import Delivery, PrinterStatus
from rmfab.operations.terminal import Terminal
from rmfab.workspace.workspace import nearest_station


@unique
class TrialLabel(StrEnum):
    """What a label that tries a printer shows."""

    RULER = "ruler"
    TEST_CODE = "test-code"


@dataclass(frozen=True)
class PrinterReport:
    """A printer as it is configured, its resolution, and what it says."""

    config: PrinterConfig
    dpi: int
    status: PrinterStatus

    def to_json(self) -> dict[str, object]:
        """Return its JSON form."""
        media, asked = self.status.media, self.config.media
        return {
            "address": self.config.address.text,
            "answers": self.status.answers,
            "ready": not self.status.faults if self.status.answers else None,
            "model": self.status.model,
            "dpi": self.dpi,
            "media": None if media is None else [media.width, media.height],
            "configured": {"dpi": self.config.dpi, "media": None if asked is None else [asked.width, asked.height]},
            "faults": _faults(self.status.faults),
            "last_job": _faults(self.status.stale),
        }


def _faults(causes: Iterable[Cause]) -> list[dict[str, str]]:
    return [{"class": cause.value, "meaning": cause.meaning, "remedy": cause.remedy} for cause in causes]


@dataclass(frozen=True)
class PrintedTrial:
    """A printed label: at which printer, how far it is proven, and its size in dots."""

    address: str
    delivery: Delivery
    width: int
    height: int
    dpi: int


def configured_printer(folder: Path | None, address: str | None = None) -> PrinterConfig:
    """Return the printer at *address*, else that of station.toml. Raise InputError if there is none.

    An address that station.toml has too is used with all its settings.
    """
    station = nearest_station(folder).printer
    if address is None:
        if station is not None:
            return station
        hint = "add [printer] with its address, such as zpl+tcp://10.0.0.9:9100; `rmfab printer list` shows printers"
        raise InputError("station.toml has no printer", hint=hint, cause="no-printer")
    if station is not None and station.address.text == address:
        return station
    return PrinterConfig(PrinterAddress.parse(address))


def list_printers(folder: Path | None, terminal: Terminal) -> tuple[PrinterConfig | None, tuple[FoundPrinter, ...]]:
    """Return the configured printer, None without one, and those that this host can see. Nothing is sent to them.

    A station.toml that cannot be read is a warning.
    """
    config = None
    try:
        config = nearest_station(folder).printer
    except InputError as error:
        for one in error.complaints:
            terminal.warn(str(one), one.hint)
    return config, (*usb_printers(), *cups_queues(PrinterPatience()))


def ask_printer(config: PrinterConfig, patience: PrinterPatience | None = None) -> PrinterReport:
    """Ask the printer. Raise PrinterFault if it cannot be reached."""
    printer = open_printer(config, patience or PrinterPatience())
    status = printer.status()
    dpi = config.dpi or status.dpi
    return PrinterReport(config, dpi or printer.dpi, status)


def print_trial(config: PrinterConfig, trial: TrialLabel, size: Media | None, terminal: Terminal) -> PrintedTrial:
    """Print the label *trial* of *size*, by default that of the labels in the printer.

    Raise PrinterFault, or InputError if the labels are too small for it.
    """
    from rmfab.label.trial import Canvas, code_label, ruler_label

    if size is not None:
        config = replace(config, media=size)
    printer = open_printer(config)
    media = printer.status().media or config.media
    if media is None:
        media = USUAL_MEDIA
        terminal.warn(f"the printer does not report its labels: assuming {media}", "give --size, or media in [printer]")
    canvas = Canvas(*printable_dots(config, media, printer.dpi), printer.dpi)
    label = ruler_label(canvas) if trial is TrialLabel.RULER else code_label(canvas)
    return PrintedTrial(printer.address, printer.print_label(label), label.width, label.height, printer.dpi)
