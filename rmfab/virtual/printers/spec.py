"""The properties of a virtual printer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

MM_PER_INCH = 25.4


@unique
class PrinterKind(StrEnum):
    """What a virtual printer speaks."""

    ZPL = "zpl"
    QL = "ql"
    TSPL = "tspl"


_MODELS = {PrinterKind.ZPL: "ZD421-{dpi}dpi", PrinterKind.QL: "QL-820NWB", PrinterKind.TSPL: "TE{hundreds}"}
_HEAD_INCHES = 4.1
_QL_HEAD = 720


@dataclass(frozen=True)
class VirtualPrinterSpec:
    """A printer: its *dpi*, its labels of *width* x *height* mm (height None: continuous), and its *pace*.

    *pace*: how long a label takes, as a multiple of a real printer's time at 4 inches per second; 0 is at once.
    """

    kind: PrinterKind
    dpi: int
    width: float
    height: float | None
    pace: float = 1.0

    @property
    def model(self) -> str:
        """Its name for itself."""
        return _MODELS[self.kind].format(dpi=self.dpi, hundreds=self.dpi // 100 * 100)

    @property
    def head_dots(self) -> int:
        """The dots of its print head."""
        return _QL_HEAD if self.kind is PrinterKind.QL else int(_HEAD_INCHES * self.dpi) // 8 * 8

    def dots(self, mm: float) -> int:
        """Return a length in dots."""
        return round(mm / MM_PER_INCH * self.dpi)
