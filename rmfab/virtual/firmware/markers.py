"""Marker blocks: how an image of rmfab's own firmware was "compiled", as far as a virtual board plays it.

A block is a magic, a u16 length and JSON, padded to 4 bytes; it stands in the image's data.
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


@dataclass(frozen=True)
class FirmwareFacts:
    """How a firmware was compiled, as far as a virtual board plays it; defaults are stock RainMaker firmware.

    *claim*: assisted claiming is compiled in, and used where key or certificate are missing. *sec_patch_ver*: 1, or 0
    for firmware from before the counting nonce of security 2. *ch_resp*: the challenge-response endpoint. *show_qr*:
    the console prints the QR payload. *confirms*: after an update it waits for its broker and then calls itself
    valid, or goes back by itself; otherwise it never says a word about itself. *rollback*: it writes an update down
    as new, for a bootloader that watches the first boot.
    """

    security: Security = Security.SRP6A
    transport: Transport = Transport.BLE
    name_prefix: str = "PROV"
    qr: QrForm = QrForm.JSON
    console: bool = True
    claim: bool = True
    sec_patch_ver: int = 1
    ch_resp: bool = True
    show_qr: bool = True
    confirms: bool = True
    rollback: bool = True


@dataclass(frozen=True)
class BootloaderFacts:
    """How a bootloader was compiled. *rollback*: an update that was not confirmed at its first boot is taken back.
    *secure_boot*: it turns secure boot v2 on, and leaves *download_mode* of the ROM's."""

    rollback: bool = False
    secure_boot: bool = False
    download_mode: DownloadMode = DownloadMode.OPEN


def marker_block(facts: FirmwareFacts) -> bytes:
    """The marker block that `read_facts` finds, padded to 4 bytes."""
    values = {field.name: getattr(facts, field.name) for field in fields(facts)}
    words = {"qr": facts.qr.value, "security": int(facts.security), "transport": facts.transport.value}
    return _block(MARKER, values | words)


def bootloader_marker(facts: BootloaderFacts) -> bytes:
    """The marker block that `read_bootloader_facts` finds, padded to 4 bytes."""
    values = {"rollback": facts.rollback, "secure_boot": facts.secure_boot, "download_mode": facts.download_mode.value}
    return _block(BOOTLOADER_MARKER, values)


def read_facts(app: bytes) -> FirmwareFacts:
    """How this app was compiled; stock RainMaker firmware, which carries no marker block, has the defaults.

    Raises InputError where the marker block does not make sense.
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
            int(values["sec_patch_ver"]),
            bool(values["ch_resp"]),
            bool(values["show_qr"]),
            bool(values["confirms"]),
            bool(values["rollback"]),
        )
    except (struct.error, ValueError, TypeError) as error:
        raise _unreadable("app", at) from error


def read_bootloader_facts(bootloader: bytes) -> BootloaderFacts:
    """How this bootloader was compiled; one without a marker block as ESP-IDF's defaults are, without rollback.

    Raises InputError where the marker block does not make sense.
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
    """The values of the block at *at*. Raises struct.error, ValueError or TypeError for others than *kind* has."""
    start = at + len(MARKER) + 2
    (length,) = struct.unpack_from("<H", image, start - 2)
    values: dict[str, Any] = json.loads(image[start : start + length])
    if set(values) != {field.name for field in fields(kind)}:
        raise ValueError("other keys")
    return values


def _unreadable(what: str, at: int) -> InputError:
    where = f"{what} image, offset 0x{at:x}"
    return InputError("the marker block of this virtual firmware cannot be read", where=where)
