"""A GATT server in memory behind bleak's backend interface, with bleak's real scanner and client above it."""

from __future__ import annotations

import asyncio
from typing import Any

from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError, BleakGATTProtocolError

from rmfab.provisioning.gatt import Backends
from tests.provisioning.device import Device

SERVICE = "021a9004-0382-4aea-bff4-6b3f1c5adfb4"
ENDPOINTS = ("prov-ctrl", "prov-scan", "prov-session", "prov-config", "proto-ver", "ch_resp")


class World:
    """The air of one test: the advertising units, the connected ones, and the faults."""

    def __init__(self, device: Device, name: str = "PROV_ab12cd", endpoints: tuple[str, ...] = ENDPOINTS) -> None:
        self.device = device
        self.name = name
        self.endpoints = endpoints
        self.advertises = True
        self.bystanders = ["PROV_ab12ce", "PROV_ab12cd0", "Headphones"]
        self.rssi = -61
        self.connects = 0
        self.connected = 0
        self.most_connected = 0
        self.refuse_connects = 0
        self.drop_at: set[int] = set()
        self.vanish_at: int | None = None
        self.stall_at: int | None = None
        self.att_error_at: int | None = None
        self.adapters: list[object] = []
        self.writes: list[tuple[str, bool]] = []

    def backends(self) -> Backends:
        """Return scanner and client of this world, for bleak."""
        told = {"world": self}
        return Backends(type("WorldScanner", (Scanner,), told), type("WorldClient", (Client,), told))


class Scanner(BaseBleakScanner):
    world: World

    def __init__(self, callback: Any, service_uuids: Any, mode: Any, *, bluez: Any = None, **rest: Any) -> None:
        super().__init__(callback, service_uuids)
        self.world.adapters.append((bluez or {}).get("adapter"))

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        names = list(self.world.bystanders)
        if self.world.advertises:
            names.append(self.world.name)
        for number, name in enumerate(names):
            seen = AdvertisementData(name, {}, {}, [SERVICE], None, self.world.rssi, ())
            address = f"00:00:00:00:00:{number:02x}"
            device = self.create_or_update_device(address, address, name, None, seen)
            loop.call_later(0.001, self.call_detection_callbacks, device, seen)

    async def stop(self) -> None: ...


class Client(BaseBleakClient):
    world: World

    def __init__(self, *args: Any, bluez: Any = None, **rest: Any) -> None:
        super().__init__(args[0], disconnected_callback=rest["disconnected_callback"], timeout=rest["timeout"])
        self.world.adapters.append((bluez or {}).get("adapter"))
        self._up = False
        self._values: dict[int, bytes] = {}

    @property
    def name(self) -> str:
        return self.world.name

    @property
    def mtu_size(self) -> int:
        return 23

    @property
    def is_connected(self) -> bool:
        return self._up

    async def connect(self, pair: bool, **rest: Any) -> None:
        self.world.connects += 1
        if self.world.refuse_connects:
            self.world.refuse_connects -= 1
            raise BleakError("le-connection-abort-by-local")
        self._up = True
        self.world.connected += 1
        self.world.most_connected = max(self.world.most_connected, self.world.connected)
        self.world.device.new_session()
        self.services = self._collection()

    def _collection(self) -> BleakGATTServiceCollection:
        found = BleakGATTServiceCollection()
        service = BleakGATTService(None, 1, SERVICE)
        found.add_service(service)
        for number, endpoint in enumerate(self.world.endpoints):
            handle, uuid = 10 + 3 * number, f"021aff{0x4F + number:02x}-0382-4aea-bff4-6b3f1c5adfb4"
            each = BleakGATTCharacteristic(endpoint, handle, uuid, ["read", "write"], lambda: 509, service)
            found.add_characteristic(each)
            description = "00002901-0000-1000-8000-00805f9b34fb"
            found.add_descriptor(BleakGATTDescriptor(endpoint, handle + 2, description, each))
        return found

    def _drop(self) -> None:
        if self._up:
            self._up = False
            self.world.connected -= 1

    async def disconnect(self) -> None:
        self._drop()

    async def pair(self, *args: Any, **rest: Any) -> None: ...

    async def unpair(self) -> None: ...

    async def read_gatt_char(self, characteristic: Any, **rest: Any) -> bytearray:
        if not self._up:
            raise BleakError("Not connected")
        return bytearray(self._values[characteristic.handle])

    async def read_gatt_descriptor(self, descriptor: Any, **rest: Any) -> bytearray:
        return bytearray(descriptor.obj.encode())

    async def write_gatt_char(self, characteristic: Any, data: Any, response: bool) -> None:
        number = len(self.world.writes)
        self.world.writes.append((characteristic.obj, response))
        if self.world.stall_at == number:
            await asyncio.sleep(3600)
        if self.world.att_error_at == number:
            raise BleakGATTProtocolError(0x0E)
        answer = None
        if number not in self.world.drop_at and number != self.world.vanish_at:
            answer = self.world.device.post(characteristic.obj, bytes(data))
        if answer is None:
            self.world.advertises = number != self.world.vanish_at
            self._drop()
            raise BleakError("Not connected")
        self._values[characteristic.handle] = answer

    async def write_gatt_descriptor(self, descriptor: Any, data: Any) -> None:
        raise NotImplementedError

    async def start_notify(self, characteristic: Any, callback: Any, **rest: Any) -> None:
        raise NotImplementedError

    async def stop_notify(self, characteristic: Any) -> None:
        raise NotImplementedError
