"""Serial ports: opening one without resetting the board on it, and listing what is plugged in.

pyserial opens devices and its other URLs; `rfc2217://` and `socket://` are ours. A port is held exclusively from the
first byte to the last line of the boot log, so that no other program and no other rmfab talks to the same board.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import serial
from serial.tools import list_ports

from rmfab.board.raw_socket import RawSocketPort
from rmfab.board.rfc2217 import Rfc2217Port
from rmfab.errors import PortError

ROM_BAUD = 115200
_URL_PREFIXES = ("loop://", "spy://")
_BY_PATH = Path("/dev/serial/by-path")

R = TypeVar("R")


class SerialPort(Protocol):
    """What the line uses of a pyserial port, whatever class opened it."""

    port: str | None
    baudrate: int
    timeout: float | None
    dtr: bool
    rts: bool
    is_open: bool

    def open(self) -> None:
        """Opens the port with the settings made before."""

    def close(self) -> None:
        """Closes it; a second call does nothing."""

    @property
    def in_waiting(self) -> int:
        """Bytes that can be read at once."""

    def read(self, size: int = 1, /) -> bytes:
        """Up to *size* bytes within the timeout."""

    def write(self, data: bytes, /) -> int | None:
        """Writes *data*."""

    def reset_input_buffer(self) -> None:
        """Discards what was received."""


@dataclass(frozen=True)
class PluggedIn:
    """A port of this host: *address* to open it by (its topology path where there is one), and what it says it is."""

    address: str
    device: str
    location: str
    description: str


def open_port(address: str) -> SerialPort:
    """Opens *address* at 115200 baud with DTR and RTS released. Raises PortError saying what to do."""
    try:
        port = _unopened(address)
        port.baudrate = ROM_BAUD
        port.timeout = 3.0
        port.dtr = False
        port.rts = False
        port.open()
    except (serial.SerialException, OSError, ValueError) as error:
        raise _opening_error(address, error) from error
    return port


def _unopened(address: str) -> SerialPort:
    if address.startswith("rfc2217://"):
        remote: SerialPort = Rfc2217Port()
        remote.port = address
        return remote
    if address.startswith("socket://"):
        raw: SerialPort = RawSocketPort()
        raw.port = address
        return raw
    if address.startswith(_URL_PREFIXES):
        url_port: SerialPort = serial.serial_for_url(address, do_not_open=True)
        return url_port
    local = serial.Serial()
    local.port = address
    if sys.platform != "win32":
        local.exclusive = True
    return local


def _opening_error(address: str, error: Exception) -> PortError:
    cause = error.__context__  # pyserial's socket:// keeps the number of the error to itself
    number = getattr(error, "errno", None) or getattr(cause, "errno", None)
    text = str(error)
    if number in _ABSENT or "FileNotFoundError" in text:
        return PortError(
            "this port does not exist", where=address, hint="`rmfab ports` lists the ports", cause="port-absent"
        )
    if number in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in text or "PermissionError" in text:
        return _busy(address)
    if number == errno.EACCES:
        return PortError(
            "no permission to open this port",
            where=address,
            hint="add yourself to the group dialout (Debian) or uucp (Arch) and log in again",
            cause="port-denied",
        )
    if number in _UNREACHABLE or isinstance(cause, socket.gaierror):
        return PortError(
            "nothing listens there",
            where=address,
            hint="is the station's serial server running, and host and port right?",
            cause="port-absent",
        )
    return PortError(
        f"cannot open this port: {text}",
        where=address,
        hint="a port is a device such as /dev/ttyUSB0 or COM7, rfc2217://host:port or socket://host:port",
        cause="port-failed",
    )


_ABSENT = (errno.ENOENT, errno.ENXIO, errno.ENODEV)
_UNREACHABLE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT)


def _busy(address: str) -> PortError:
    return PortError(
        "this port is in use by another program",
        where=address,
        hint="close the other rmfab, serial monitor or ModemManager that holds it",
        cause="port-busy",
    )


def gone(address: str, error: Exception) -> PortError:
    """The PortError of a port that went away in the middle of a conversation."""
    hint = "check the cable and the board's power"
    if "://" in address:
        hint += "; is the serial server running, and no other client on this port?"
    why = getattr(error, "strerror", None) or error
    return PortError(f"the port went away: {why}", where=address, hint=hint, cause="port-gone")


def swapped(address: str) -> PortError:
    """The PortError of a slot on which another board answers than the one that the line worked on."""
    return PortError(
        "another board answers now than before",
        where=address,
        hint="do not change boards while the line works on a slot; run both again",
        cause="board-swapped",
    )


def guarded(address: str, work: Callable[[], R]) -> R:
    """The result of *work*; a serial or socket failure in it becomes the PortError of a port that went away."""
    try:
        return work()
    except (serial.SerialException, OSError) as error:
        raise gone(address, error) from error


def plugged_in() -> tuple[PluggedIn, ...]:
    """The USB serial ports of this host, in the order of their topology."""
    by_device = _by_path_links()
    found = []
    for info in list_ports.comports():
        if info.vid is None:
            continue
        found.append(
            PluggedIn(
                address=by_device.get(str(Path(info.device).resolve()), info.device),
                device=info.device,
                location=info.location or "",
                description=info.description or info.product or "",
            )
        )
    return tuple(sorted(found, key=lambda port: (port.location, port.device)))


def _by_path_links() -> dict[str, str]:
    """Device to `/dev/serial/by-path/…`; of two names of one port the shorter (udev also makes `usbv2` names)."""
    if not _BY_PATH.is_dir():
        return {}
    links: dict[str, str] = {}
    for link in sorted(_BY_PATH.iterdir(), key=lambda path: (len(path.name), path.name)):
        links.setdefault(str(link.resolve()), str(link))
    return links
