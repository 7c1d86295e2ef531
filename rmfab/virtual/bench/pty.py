"""A pseudo-terminal as a board's port (Linux): fast and supported by every tool, but without reset lines.

The slave side is kept open here, so that its raw mode persists and a host that closes it causes no hang-up. The baud
rate is read from the terminal's settings.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import pty
import termios
import tty
from pathlib import Path

from rmfab.virtual.bench.board import Board

_TCGETS2 = 0x802C542A  # Linux <asm-generic/ioctls.h>
_OSPEED = 10  # index of c_ospeed among the 32-bit words of struct termios2
_READ = 1 << 16


class PtyPort:
    """A terminal under the symbolic link *name*."""

    _board: Board

    def __init__(self, name: Path) -> None:
        self.url = str(name)
        self._name = name
        self._master = -1
        self._slave = -1

    def attach(self, board: Board) -> None:
        """Put *board* behind the port."""
        self._board = board
        board.uart.to_host = self._send

    async def open(self) -> None:
        """Create the terminal and its link."""
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        self._name.unlink(missing_ok=True)
        self._name.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._readable)

    def vanish(self) -> None:
        """Remove the terminal; its link needs no reservation."""
        self.close()

    def close(self) -> None:
        """Remove the terminal: its host reads an error."""
        if self._master < 0:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        self._name.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)
        self._master = self._slave = -1

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._master, _READ)
            self._board.uart.host_baud = self._baud()
            self._board.uart.from_host(data)

    def _send(self, data: bytes) -> None:
        """Write to the terminal; what does not fit into its queue is lost because no host reads it."""
        if self._master < 0:
            return
        self._board.uart.host_baud = self._baud()
        view = memoryview(data)
        with contextlib.suppress(BlockingIOError):
            while view:
                view = view[os.write(self._master, view) :]

    def _baud(self) -> int:
        words = array.array("I", bytes(64))
        fcntl.ioctl(self._slave, _TCGETS2, words, True)
        return words[_OSPEED] or 115200
