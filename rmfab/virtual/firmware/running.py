"""Firmware that runs on a virtual board: how it was compiled, and its identity from `fctry`.

Sources: espressif/esp-rainmaker-common `factory.c`, rmaker_app_network `app_network.c` (facts only).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property

from rmfab.nvs import reader
from rmfab.nvs.table import Value
from rmfab.product.vocabulary import QrForm, Security
from rmfab.release.app_image import AppDescriptor
from rmfab.release.partition_table import Partition, PartitionTable
from rmfab.virtual.chip.flash import Flash
from rmfab.virtual.faults import BoardFault
from rmfab.virtual.firmware import sec2
from rmfab.virtual.firmware.log import Log
from rmfab.virtual.firmware.markers import FirmwareFacts
from rmfab.virtual.firmware.nvs_writer import NvsWriter
from rmfab.virtual.firmware.outbox import Outbox
from rmfab.virtual.firmware.signature import signed
from rmfab.virtual.network import AccessPoint
from rmfab.virtual.spec import BoardSpec

FACTORY_PARTITION = "fctry"
NAMESPACE = "rmaker_creds"
WIFI_NAMESPACE = "nvs.net80211"
_SSID_KEY = "sta.ssid"
_PASSWORD_KEY = "sta.pswd"  # noqa: S105 (a key name, not a password)
_WPA_KEY = "sta.pmk"
_SSID_SIZE, _PASSWORD_SIZE, _KEY_SIZE = 32, 65, 32
_CLAIMED_HOST = b"mqtt.rainmaker.espressif.com"
_LENGTH = 4  # bytes of the length field before an SSID


@dataclass
class RunningFirmware:
    """The app that runs on one board, in the partition *slot*.

    - *online*: it has joined a network.
    - *updating*: an update is in progress or not confirmed yet.
    - *taken_back*: the update before this start was rolled back.
    - *user*: the user id and secret key of a mapping of user and node that is not published yet.
    - *networks*: the Wi-Fi networks around it.
    - *outbox*: what it publishes; None if it has no broker, or only pretends to have one.
    """

    spec: BoardSpec
    flash: Flash
    table: PartitionTable
    slot: Partition
    facts: FirmwareFacts
    descriptor: AppDescriptor
    log: Log
    online: bool = False
    updating: bool = False
    taken_back: bool = False
    user: tuple[str, str] | None = None
    outbox: Outbox | None = None
    networks: tuple[AccessPoint, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.networks = self.spec.networks

    @cached_property
    def factory(self) -> reader.Image | None:
        """The factory partition as NVS reads it; None if it is missing or cannot be mounted."""
        part = self.table.find(FACTORY_PARTITION)
        if part is None:
            return None
        image = reader.read_image(self.flash.seen(part.offset, part.size))
        return image if image.mountable else None

    def forget_factory(self) -> None:
        """Drop the cached factory partition after writing to it."""
        self.__dict__.pop("factory", None)

    def factory_value(self, key: str) -> bytes | None:
        """Return a value of the namespace `rmaker_creds`; only blobs are visible."""
        value = self.factory.value(NAMESPACE, key) if self.factory is not None else None
        return value if isinstance(value, bytes) else None

    @property
    def node_id(self) -> str | None:
        """The node id that the firmware uses; None if it has none."""
        value = self.factory_value("node_id")
        if self.spec.has(BoardFault.OTHER_IDENTITY) and value is not None:
            return value.decode("ascii", "replace")[::-1]
        if value is None and self.facts.claim:
            return self.spec.base_mac.hex().upper()
        return None if value is None else value.decode("ascii", "replace")

    @property
    def claims(self) -> bool:
        """Whether the firmware runs assisted claiming: it can, and key or certificate are missing."""
        return self.facts.claim and not (self.factory_value("client_cert") and self.factory_value("client_key"))

    @property
    def security(self) -> Security:
        """The security scheme of the provisioning service."""
        return Security.PLAIN if self.spec.has(BoardFault.PLAIN_SECURITY) else self.facts.security

    @property
    def sec_patch_ver(self) -> int:
        """The revision of security 2 in the app's ESP-IDF."""
        return sec2.patch_version(self.descriptor.idf_version)

    @property
    def pop(self) -> str | None:
        """The first four bytes of `random` in hex; the next four with the fault `wrong-pop`."""
        random = self.factory_value("random")
        at = 4 if self.spec.has(BoardFault.WRONG_POP) else 0
        return None if random is None or len(random) < at + 4 else random[at : at + 4].hex()

    @property
    def mqtt_host(self) -> bytes | None:
        """The broker; firmware that can claim has a default."""
        return self.factory_value("mqtt_host") or (_CLAIMED_HOST if self.facts.claim else None)

    @property
    def roots(self) -> str | None:
        """The certificates (PEM) that a server's must lead to; None: the public CAs."""
        return self.facts.server_root or None

    def sign(self, data: bytes) -> bytes | None:
        """Return the node's signature over *data*; None if there is no readable key."""
        key = self.factory_value("client_key")
        return None if key is None else signed(key, data, wrong=self.spec.has(BoardFault.WRONG_KEY))

    @property
    def service_name(self) -> str:
        """The prefix and the last three bytes of `random` in hex, or of the MAC if there is no `random`."""
        random = self.factory_value("random")
        tail = random[-3:] if random is not None and len(random) >= 3 else self.spec.base_mac[-3:]
        return f"{self.facts.name_prefix}_{tail.hex()}"

    @property
    def qr_payload(self) -> str:
        """The QR payload in the form that the firmware prints."""
        name, pop, transport = self.service_name, self.pop, self.facts.transport.value
        if self.facts.qr is QrForm.COMPACT:
            return f"NP:{name}|{pop or ''}|{transport[0]}"
        user = f'"username":"{sec2.USERNAME}",' if self.security is Security.SRP6A else ""
        secret = f'{user}"pop":"{pop}",' if pop is not None else ""
        return f'{{"ver":"v1","name":"{name}",{secret}"transport":"{transport}"}}'

    def nvs(self, label: str) -> NvsWriter | None:
        """Return the NVS partition *label* for writing."""
        part = self.table.find(label)
        return None if part is None else NvsWriter(self.flash, part.offset, part.size)

    def nvs_values(self, namespace: str, *keys: str) -> tuple[Value | None, ...]:
        """Return the current values in the partition `nvs`; None for each missing one."""
        part = self.table.find("nvs")
        if part is None:
            return (None,) * len(keys)
        image = reader.read_image(self.flash.seen(part.offset, part.size))
        return tuple(image.value(namespace, key) for key in keys)

    @property
    def station(self) -> tuple[bytes, bytes] | None:
        """SSID and password of the network in `nvs`; None if there is none."""
        ssid, password = self.nvs_values(WIFI_NAMESPACE, _SSID_KEY, _PASSWORD_KEY)
        if not isinstance(ssid, bytes) or not ssid[_LENGTH:].strip(b"\0\xff"):
            return None
        length = int.from_bytes(ssid[:_LENGTH], "little")
        secret = password.split(b"\0")[0] if isinstance(password, bytes) else b""
        return ssid[_LENGTH : _LENGTH + length], secret

    def keep_station(self, nvs: NvsWriter, ssid: bytes, password: bytes) -> None:
        """Store the station's network and its WPA key, as the Wi-Fi driver does. Raise NvsFull if there is no room."""
        key = hashlib.pbkdf2_hmac("sha1", password, ssid, 4096, _KEY_SIZE) if password else b"\xff" * _KEY_SIZE
        nvs.set_blob(WIFI_NAMESPACE, _SSID_KEY, len(ssid).to_bytes(_LENGTH, "little") + ssid.ljust(_SSID_SIZE, b"\0"))
        nvs.set_blob(WIFI_NAMESPACE, _PASSWORD_KEY, password.ljust(_PASSWORD_SIZE, b"\0"))
        nvs.set_blob(WIFI_NAMESPACE, _WPA_KEY, key)

    def keep_no_station(self, nvs: NvsWriter) -> None:
        """Store the driver's blank keys if they do not exist yet. Raise NvsFull if there is no room."""
        sizes = {_SSID_KEY: _LENGTH + _SSID_SIZE, _PASSWORD_KEY: _PASSWORD_SIZE, _WPA_KEY: _KEY_SIZE}
        for (key, size), value in zip(sizes.items(), self.nvs_values(WIFI_NAMESPACE, *sizes), strict=True):
            if value is None:
                nvs.set_blob(WIFI_NAMESPACE, key, b"\xff" * size)
