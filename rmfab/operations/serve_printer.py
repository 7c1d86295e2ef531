"""A virtual printer on this host, for tests and to try the line without hardware."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import UsageError
from rmfab.label.printers.media import Media
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.virtual.printers.faults import PrinterTroubleCall
from rmfab.virtual.printers.ql_rolls import ROLL_AREAS
from rmfab.virtual.printers.serving import PrinterHandle, serve_printer
from rmfab.virtual.printers.spec import PrinterKind, VirtualPrinterSpec

FOLDER = Path("printer")
"""Where the labels come out by default."""
TCP_PORT = 9100
_USUAL = {
    PrinterKind.ZPL: (203, Media(40, 30)),
    PrinterKind.QL: (300, Media(62, 29)),
    PrinterKind.TSPL: (203, Media(40, 30)),
}


@dataclass(frozen=True)
class VirtualPrinterRequest:
    """Serve a printer of *kind* at *address* and *tcp_port*, 0 for a free one, or at the device file *device*.

    *dpi* and *media* are the usual ones if None. *pace*: how long a label takes, 1 as a real printer, 0 at once. Raise
    UsageError for a Brother QL that does not exist.
    """

    kind: PrinterKind = PrinterKind.ZPL
    address: str = "127.0.0.1"
    tcp_port: int = TCP_PORT
    device: Path | None = None
    folder: Path = FOLDER
    dpi: int | None = None
    media: Media | None = None
    pace: float = 1.0
    faults: tuple[PrinterTroubleCall, ...] = ()

    def __post_init__(self) -> None:
        if self.device is not None and os.name != "posix":
            raise UsageError("a device file requires Linux", hint="leave --device out")
        spec = self.spec
        if self.kind is PrinterKind.QL and (spec.dpi != 300 or (spec.width, spec.height or 0) not in ROLL_AREAS):
            rolls = ", ".join(f"{width}x{length}" if length else f"{width}" for width, length in ROLL_AREAS)
            raise UsageError("a Brother QL has 300 dpi and one of its own rolls", hint=f"--media {rolls}")

    @property
    def spec(self) -> VirtualPrinterSpec:
        """The properties of the printer."""
        dpi, usual = _USUAL[self.kind]
        media = self.media or usual
        return VirtualPrinterSpec(self.kind, self.dpi or dpi, media.width, media.height, self.pace)


@contextmanager
def serve_virtual_printer(request: VirtualPrinterRequest, terminal: Terminal = UNATTENDED) -> Iterator[PrinterHandle]:
    """Start the printer, yield it, and stop it at the end. Raise StationError if it cannot listen."""
    folder = request.folder.absolute()
    with serve_printer(
        request.spec,
        folder,
        host=request.address,
        port=request.tcp_port,
        device=request.device,
        troubles=request.faults,
    ) as handle:
        warn_of_git(terminal, "the PoPs on labels", folder / "000001.png", shown=folder)
        yield handle
