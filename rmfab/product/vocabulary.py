"""The words of a product as enums: what may stand in product.toml, and what it means on the chip."""

from __future__ import annotations

from enum import Enum, IntEnum, unique
from typing import Self


@unique
class Chip(Enum):
    """A chip as esptool spells it, with its image id and where its ROM looks for the bootloader.

    Source: esptool 5.6 `targets/*.py` (IMAGE_CHIP_ID, BOOTLOADER_FLASH_OFFSET); esp_image_header_t.chip_id.
    """

    ESP32 = "esp32", 0, 0x1000
    ESP32S2 = "esp32s2", 2, 0x1000
    ESP32S3 = "esp32s3", 9, 0x0
    ESP32C2 = "esp32c2", 12, 0x0
    ESP32C3 = "esp32c3", 5, 0x0
    ESP32C5 = "esp32c5", 23, 0x2000
    ESP32C6 = "esp32c6", 13, 0x0
    ESP32C61 = "esp32c61", 20, 0x0
    ESP32H2 = "esp32h2", 16, 0x0
    ESP32P4 = "esp32p4", 18, 0x2000

    image_id: int
    bootloader_offset: int

    def __new__(cls, value: str, image_id: int, bootloader_offset: int) -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.image_id = image_id
        member.bootloader_offset = bootloader_offset
        return member

    @classmethod
    def from_image_id(cls, image_id: int) -> Chip | None:
        """The chip with this esp_image_header_t.chip_id, None where rmfab knows none."""
        return next((chip for chip in cls if chip.image_id == image_id), None)


@unique
class Credentials(Enum):
    """Who makes node id, key and certificate: our CA before the flash, or RainMaker claiming on the device."""

    CERTIFICATE = "certificate"
    CLAIM = "claim"


@unique
class NodeIdKind(Enum):
    """How a node id is made; `values` takes it from the CSV of `generate --values`."""

    SHORTUUID = "shortuuid"
    UUID4 = "uuid4"
    VALUES = "values"


@unique
class KeyKind(Enum):
    """The key pair of a device."""

    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"
    RSA_2048 = "rsa-2048"


@unique
class CertificateProfile(Enum):
    """`strict` carries SKI, AKI, KeyUsage and EKU; `rainmaker` what the official admin CLI issues."""

    STRICT = "strict"
    RAINMAKER = "rainmaker"


@unique
class Security(IntEnum):
    """The protocomm security scheme of the firmware: 0 plain, 1 X25519 and AES-CTR, 2 SRP6a and AES-GCM."""

    PLAIN = 0
    X25519 = 1
    SRP6A = 2


@unique
class Transport(Enum):
    """How a phone reaches an unprovisioned unit; the value is what firmware prints into the QR payload."""

    BLE = "ble"
    SOFTAP = "softap"


@unique
class QrForm(Enum):
    """The QR payload as JSON, or compact as CONFIG_APP_NETWORK_PROV_COMPACT_QR prints it."""

    JSON = "json"
    COMPACT = "compact"
