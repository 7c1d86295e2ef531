"""The control commands of a virtual board: what the hand of an operator, or a fixture, does to a real one."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True)
class ControlCommand:
    """A command: its *form*, and its *summary* for the help of `rmfab board`."""

    form: str
    summary: str


CONTROL_COMMANDS = (
    ControlCommand("restart", "pull EN for a moment"),
    ControlCommand("strap download|run", "set the boot pin while no host drives it"),
    ControlCommand("power on|off", "switch the supply"),
    ControlCommand("vanish", "take the board out of its port"),
    ControlCommand("return", "put it back"),
    ControlCommand("swap [FAULT]...", "put a different, blank board into the port, with these faults"),
    ControlCommand("fault NAME|none", "add a fault, or remove all"),
    ControlCommand("network none", "take all Wi-Fi networks away"),
    ControlCommand("network SSID RSSI [PASSWORD]", "add a Wi-Fi network, or change one"),
    ControlCommand("ota URL [CAFILE]", "update over the air"),
    ControlCommand("state", "print the state as JSON"),
)
_LONGEST_ANSWER = 1 << 16


def ask(address: str, command: str, seconds: float) -> str:
    """Send *command* to the control socket at *address*, `host:port`; return its answer, empty if there is none.

    Raise OSError if it does not answer within *seconds*, ValueError if the answer is not UTF-8.
    """
    host, _, number = address.rpartition(":")
    with socket.create_connection((host, int(number)), timeout=seconds) as connection:
        connection.sendall(command.encode() + b"\n")
        return connection.makefile("rb").readline(_LONGEST_ANSWER).decode().strip()
