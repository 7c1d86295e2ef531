"""The eFuse words of a virtual board: MAC, chip revision and security bits at the addresses of each chip.

Sources: esptool 5.6 `targets/*.py` (key purposes, EFUSE_BASE), espefuse 5.6 `efuse/<chip>/mem_definition.py` (read
addresses of the blocks) and `efuse/esp32/fields.py` (CRC of the MAC).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from rmfab.files import write_file
from rmfab.product.vocabulary import Chip, DownloadMode
from rmfab.virtual.chip.models import ChipModel, EfuseField

# Three single bits at three addresses code the ESP32's major revision: 0, 1, 3 and 7 (esptool `targets/esp32.py`).
_ESP32_MAJOR = {0: 0, 1: 1, 2: 3, 3: 7}
_XTS_AES_128 = 4  # key purpose, as the next one
_SECURE_BOOT_DIGEST0 = 9  # and 10, 11 for the other two
_KEY0 = 0x58  # offset of BLOCK_KEY0 from BLOCK1, where most chips keep their MAC
_KEY_STRIDE = 0x20
_FIRST_DIGEST = 1  # BLOCK_KEY0 is left to flash encryption
_ESP32_BLOCK2 = 0x58 - 4  # offset of BLOCK2 from the MAC
_C2_KEY0_UPPER = 0x20 + 16  # offset of the digest's half of BLOCK_KEY0 from BLOCK2, which contains the MAC


@dataclass(frozen=True)
class EfuseSecurity:
    """The security bits burned into a *chip*.

    *download_mode* is what remains of the ROM's download mode; the ESP32 has no secure one. *digests* are the SHA-256
    digests, in hex, of the public keys that secure boot v2 trusts; empty if secure boot is off.
    """

    chip: Chip
    flash_encryption: bool = False
    download_mode: DownloadMode = DownloadMode.OPEN
    digests: tuple[str, ...] = ()

    @property
    def secure_boot(self) -> bool:
        """Whether secure boot v2 is on."""
        return bool(self.digests)

    @property
    def flags(self) -> int:
        """The flags word of GET_SECURITY_INFO."""
        return self.secure_boot << 0 | self.secure_download << 2

    @property
    def secure_download(self) -> bool:
        """Whether the ROM accepts only the commands of secure download mode."""
        return self.download_mode is DownloadMode.SECURE

    @property
    def no_download(self) -> bool:
        """Whether the ROM loader is disabled."""
        return self.download_mode is DownloadMode.OFF

    def burning(self, digests: tuple[str, ...], download_mode: DownloadMode) -> EfuseSecurity:
        """Return the bits with secure boot on and the download mode no wider than before: a burned bit stays burned."""
        modes = list(DownloadMode)
        return replace(self, digests=digests, download_mode=max(self.download_mode, download_mode, key=modes.index))

    def kept(self, path: Path) -> EfuseSecurity | None:
        """Return the bits that *path* recorded as burned; None if the file does not exist."""
        if not path.exists():
            return None
        values = json.loads(path.read_bytes())
        return self.burning(tuple(values["digests"]), DownloadMode(values["download_mode"]))

    def keep(self, path: Path) -> None:
        """Record the burned bits in *path*."""
        values = {"digests": self.digests, "download_mode": self.download_mode.value}
        write_file(path, json.dumps(values).encode() + b"\n", force=True)


def efuse_words(model: ChipModel, mac: bytes, revision: int, security: EfuseSecurity) -> dict[int, int]:
    """Return the eFuse words by address for a *mac* (6 bytes) and a *revision* (major * 100 + minor)."""
    words = dict(model.extra)
    _set(words, EfuseField(model.mac, 0, 32), int.from_bytes(mac[2:], "big"))
    _set(words, EfuseField(model.mac + 4, 0, 16), int.from_bytes(mac[:2], "big"))
    if model.chip in (Chip.ESP32C6, Chip.ESP32H2, Chip.ESP32C5):
        _set(words, EfuseField(model.mac + 4, 16, 16), 0xFFFE)
    if model.chip is Chip.ESP32:
        _set(words, EfuseField(model.mac + 4, 16, 8), _mac_crc(mac))
    major, minor = divmod(revision, 100)
    _spread(words, model.major, _ESP32_MAJOR[major] if model.chip is Chip.ESP32 else major)
    _spread(words, model.minor, minor)
    if security.secure_boot:
        _set(words, model.secure_boot, 1)
        for number, digest in enumerate(security.digests[: model.secure_boot_keys]):
            _burn_digest(words, model, number, bytes.fromhex(digest))
    if security.flash_encryption:
        _set(words, model.crypt_count, 1)
        if model.key_purpose is not None:
            _set(words, model.key_purpose, _XTS_AES_128)
    return words


def security_info(model: ChipModel, security: EfuseSecurity, revision: int) -> bytes:
    """Return the payload of GET_SECURITY_INFO.

    It consists of flags, crypt count, seven key purposes and, except on the S2, chip id and API version. There are six
    key blocks; for the seventh the ROM returns the number after its last purpose.
    """
    digests = range(_SECURE_BOOT_DIGEST0, _SECURE_BOOT_DIGEST0 + len(security.digests))
    purposes = bytes([_XTS_AES_128 if security.flash_encryption else 0, *digests]).ljust(6, b"\0")
    purposes += bytes([model.last_purpose])
    head = security.flags.to_bytes(4, "little") + bytes([security.flash_encryption]) + purposes
    tail = model.chip.image_id.to_bytes(4, "little") + (revision % 100).to_bytes(4, "little")
    return (head + tail)[: model.security_info]


def _burn_digest(words: dict[int, int], model: ChipModel, number: int, digest: bytes) -> None:
    """Write *digest* into its block: BLOCK2 on the ESP32, half a key block on the C2, else a whole key block."""
    block = _FIRST_DIGEST + number
    address = model.mac + _KEY0 + _KEY_STRIDE * block
    if model.chip is Chip.ESP32:
        address = model.mac + _ESP32_BLOCK2
    elif model.chip is Chip.ESP32C2:
        address, digest = model.mac + _C2_KEY0_UPPER, digest[:16]
    elif model.key_purpose is not None:
        _set(words, _purpose(model.key_purpose, block), _SECURE_BOOT_DIGEST0 + number)
    for at in range(0, len(digest), 4):
        _set(words, EfuseField(address + at, 0, 32), int.from_bytes(digest[at : at + 4], "little"))


def _purpose(first: EfuseField, block: int) -> EfuseField:
    """Return the purpose field of a key block. The fields follow the *first*; none crosses a word boundary."""
    bit = first.shift + first.width * block
    return EfuseField(first.address + bit // 32 * 4, bit % 32, first.width)


def _spread(words: dict[int, int], fields: Iterable[EfuseField], value: int) -> None:
    for field in fields:
        _set(words, field, value & ((1 << field.width) - 1))
        value >>= field.width


def _set(words: dict[int, int], field: EfuseField, value: int) -> None:
    mask = ((1 << field.width) - 1) << field.shift
    words[field.address] = words.get(field.address, 0) & ~mask | value << field.shift


def _mac_crc(mac: bytes) -> int:
    """Return the CRC-8 (Dallas/Maxim) of the MAC, which the ESP32 stores next to it."""
    crc = 0
    for byte in mac:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8C if crc & 1 else 0)
    return crc
