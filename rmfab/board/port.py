"""Serial ports: opening one without resetting the board on it, and listing the connected ones.

pyserial opens devices and its own URLs; `rfc2217://` and `socket://` are ours. A port is locked from the first byte to
the last line of the boot log, so that no other program and no other rmfab talks to the same board.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import serial
from serial.tools import list_ports

from rmfab.board.access import access_hint, device_node
from rmfab.board.raw_socket import RawSocketPort
from rmfab.board.rfc2217 import Rfc2217Port
from rmfab.errors import PortError

ROM_BAUD = 115200
ANSWER_SECONDS = 3.0  # esptool waits as long for most answers: DEFAULT_TIMEOUT of its loader.py
_URL_PREFIXES = ("loop://", "spy://")
_BY_PATH = Path("/dev/serial/by-path")

R = TypeVar("R")


class SerialPort(Protocol):
    """The part of a pyserial port that the line uses, of any class."""

    port: str | None
    baudrate: int
    timeout: float | None
    write_timeout: float | None
    dtr: bool
    rts: bool
    is_open: bool

    def open(self) -> None:
        """Open the port with the settings made before."""

    def close(self) -> None:
        """Close the port; a second call does nothing."""

    @property
    def in_waiting(self) -> int:
        """Number of bytes that can be read at once."""

    def read(self, size: int = 1, /) -> bytes:
        """Return up to *size* bytes within the timeout."""

    def write(self, data: bytes, /) -> int | None:
        """Write *data*."""

    def reset_input_buffer(self) -> None:
        """Discard the received bytes."""


@dataclass(frozen=True)
class PluggedIn:
    """A port of this host: the *address* to open it by (its topology path if it has one), and its USB description.

    *usb*: its vendor and product id, such as `10c4:ea60`.
    """

    address: str
    device: str
    location: str
    description: str
    usb: str = ""

    def is_at(self, address: str) -> bool:
        """Return whether *address* means this port; udev names one device in several ways."""
        if "://" in address or "://" in self.address:
            return address == self.address
        return address == self.address or Path(address).resolve() == Path(self.device).resolve()


def open_port(address: str, keep_going: Callable[[], None] = lambda: None) -> SerialPort:
    """Open *address* at 115200 baud with DTR and RTS released.

    Raise PortError with a hint, and what *keep_going* raises.
    """
    try:
        port = _unopened(address, keep_going)
        port.baudrate = ROM_BAUD
        port.timeout = ANSWER_SECONDS
        port.write_timeout = 10.0  # as esptool: a port that accepts nothing must not block forever
        port.dtr = False
        port.rts = False
        port.open()
    except (serial.SerialException, OSError, ValueError) as error:
        raise _opening_error(address, error) from error
    return port


def _unopened(address: str, keep_going: Callable[[], None]) -> SerialPort:
    if address.startswith("rfc2217://"):
        remote: SerialPort = Rfc2217Port(keep_going)
        remote.port = address
        return remote
    if address.startswith("socket://"):
        raw: SerialPort = RawSocketPort(keep_going)
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


def absent_ports(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return those of *addresses* that are no port of this host. What is behind a URL shows only when it is opened.

    A port without a file, such as `COM7`, is looked for among all that are plugged in, which takes milliseconds.
    """
    paths = [address for address in addresses if "://" not in address and not Path(address).exists()]
    listed = plugged_in() if any(not path.startswith("/") for path in paths) else ()
    known = {name for port in listed for name in (port.address, port.device)}
    return tuple(address for address in paths if address not in known)


def _opening_error(address: str, error: Exception) -> PortError:
    cause = error.__context__  # pyserial's socket:// drops the errno
    number = getattr(error, "errno", None) or getattr(cause, "errno", None)
    if number is None and cause is not None and cause.args and isinstance(cause.args[0], int):
        number = cause.args[0]  # termios.error has no errno
    text = str(error)
    if number in _ABSENT or "FileNotFoundError" in text:
        hint = _FORMS if "://" in address else "use `rmfab ports` to list the ports"
        return PortError("port does not exist", where=address, hint=hint, cause="port-absent")
    if number in _OTHER_FILES:
        return PortError("this is not a serial port", where=address, hint=_FORMS, cause="port-failed")
    if number in (errno.EAGAIN, errno.EBUSY) or "exclusively lock" in text or "PermissionError" in text:
        return _busy(address)
    if number == errno.EACCES:
        return PortError(
            "no permission to open the port",
            where=address,
            hint=access_hint(device_node(address)),
            cause="port-denied",
        )
    if number in _UNREACHABLE or isinstance(cause, socket.gaierror):
        return PortError(
            "connection refused or host unreachable",
            where=address,
            hint="check host and port, and that the station's serial server is running",
            cause="port-absent",
        )
    why = getattr(cause, "strerror", None) or text
    return PortError(f"cannot open the port: {why}", where=address, hint=_FORMS, cause="port-failed")


_FORMS = "use a device such as /dev/ttyUSB0 or COM7, rfc2217://host:port or socket://host:port"
_OTHER_FILES = (errno.EISDIR, errno.ENOTTY)
_ABSENT = (errno.ENOENT, errno.ENXIO, errno.ENODEV)
_UNREACHABLE = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT)


def _busy(address: str) -> PortError:
    return PortError(
        "port is in use by another program",
        where=address,
        hint="close the other program (rmfab, a serial monitor, ModemManager)",
        cause="port-busy",
    )


def gone(address: str, error: Exception) -> PortError:
    """Return the PortError of a port that went away in the middle of a conversation."""
    hint = "check the cable and the board's power"
    if "://" in address:
        hint += ", and that the serial server is running and has no other client"
    why = getattr(error, "strerror", None) or error
    return PortError(f"the port went away: {why}", where=address, hint=hint, cause="port-gone")


def swapped(address: str) -> PortError:
    """Return the PortError of a slot on which the board was replaced during the work."""
    return PortError(
        "a different board is connected now",
        where=address,
        hint="run both boards again; do not change boards while the line works on a slot",
        cause="board-swapped",
    )


def guarded(address: str, work: Callable[[], R]) -> R:
    """Return the result of *work*; turn its serial and socket failures into the PortError of a port that went away."""
    try:
        return work()
    except (serial.SerialException, OSError) as error:
        raise gone(address, error) from error


def plugged_in() -> tuple[PluggedIn, ...]:
    """Return the USB serial ports of this host, in the order of their topology."""
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
                usb=f"{info.vid:04x}:{info.pid or 0:04x}",
            )
        )
    return tuple(sorted(found, key=lambda port: (port.location, port.device)))


def _by_path_links() -> dict[str, str]:
    """Map devices to `/dev/serial/by-path/…`; of two links the shorter, since udev also makes `usbv2` names."""
    if not _BY_PATH.is_dir():
        return {}
    links: dict[str, str] = {}
    for link in sorted(_BY_PATH.iterdir(), key=lambda path: (len(path.name), path.name)):
        links.setdefault(str(link.resolve()), str(link))
    return links
