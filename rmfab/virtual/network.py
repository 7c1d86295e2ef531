"""The Wi-Fi networks around a virtual board, which its scan finds and its station can join."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

_HOST_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_OPEN, _WPA2_PSK = 0, 3  # wifi_auth_mode_t


@dataclass(frozen=True)
class Route:
    """A host of the Internet: connections to *name* go to *address*, an IP address, and *port*."""

    name: str
    address: str
    port: int

    def __post_init__(self) -> None:
        if not _HOST_NAME.fullmatch(self.name):
            raise ValueError(f'"{self.name}" is not a host name')
        ipaddress.ip_address(self.address)
        if not 1 <= self.port <= 65535:
            raise ValueError("a port must be 1 to 65535")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `NAME=ADDRESS:PORT`; an IPv6 address is in brackets. Raise ValueError."""
        name, _, target = text.partition("=")
        address, _, port = target.rpartition(":")
        if not port.isdecimal():
            raise ValueError(f'"{text}" is not NAME=ADDRESS:PORT')
        return cls(name, address.removeprefix("[").removesuffix("]"), int(port))


@dataclass(frozen=True)
class AccessPoint:
    """One network.

    *rssi* is in dBm; an empty *password* means an open network. *routes*: the hosts that can be reached. Without any,
    no packet leaves a board: its firmware pretends that it has reached its broker.
    """

    ssid: str
    rssi: int = -50
    channel: int = 6
    password: str = field(default="", repr=False)
    routes: tuple[Route, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.ssid.encode()) <= 32:
            raise ValueError("an SSID must be 1 to 32 bytes")
        if not -127 <= self.rssi <= 0 or not 1 <= self.channel <= 14:
            raise ValueError("an RSSI must be -127 to 0 dBm, a channel 1 to 14")
        if self.password and not 8 <= len(self.password.encode()) <= 63:
            raise ValueError("a password must be 8 to 63 bytes, or empty")

    @property
    def bssid(self) -> bytes:
        """Six bytes derived from the SSID."""
        return b"\x02" + hashlib.sha256(self.ssid.encode()).digest()[:5]

    @property
    def auth(self) -> int:
        """The WifiAuthMode of the scan messages."""
        return _WPA2_PSK if self.password else _OPEN

    def route(self, name: str) -> Route | None:
        """Return where the host *name* is; None if its name cannot be resolved."""
        return next((route for route in self.routes if route.name == name.lower()), None)

    def to_json(self) -> dict[str, Any]:
        """Return the network as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> AccessPoint:
        """Return the network that `to_json` wrote."""
        return cls(**{**values, "routes": tuple(Route(**route) for route in values["routes"])})


FACTORY_NETWORK = AccessPoint("rmfab-factory", -47, 6, "factory-floor")
NEIGHBOURS = (FACTORY_NETWORK, AccessPoint("Canteen", -71, 1), AccessPoint("Forklift 3", -84, 11, "battery-low"))


def with_routes(*routes: Route) -> tuple[AccessPoint, ...]:
    """Return the usual networks, from the factory's of which *routes* lead somewhere."""
    return (replace(FACTORY_NETWORK, routes=routes), *NEIGHBOURS[1:])
