"""The words of product.toml as enums, and their values on the chip."""

from __future__ import annotations

from enum import Enum, IntEnum, unique


@unique
class Chip(Enum):
    """A chip, by its name in esptool."""

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
        """The esp_image_header_t.chip_id of images for this chip."""
        return _IMAGE_IDS[self]

    @property
    def bootloader_offset(self) -> int:
        """The flash offset at which the ROM loads the bootloader."""
        return _BOOTLOADER_OFFSETS.get(self, 0)

    @classmethod
    def from_image_id(cls, image_id: int) -> Chip | None:
        """Return the chip with this esp_image_header_t.chip_id, or None if there is none."""
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
    """Who makes node id, key and certificate: the workspace's CA, or RainMaker's claiming on the device
    (self or assisted claiming)."""

    CERTIFICATE = "certificate"
    CLOUD_CLAIM = "claim"


@unique
class NodeIdKind(Enum):
    """The source of node ids. `values` reads them from the CSV of `generate --values`."""

    SHORTUUID = "shortuuid"
    UUID4 = "uuid4"
    VALUES = "values"


@unique
class KeyKind(Enum):
    """The kind of a device's key pair."""

    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"
    RSA_2048 = "rsa-2048"


@unique
class CertificateProfile(Enum):
    """The extensions of a device certificate: `strict` has SKI, AKI, KeyUsage and EKU, `rainmaker` those of the
    official admin CLI."""

    STRICT = "strict"
    RAINMAKER = "rainmaker"


@unique
class Security(IntEnum):
    """The firmware's protocomm security scheme: 0 is plain, 1 X25519 with AES-CTR, 2 SRP6a with AES-GCM."""

    PLAIN = 0
    X25519 = 1
    SRP6A = 2


@unique
class Transport(Enum):
    """The link from a phone to an unprovisioned unit. The value is the one in the QR payload."""

    BLE = "ble"
    SOFTAP = "softap"


@unique
class SeqSource(Enum):
    """The source of a release's seq if `release build` gets no --seq: the commit time."""

    COMMIT_TIME = "commit-time"


@unique
class DownloadMode(Enum):
    """The ROM's download mode after secure boot or flash encryption: open, secure (few commands), or off.

    Source: ESP-IDF Kconfig, SECURE_UART_ROM_DL_MODE; `secure_boot_secure_features.c`.
    """

    OPEN = "open"
    SECURE = "secure"
    OFF = "off"


@unique
class ConsoleMode(Enum):
    """What is read from a unit's console: what its firmware allows, log and answers, only the log, or nothing."""

    AUTO = "auto"
    FULL = "full"
    LOG = "log"
    NONE = "none"


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
class CloudProof(Enum):
    """What proves that a unit reaches its broker: nothing is asked for, `MQTT Connected` on its console, or what a
    witness at the broker sees of it."""

    OFF = "off"
    CONSOLE = "console"
    WITNESS = "witness"


@unique
class CloudKind(Enum):
    """The cloud of the firmware: ESP RainMaker, or RainMaker Neo, whose topics and API are different."""

    RAINMAKER = "rainmaker"
    NEO = "neo"


@unique
class LabelPrinting(Enum):
    """When the line prints labels: not at all, or as soon as a unit has passed all its tests."""

    OFF = "off"
    PASS = "pass"  # noqa: S105


@unique
class QrForm(Enum):
    """The form of the QR payload: JSON, or the compact form of CONFIG_APP_NETWORK_PROV_COMPACT_QR."""

    JSON = "json"
    COMPACT = "compact"
