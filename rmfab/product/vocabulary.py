"""The words of a product as enums: what may stand in product.toml, and what it means on the chip."""

from __future__ import annotations

from enum import Enum, IntEnum, unique


@unique
class Chip(Enum):
    """A chip as esptool spells it."""

    ESP32 = "esp32"
    ESP32S2 = "esp32s2"
    ESP32S3 = "esp32s3"
    ESP32C2 = "esp32c2"
    ESP32C3 = "esp32c3"
    ESP32C5 = "esp32c5"
    ESP32C6 = "esp32c6"
    ESP32C61 = "esp32c61"
    ESP32H2 = "esp32h2"
    ESP32P4 = "esp32p4"

    @property
    def image_id(self) -> int:
        """esp_image_header_t.chip_id of images for this chip."""
        return _IMAGE_IDS[self]

    @property
    def bootloader_offset(self) -> int:
        """Where in the flash the ROM looks for the bootloader."""
        return _BOOTLOADER_OFFSETS.get(self, 0)

    @classmethod
    def from_image_id(cls, image_id: int) -> Chip | None:
        """The chip with this esp_image_header_t.chip_id, None where rmfab knows none."""
        return next((chip for chip in cls if chip.image_id == image_id), None)


# Source: esptool 5.6 targets/*.py, IMAGE_CHIP_ID and BOOTLOADER_FLASH_OFFSET.
_IMAGE_IDS = {
    Chip.ESP32: 0,
    Chip.ESP32S2: 2,
    Chip.ESP32S3: 9,
    Chip.ESP32C2: 12,
    Chip.ESP32C3: 5,
    Chip.ESP32C5: 23,
    Chip.ESP32C6: 13,
    Chip.ESP32C61: 20,
    Chip.ESP32H2: 16,
    Chip.ESP32P4: 18,
}
_BOOTLOADER_OFFSETS = {Chip.ESP32: 0x1000, Chip.ESP32S2: 0x1000, Chip.ESP32C5: 0x2000, Chip.ESP32P4: 0x2000}


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
class SeqSource(Enum):
    """Where the seq of a release comes from when `release build` is not told one: the time of the commit."""

    COMMIT_TIME = "commit-time"


@unique
class DownloadMode(Enum):
    """What secure boot or flash encryption leaves of the ROM's download mode: all, little, or nothing.

    Source: ESP-IDF Kconfig, SECURE_UART_ROM_DL_MODE; `secure_boot_secure_features.c`.
    """

    OPEN = "open"
    SECURE = "secure"
    OFF = "off"


@unique
class ConsolePort(Enum):
    """Where a firmware prints its console.

    Source: ESP-IDF Kconfig, ESP_CONSOLE_UART. USB is the port of the USB serial/JTAG controller or of USB OTG.
    """

    UART0 = "uart0"
    OTHER_UART = "other-uart"
    USB = "usb"
    NONE = "none"


@unique
class QrForm(Enum):
    """The QR payload as JSON, or compact as CONFIG_APP_NETWORK_PROV_COMPACT_QR prints it."""

    JSON = "json"
    COMPACT = "compact"
