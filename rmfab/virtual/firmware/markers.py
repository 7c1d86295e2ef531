"""Marker blocks: how an image of rmfab's own firmware was "compiled", as far as a virtual board imitates it.

A block is a magic, a 16-bit length and JSON, padded to 4 bytes, within the image's data.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from rmfab.errors import InputError
from rmfab.product.vocabulary import DownloadMode, QrForm, Security, Transport

MARKER = b"RMFABVFW"
BOOTLOADER_MARKER = b"RMFABVBL"
IDF_VERSION = "v5.5.1"


@dataclass(frozen=True)
class FirmwareFacts:
    """How a firmware was compiled, as far as a virtual board imitates it; the defaults are stock RainMaker firmware.

    - *claim*: assisted claiming is compiled in, and used if key or certificate are missing.
    - *idf_version*: the ESP-IDF in the app's descriptor; it decides the revision of security 2.
    - *ch_resp*: the challenge-response endpoint exists; older firmware has `cloud_user_assoc` instead.
    - *first_ch_resp*: challenge-response as in 2025: it answers only challenges, and closes the connection if it fails.
    - *show_qr*: the console prints the QR payload.
    - *confirms*: after an update the app waits for its broker, then marks itself valid or rolls back; otherwise it
      never changes its own state.
    - *rollback*: an update is recorded as new, for a bootloader that watches the first boot.
    """

    security: Security = Security.SRP6A
    transport: Transport = Transport.BLE
    name_prefix: str = "PROV"
    qr: QrForm = QrForm.JSON
    console: bool = True
    claim: bool = True
    idf_version: str = IDF_VERSION
    ch_resp: bool = True
    first_ch_resp: bool = False
    show_qr: bool = True
    confirms: bool = True
    rollback: bool = True


@dataclass(frozen=True)
class BootloaderFacts:
    """How a bootloader was compiled.

    - *rollback*: an update that was not confirmed at its first boot is rolled back.
    - *secure_boot*: the bootloader turns secure boot v2 on and leaves *download_mode* of the ROM's download mode.
    """

    rollback: bool = False
    secure_boot: bool = False
    download_mode: DownloadMode = DownloadMode.OPEN


def marker_block(facts: FirmwareFacts) -> bytes:
    """Return the marker block that `read_facts` finds, padded to 4 bytes."""
    values = {field.name: getattr(facts, field.name) for field in fields(facts)}
    words = {"qr": facts.qr.value, "security": int(facts.security), "transport": facts.transport.value}
    return _block(MARKER, values | words)


def bootloader_marker(facts: BootloaderFacts) -> bytes:
    """Return the marker block that `read_bootloader_facts` finds, padded to 4 bytes."""
    values = {"rollback": facts.rollback, "secure_boot": facts.secure_boot, "download_mode": facts.download_mode.value}
    return _block(BOOTLOADER_MARKER, values)


def read_facts(app: bytes) -> FirmwareFacts:
    """Return how this app was compiled; an app without a marker block, such as stock RainMaker, has the defaults.

    Raise InputError if the marker block is invalid.
    """
    at = app.find(MARKER)
    if at < 0:
        return FirmwareFacts()
    try:
        values = _values(app, at, FirmwareFacts)
        return FirmwareFacts(
            Security(values["security"]),
            Transport(values["transport"]),
            str(values["name_prefix"]),
            QrForm(values["qr"]),
            bool(values["console"]),
            bool(values["claim"]),
            str(values["idf_version"]),
            bool(values["ch_resp"]),
            bool(values["first_ch_resp"]),
            bool(values["show_qr"]),
            bool(values["confirms"]),
            bool(values["rollback"]),
        )
    except (struct.error, ValueError, TypeError) as error:
        raise _unreadable("app", at) from error


def read_bootloader_facts(bootloader: bytes) -> BootloaderFacts:
    """Return how this bootloader was compiled; one without a marker block has ESP-IDF's defaults, without rollback.

    Raise InputError if the marker block is invalid.
    """
    at = bootloader.find(BOOTLOADER_MARKER)
    if at < 0:
        return BootloaderFacts()
    try:
        values = _values(bootloader, at, BootloaderFacts)
        mode = DownloadMode(values["download_mode"])
        return BootloaderFacts(bool(values["rollback"]), bool(values["secure_boot"]), mode)
    except (struct.error, ValueError, TypeError) as error:
        raise _unreadable("bootloader", at) from error


def _block(magic: bytes, values: Mapping[str, object]) -> bytes:
    body = json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
    block = magic + struct.pack("<H", len(body)) + body
    return block.ljust(-(-len(block) // 4) * 4, b"\0")


def _values(image: bytes, at: int, kind: type) -> dict[str, Any]:
    """Return the values of the block at *at*.

    Raise struct.error, ValueError or TypeError if they are not the fields of *kind*.
    """
    start = at + len(MARKER) + 2
    (length,) = struct.unpack_from("<H", image, start - 2)
    values: dict[str, Any] = json.loads(image[start : start + length])
    if set(values) != {field.name for field in fields(kind)}:
        raise ValueError("unexpected keys")
    return values


def _unreadable(what: str, at: int) -> InputError:
    where = f"{what} image, offset 0x{at:x}"
    return InputError("invalid marker block of virtual firmware", where=where)
