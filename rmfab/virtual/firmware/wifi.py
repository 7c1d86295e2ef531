"""The Wi-Fi station of a virtual board's firmware: what it stores in `nvs`, how it joins, and what it prints.

Sources: ESP-IDF Wi-Fi driver (namespace `nvs.net80211`), espressif/esp-rainmaker (app_network.c, esp_mqtt_glue.c);
facts only.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from enum import IntEnum, unique
from functools import partial

from rmfab.virtual.firmware.nvs_writer import NvsFull
from rmfab.virtual.firmware.remote_sync import RemoteSync
from rmfab.virtual.firmware.rollback import broker_reached
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Pause, Step
from rmfab.virtual.firmware.user_mapping import publish_mapping
from rmfab.virtual.network import AccessPoint

_CONNECT_SECONDS = 1.0  # the manager waits so that the reply is sent before the channel changes
_ASSOCIATE_SECONDS = 0.8
_MQTT_SECONDS = 1.5
_UNPACED_SECONDS = 0.05
ADDRESS = "192.168.7.42"


@unique
class Refusal(IntEnum):
    """Why a network cannot be joined: WifiConnectFailedReason of the status message."""

    AUTHENTICATION = 0
    NOT_FOUND = 1


class WifiStation:
    """The station of one *firmware*."""

    def __init__(self, firmware: RunningFirmware) -> None:
        self._firmware = firmware

    def keep(self, ssid: bytes, password: bytes) -> bool:
        """Store a network in `nvs` as the driver does; an empty one clears it. Return whether there was room."""
        nvs = self._firmware.nvs("nvs")
        try:
            if nvs is not None:
                self._firmware.keep_station(nvs, ssid, password)
        except NvsFull:
            return False
        return nvs is not None

    def start(self) -> Iterator[Step]:
        """Join the network in `nvs` after the start."""
        kept = self._firmware.station
        if kept is not None:
            refusal = yield from self.join(*kept)
            if refusal is None:
                yield from self.reach_cloud(kept[0])

    def join(self, ssid: bytes, password: bytes) -> Generator[Step, None, Refusal | None]:
        """Try to join a network; the generator returns why it failed, or None."""
        yield self._wait(_CONNECT_SECONDS)
        network = self.find(ssid)
        if network is None:
            return Refusal.NOT_FOUND
        yield self._wait(_ASSOCIATE_SECONDS)
        if network.password and network.password.encode() != password:
            return Refusal.AUTHENTICATION
        self._firmware.online = True
        yield self._firmware.log.driver(
            2412, f"connected with {network.ssid}, aid = 1, channel {network.channel}, BW20"
        )
        yield self._firmware.log("esp_netif_handlers", f"sta ip: {ADDRESS}, mask: 255.255.255.0, gw: 192.168.7.1")
        yield self._firmware.log("app_network", f"Connected with IP Address:{ADDRESS}")
        return None

    def reach_cloud(self, ssid: bytes) -> Iterator[Step]:
        """Connect to the broker through the network *ssid*; a node that still has to claim has none.

        In a network without routes, pretend it.
        """
        log = self._firmware.log
        host = self._firmware.mqtt_host
        if self._firmware.claims or host is None:
            return
        if (network := self.find(ssid)) is None:
            return
        if network.routes:
            yield from RemoteSync(self._firmware, host.decode("utf-8", "replace"), partial(self.find, ssid)).start()
            return
        yield log("esp_mqtt_glue", f"Connecting to {host.decode('utf-8', 'replace')}", after=40)
        yield log("esp_rmaker_core", "Waiting for MQTT connection")
        yield self._wait(_MQTT_SECONDS)
        yield log("esp_mqtt_glue", "MQTT Connected", after=700)
        yield from broker_reached(self._firmware)
        yield log("esp_rmaker_core", "Waiting for User Node Association.")
        yield from publish_mapping(self._firmware)

    def find(self, ssid: bytes) -> AccessPoint | None:
        """Return the network of this name; None if it is not in range."""
        return next((network for network in self._firmware.networks if network.ssid.encode() == ssid), None)

    def _wait(self, seconds: float) -> Pause:
        return Pause(seconds if self._firmware.spec.paced is not None else _UNPACED_SECONDS)
