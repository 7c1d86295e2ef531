"""A device file as a printer's port (Linux): a pseudo-terminal under a symbolic link."""

from __future__ import annotations

import os
import pty
import select
import threading
import tty
from contextlib import suppress
from pathlib import Path

from rmfab.errors import StationError
from rmfab.virtual.printers.desk import PrinterDesk

_READ = 1 << 14


class DevicePort:
    """The link *name* to a terminal; while the printer is off, there is none."""

    def __init__(self, desk: PrinterDesk, name: Path) -> None:
        self._desk = desk
        self._name = name
        self._open()
        desk.powered = lambda on: self._open() if on else self.close()

    def _open(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        try:
            self._name.unlink(missing_ok=True)
            self._name.symlink_to(os.ttyname(self._slave))
        except OSError as error:
            raise StationError(f"cannot make this device file: {error.strerror}", where=str(self._name)) from None
        self._wake, self._end = os.pipe()
        threading.Thread(target=self._run, args=(self._master, self._slave, self._wake), daemon=True).start()

    def close(self) -> None:
        """Remove it: clients read an error."""
        self._name.unlink(missing_ok=True)
        with suppress(OSError):
            os.close(self._end)

    def _run(self, master: int, slave: int, wake: int) -> None:
        self._desk.connect(lambda data: _write(master, data))
        while wake not in select.select([master, wake], [], [])[0]:
            with suppress(BlockingIOError):
                self._desk.feed(os.read(master, _READ))
        self._desk.disconnect()
        for descriptor in (slave, master, wake):
            os.close(descriptor)


def _write(master: int, data: bytes) -> None:
    """Write an answer; what does not fit is lost because no host reads it."""
    with suppress(BlockingIOError):
        os.write(master, data)
