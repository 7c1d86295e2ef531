"""Ports of chips with native USB: a restart takes the port away, and it comes back a moment later.

The USB serial number of such a port is the chip's MAC, so a different board in its place is detected. The ports of
adapters do not go away on a restart: one that does was unplugged, and is not opened again.
Source: ESP-IDF programming guide, USB Serial/JTAG controller; USB ids of Espressif (303A:1001, OTG 303A:0002 …).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import serial
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from rmfab.board.port import SerialPort, gone, open_port, swapped
from rmfab.errors import PortError

_ESPRESSIF_VID = 0x303A
_LEAVING_SECONDS = 0.6
_RETURN_SECONDS = 8.0
_POLL_SECONDS = 0.05

UsbNumber = Callable[[str], str | None]


def is_native_usb(address: str) -> bool | None:
    """Return whether *address* is a chip's native USB; None if this host cannot know, as of a port on the network."""
    if "://" in address:
        return None
    info = _listed(address)
    return None if info is None else info.vid == _ESPRESSIF_VID


def usb_number(address: str) -> str | None:
    """Return the USB serial number at *address* if that is a chip's native USB; None for any other port, or none."""
    info = None if "://" in address else _listed(address)
    return (info.serial_number or "") if info is not None and info.vid == _ESPRESSIF_VID else None


def usb_ids(address: str) -> str | None:
    """Return vendor and product id at *address* as `10c4:ea60`, None for a port that is not USB or not of this host."""
    info = None if "://" in address else _listed(address)
    if info is None or info.vid is None or info.pid is None:
        return None
    return f"{info.vid:04x}:{info.pid:04x}"


def _listed(address: str) -> ListPortInfo | None:
    device = str(Path(address).resolve())
    names = ((info, (info.device, str(Path(info.device).resolve()))) for info in list_ports.comports())
    return next((info for info, both in names if device in both), None)


def returned(
    port: SerialPort,
    address: str,
    before: str,
    number: UsbNumber = usb_number,
    *,
    keep_going: Callable[[], None] = lambda: None,
) -> SerialPort:
    """Return the port of a chip with native USB after a restart: *port* if it stayed, or the one at *address* now.

    *before* is its USB serial number before the restart. Raise PortError if the port stays away or comes back with a
    different number, and what *keep_going* raises.
    """
    if _stays(port):
        if number(address) not in (None, before):  # esptool too reopens a port that goes away briefly
            raise swapped(address)
        return port
    port.close()
    deadline = time.monotonic() + _RETURN_SECONDS
    while True:
        keep_going()
        now = number(address)
        if now is not None and now != before:
            raise swapped(address)
        try:
            if now is not None:
                return open_port(address)
        except PortError as error:
            if time.monotonic() >= deadline:
                raise
            last: Exception = error
        else:
            last = OSError("it did not come back after the restart")
        if time.monotonic() >= deadline:
            raise gone(address, last)
        time.sleep(_POLL_SECONDS)


def _stays(port: SerialPort) -> bool:
    """Return whether the port is still there 0.6 s after the restart."""
    deadline = time.monotonic() + _LEAVING_SECONDS
    try:
        while time.monotonic() < deadline and not port.in_waiting:
            time.sleep(_POLL_SECONDS)
    except (serial.SerialException, OSError):
        return False
    return True
