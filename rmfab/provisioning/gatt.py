"""A unit's GATT server: found by its advertised name, endpoints by their descriptions. The only import of bleak.

All functions run in an event loop of the caller. bleak is an optional dependency (extra `ble`), imported only when a
unit is looked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmfab.provisioning.failures import LinkError, ProtocolError
from rmfab.provisioning.transport import VERSION

if TYPE_CHECKING:
    from bleak import BleakClient
    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.client import BaseBleakClient
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData, BaseBleakScanner

_DESCRIPTION = "00002901-"  # Characteristic User Description descriptor, 0x2901
_ATT_HEADER_BYTES = 3
_RSSI_DBM = range(-127, 21)  # Bluetooth Core 5.4, vol 4, part E, 7.7.65.2; 127 stands for "not available"


@dataclass(frozen=True)
class Backends:
    """The implementations of bleak's scanner and client; None is this host's own Bluetooth."""

    scanner: type[BaseBleakScanner] | None = None
    client: type[BaseBleakClient] | None = None


@dataclass(frozen=True)
class Found:
    """A unit that advertises; *rssi* in dBm at the station, None if the host does not know it."""

    device: BLEDevice
    rssi: int | None


class Server:
    """A connected unit: its endpoints by name, and the *mtu* of the connection in bytes."""

    def __init__(self, client: BleakClient, endpoints: dict[str, BleakGATTCharacteristic]) -> None:
        self._client = client
        self._endpoints = endpoints
        self.mtu = endpoints[VERSION].max_write_without_response_size + _ATT_HEADER_BYTES

    @property
    def connected(self) -> bool:
        """Whether the connection is open."""
        return bool(self._client.is_connected)

    def __contains__(self, endpoint: str) -> bool:
        return endpoint in self._endpoints

    async def exchange(self, endpoint: str, data: bytes) -> bytes:
        """Write with response, then read the same characteristic. Raise what bleak raises."""
        characteristic = self._endpoints[endpoint]
        await self._client.write_gatt_char(characteristic, data, response=True)
        return bytes(await self._client.read_gatt_char(characteristic))

    async def disconnect(self) -> None:
        """End the connection."""
        await self._client.disconnect()


async def find(name: str, adapter: str | None, seconds: float, backends: Backends) -> Found:
    """Scan until a unit advertises exactly *name*. Raise LinkError, or what bleak raises."""
    bleak = import_bleak()
    others: set[str] = set()
    rssi = 0

    def wanted(device: BLEDevice, seen: AdvertisementData) -> bool:
        nonlocal rssi
        if name not in (seen.local_name, device.name if seen.local_name is None else None):
            others.add(device.address)
            return False
        rssi = seen.rssi
        return True

    scanner = {} if backends.scanner is None else {"backend": backends.scanner}
    device = await bleak.BleakScanner.find_device_by_filter(wanted, seconds, **_adapter(adapter), **scanner)
    if device is None:
        raise LinkError(
            f"no unit advertised the name {name} within {seconds:g} s (other devices: {len(others)})",
            where=adapter,
            hint="check distance and antennas, and that no other phone or station is connected to the unit",
            cause="not-advertising",
        )
    return Found(device, rssi if rssi in _RSSI_DBM else None)


async def connect(found: Found, adapter: str | None, seconds: float, backends: Backends) -> Server:
    """Connect and read the names of the endpoints. Raise ProtocolError, or what bleak raises."""
    bleak = import_bleak()
    client = bleak.BleakClient(found.device, timeout=seconds, backend=backends.client, **_adapter(adapter))
    await client.connect()
    try:
        endpoints = {}
        for characteristic in client.services.characteristics.values():
            for descriptor in characteristic.descriptors:
                if descriptor.uuid.startswith(_DESCRIPTION):
                    told = await client.read_gatt_descriptor(descriptor)
                    endpoints[bytes(told).decode("utf-8", "replace").rstrip("\0")] = characteristic
        if VERSION not in endpoints:
            raise ProtocolError("the unit's GATT server has no provisioning endpoints", cause="no-endpoint")
        return Server(client, endpoints)
    except BaseException:
        await client.disconnect()
        raise


def import_bleak() -> Any:
    """Return the package bleak. Raise LinkError if it is not installed."""
    try:
        import bleak
    except ImportError as error:
        raise LinkError(
            "provisioning over Bluetooth requires bleak",
            hint="pip install '.[ble]' in rmfab's checkout",
            cause="no-bleak",
        ) from error
    return bleak


def _adapter(adapter: str | None) -> dict[str, Any]:
    """Return bleak's arguments for an adapter: only BlueZ has several."""
    return {} if adapter is None else {"bluez": {"adapter": adapter}}
