"""The one door to all printers: from a configuration to a `LabelPrinter`."""

from __future__ import annotations

from rmfab.label.printers.address import FolderPlace, PrinterAddress
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.printer import LabelPrinter, PrinterFault


def open_printer(printer: PrinterConfig | str) -> LabelPrinter:
    """Return the printer of a configuration, or at an address. Nothing is sent or opened before it is asked.

    Raise InputError if the address is not one.
    """
    config = PrinterConfig(PrinterAddress.parse(printer)) if isinstance(printer, str) else printer
    place = config.address.place
    if isinstance(place, FolderPlace):
        from rmfab.label.printers.folder_printer import FolderPrinter

        return FolderPrinter(config, place)
    raise PrinterFault("no printer of this kind yet", where=config.address.text)
