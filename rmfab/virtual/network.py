"""The Wi-Fi networks around a virtual board, which its scan finds and its station can join."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

_OPEN, _WPA2_PSK = 0, 3  # wifi_auth_mode_t


@dataclass(frozen=True)
class AccessPoint:
    """One network. *rssi* is in dBm; an empty *password* means an open network."""

    ssid: str
    rssi: int = -50
    channel: int = 6
    password: str = field(default="", repr=False)

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

    def to_json(self) -> dict[str, Any]:
        """Return the network as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> AccessPoint:
        """Return the network that `to_json` wrote."""
        return cls(**values)


FACTORY_NETWORK = AccessPoint("rmfab-factory", -47, 6, "factory-floor")
NEIGHBOURS = (FACTORY_NETWORK, AccessPoint("Canteen", -71, 1), AccessPoint("Forklift 3", -84, 11, "battery-low"))
