"""Chips whose own USB is the port: a restart takes the port away, and it comes back a moment later.

Its USB serial number is the chip's MAC, so that another board in its place is seen. Ports of adapters never go away by
a restart: where one does, it was pulled out, and nothing is opened again.
Source: ESP-IDF programming guide, USB Serial/JTAG controller; USB ids of Espressif (303A:1001, OTG 303A:0002 …).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import serial
from serial.tools import list_ports

from rmfab.board.port import SerialPort, gone, open_port, swapped
from rmfab.errors import PortError

_ESPRESSIF_VID = 0x303A
_LEAVING_SECONDS = 0.6
_RETURN_SECONDS = 8.0
_POLL_SECONDS = 0.05

UsbNumber = Callable[[str], str | None]


def usb_number(address: str) -> str | None:
    """The USB serial number at *address* where that is a chip's own USB; None for any other port, or for none."""
    if "://" in address:
        return None
    device = str(Path(address).resolve())
    for info in list_ports.comports():
        if device in (info.device, str(Path(info.device).resolve())):
            return (info.serial_number or "") if info.vid == _ESPRESSIF_VID else None
    return None


def returned(port: SerialPort, address: str, before: str, number: UsbNumber = usb_number) -> SerialPort:
    """The port of a chip with own USB after a restart: *port* where it stayed, or what is at *address* now.

    *before* is its USB serial number from before the restart. Raises PortError where the port stays away, or comes
    back with another number.
    """
    if _stays(port):
        if number(address) not in (None, before):  # esptool, too, opens a port again that goes away for a moment
            raise swapped(address)
        return port
    port.close()
    deadline = time.monotonic() + _RETURN_SECONDS
    while True:
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
    """Whether the port is still there some moments after the restart."""
    deadline = time.monotonic() + _LEAVING_SECONDS
    try:
        while time.monotonic() < deadline and not port.in_waiting:
            time.sleep(_POLL_SECONDS)
    except (serial.SerialException, OSError):
        return False
    return True
