"""Firmware on a virtual board: what it was compiled as, and what it knows of itself from `fctry`.

Sources: espressif/esp-rainmaker-common `factory.c`, rmaker_app_network `app_network.c`, by facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from rmfab.nvs import reader
from rmfab.product.vocabulary import QrForm, Security
from rmfab.release.app_image import AppDescriptor
from rmfab.release.partition_table import PartitionTable
from rmfab.virtual import sec2
from rmfab.virtual.faults import Fault
from rmfab.virtual.firmware import FirmwareFacts
from rmfab.virtual.flash import Flash
from rmfab.virtual.log import Log
from rmfab.virtual.nvs_writer import NvsWriter
from rmfab.virtual.spec import BoardSpec

FACTORY_PARTITION = "fctry"
NAMESPACE = "rmaker_creds"
WIFI_NAMESPACE = "nvs.net80211"


@dataclass
class Firmware:
    """The app as it runs on one board."""

    spec: BoardSpec
    flash: Flash
    table: PartitionTable
    facts: FirmwareFacts
    descriptor: AppDescriptor
    log: Log

    @cached_property
    def factory(self) -> reader.Image | None:
        """The factory partition as NVS reads it, None where it cannot be mounted or does not exist."""
        part = self.table.find(FACTORY_PARTITION)
        if part is None:
            return None
        image = reader.read(self.flash.seen(part.offset, part.size))
        return image if image.mountable else None

    def forget_factory(self) -> None:
        """Reads the factory partition anew when it is asked for next: it was written to."""
        self.__dict__.pop("factory", None)

    def factory_value(self, key: str) -> bytes | None:
        """A value of the namespace `rmaker_creds`: blobs alone are seen."""
        value = self.factory.value(NAMESPACE, key) if self.factory is not None else None
        return value if isinstance(value, bytes) else None

    @property
    def node_id(self) -> str | None:
        """The node id as the firmware knows it, None where it has none."""
        value = self.factory_value("node_id")
        if self.spec.has(Fault.OTHER_IDENTITY) and value is not None:
            return value.decode("ascii", "replace")[::-1]
        if value is None and self.claims:
            return self.spec.base_mac.hex().upper()
        return None if value is None else value.decode("ascii", "replace")

    @property
    def claims(self) -> bool:
        """Whether node id, key and certificate are left to claiming: none is there, but `random` is."""
        credentials = ("node_id", "client_cert", "client_key")
        return self.factory_value("random") is not None and not any(map(self.factory_value, credentials))

    @property
    def pop(self) -> str | None:
        """Hex of the first four bytes of `random`."""
        random = self.factory_value("random")
        return None if random is None or len(random) < 4 else random[:4].hex()

    @property
    def service_name(self) -> str:
        """Prefix and hex of the last three bytes of `random`, or of the MAC where there is none."""
        random = self.factory_value("random")
        tail = random[-3:] if random is not None and len(random) >= 3 else self.spec.base_mac[-3:]
        return f"{self.facts.name_prefix}_{tail.hex()}"

    @property
    def qr_payload(self) -> str:
        """The QR payload in the form that the firmware prints."""
        name, pop, transport = self.service_name, self.pop, self.facts.transport.value
        if self.facts.qr is QrForm.COMPACT:
            return f"NP:{name}|{pop or ''}|{transport[0]}"
        user = f'"username":"{sec2.USERNAME}",' if self.facts.security is Security.SRP6A else ""
        secret = f'{user}"pop":"{pop}",' if pop is not None else ""
        return f'{{"ver":"v1","name":"{name}",{secret}"transport":"{transport}"}}'

    def nvs(self, label: str) -> NvsWriter | None:
        """The NVS partition *label* for writing."""
        part = self.table.find(label)
        return None if part is None else NvsWriter(self.flash, part.offset, part.size)

    @property
    def provisioned(self) -> bool:
        """Whether `nvs` holds a station's network."""
        part = self.table.find("nvs")
        if part is None:
            return False
        ssid = reader.read(self.flash.seen(part.offset, part.size)).value(WIFI_NAMESPACE, "sta.ssid")
        text = ssid[4:] if isinstance(ssid, bytes) else ssid
        return isinstance(text, bytes) and bool(text.strip(b"\0\xff"))
