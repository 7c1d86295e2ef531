"""The one door to all printers: from a configuration to a `LabelPrinter`."""

from __future__ import annotations

from rmfab.label.printers.address import DevicePlace, FolderPlace, IppPlace, PrinterAddress, PrinterLanguage, TcpPlace
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.direct_printer import Dialect, DirectPrinter
from rmfab.label.printers.patience import PrinterPatience
from rmfab.label.printers.printer import LabelPrinter

_PATIENCE = PrinterPatience()


def open_printer(printer: PrinterConfig | str, patience: PrinterPatience = _PATIENCE) -> LabelPrinter:
    """Return the printer of a configuration, or at an address. Nothing is sent or opened before it is asked.

    Raise InputError if the address is not one.
    """
    config = PrinterConfig(PrinterAddress.parse(printer)) if isinstance(printer, str) else printer
    match config.address.place:
        case FolderPlace() as place:
            from rmfab.label.printers.folder_printer import FolderPrinter

            return FolderPrinter(config, place)
        case IppPlace() as place:
            from rmfab.label.printers.ipp_printer import IppPrinter

            return IppPrinter(config, place, _dialect(config) if config.address.language else None, patience)
        case TcpPlace() | DevicePlace() as place:
            return DirectPrinter(config, place, _dialect(config), patience)


def _dialect(config: PrinterConfig) -> Dialect:
    match config.address.language:
        case PrinterLanguage.QL:
            from rmfab.label.printers.ql_dialect import QlDialect

            return QlDialect(config)
        case PrinterLanguage.TSPL:
            from rmfab.label.printers.tspl_dialect import TsplDialect

            return TsplDialect(config)
        case _:
            from rmfab.label.printers.zpl_dialect import ZplDialect

            return ZplDialect(config)
