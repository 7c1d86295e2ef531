"""A folder as a printer: one PNG per label, for tests and for printers that a different program feeds."""

from __future__ import annotations

import re

from rmfab.errors import RmfabError
from rmfab.files import locked, make_folder, write_file
from rmfab.label.printers.address import FolderPlace
from rmfab.label.printers.configuration import PrinterConfig
from rmfab.label.printers.document import png_of
from rmfab.label.printers.printer import Delivery, PrinterFault, PrinterStatus
from rmfab.label.raster import Raster

USUAL_DPI = 203
_NUMBERED = re.compile(r"([0-9]{6,12})\.png")


class FolderPrinter:
    """Writes 000001.png, 000002.png … (mode 0600), each with its resolution. The folder is made with mode 0700."""

    def __init__(self, config: PrinterConfig, place: FolderPlace) -> None:
        self._config = config
        self._folder = place.path

    @property
    def address(self) -> str:
        """The address, as station.toml has it."""
        return self._config.address.text

    @property
    def dpi(self) -> int:
        """The configured resolution, else 203."""
        return self._config.dpi or USUAL_DPI

    def status(self) -> PrinterStatus:
        """Make the folder if it is missing. Raise PrinterFault if that fails."""
        try:
            make_folder(self._folder, secret=True)
        except RmfabError as error:
            raise self._fault(error) from error
        return PrinterStatus(True, "folder", self.dpi, self._config.media)

    def print_label(self, label: Raster, copies: int = 1) -> Delivery:
        """Write one file per copy. Raise PrinterFault."""
        self.status()
        begun = False
        try:
            with locked(self._folder / ".lock"):
                first = self._next()
                for number in range(first, first + copies):
                    write_file(self._folder / f"{number:06}.png", png_of(label, self.dpi), secret=True)
                    begun = True
        except (RmfabError, OSError) as error:
            raise self._fault(error, in_doubt=begun) from error
        return Delivery.PRINTED

    def _next(self) -> int:
        found = (_NUMBERED.fullmatch(path.name) for path in self._folder.iterdir())
        return 1 + max((int(one[1]) for one in found if one), default=0)

    def _fault(self, error: RmfabError | OSError, *, in_doubt: bool = False) -> PrinterFault:
        what = error.what if isinstance(error, RmfabError) else (error.strerror or str(error))
        hint = error.hint if isinstance(error, RmfabError) else None
        return PrinterFault(what, where=self.address, hint=hint, cause="printer-folder", in_doubt=in_doubt)
