"""Who watches ports come and go: the interface, and the USB ports of this host."""

from __future__ import annotations

from typing import Protocol

from rmfab.board.port import PluggedIn, plugged_in


class PortWatch(Protocol):
    """The ports at which boards can be plugged in."""

    def look(self) -> tuple[PluggedIn, ...]:
        """Return the ports that are there now."""

    def unit(self, port: PluggedIn) -> str | None:
        """Return the URL at which the running unit on *port* serves provisioning, None if a radio finds it."""


class UsbWatch:
    """The USB serial ports of this host."""

    def look(self) -> tuple[PluggedIn, ...]:
        """Return the ports that are plugged in now."""
        return plugged_in()

    def unit(self, port: PluggedIn) -> str | None:  # noqa: ARG002 - PortWatch
        """Return None: a radio finds the unit."""
        return None
