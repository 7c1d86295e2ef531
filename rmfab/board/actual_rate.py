"""The rate that a port really runs at, and which USB bridge it is.

A driver lowers a rate that its bridge does not have, silently; the terminal's settings then contain the rate in force
(termios(3), and `ioctl_tty(2)` TCGETS2 for rates without a name). A server of RFC 2217 answers with it.
"""

from __future__ import annotations

import array
import sys
from contextlib import suppress

import serial

from rmfab.board.bridges import known_bridge, signed_usb
from rmfab.board.native_usb import usb_ids
from rmfab.board.port import SerialPort
from rmfab.board.rfc2217 import Rfc2217Port

_TCGETS2 = 0x802C542A  # Linux <asm-generic/ioctls.h>
_OSPEED = 10  # index of c_ospeed among the 32-bit words of struct termios2


def actual_rate(port: SerialPort) -> int | None:
    """Return the rate in force, None if the port does not tell."""
    if isinstance(port, Rfc2217Port):
        return port.confirmed_baud()
    if not isinstance(port, serial.Serial) or not sys.platform.startswith("linux"):
        return None
    import fcntl

    words = array.array("I", bytes(64))
    with suppress(OSError):  # architectures with a different number of this ioctl
        fcntl.ioctl(port.fileno(), _TCGETS2, words, True)
    return words[_OSPEED] or None


def usb_of(port: SerialPort, address: str) -> str | None:
    """Return the USB ids of the bridge at *address*, None if this host cannot know them.

    A server has had the time of a restart to send its signature; one that has not sent it does not make a board wait.
    """
    if isinstance(port, Rfc2217Port):
        _ = port.in_waiting  # takes in what has arrived
        return signed_usb(port.signature)
    return usb_ids(address)


def pass_answers_on_at_once(port: SerialPort, usb: str | None) -> None:
    """Set an FTDI bridge to its low latency; otherwise it keeps each answer for 16 ms."""
    bridge = known_bridge(usb)
    if bridge is None or not bridge.sixteen_ms or not isinstance(port, serial.Serial):
        return
    if sys.platform.startswith("linux"):
        with suppress(OSError, ValueError):  # a driver without this setting is only slower
            port.set_low_latency_mode(True)
