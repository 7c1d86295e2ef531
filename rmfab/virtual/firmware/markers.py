"""Marker blocks: how an image of rmfab's own firmware was "compiled", as far as a virtual board imitates it.

A block is a magic, a 16-bit length and JSON, padded to 4 bytes, within the image's data. An app without one, such as a
real RainMaker app, is read by its texts (`facts_by_texts`).
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, TypeVar

from rmfab.errors import InputError
from rmfab.product.vocabulary import ConsolePort, DownloadMode, QrForm, Security, Transport
from rmfab.virtual.chip.uart import ROM_BAUD
from rmfab.virtual.firmware.log import INFO

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
    - *prints_qr*: the log has the QR payload; RainMaker's app_network always prints it.
    - *confirms*: after an update the app waits for its broker, then marks itself valid or rolls back; otherwise it
      never changes its own state.
    - *rollback_wait*: how many seconds an update waits for its broker.
    - *rollback*: an update is recorded as new, for a bootloader that watches the first boot.
    - *console*: the app reads commands; *get_node_id* and *sign_data* are among them.
    - *log_level*: esp_log_level_t, 0 for no log; what is printed without the log stays.
    - *console_port* and *console_baud*: where the app prints and reads, in bits per second.
    - *server_root*: the certificate (PEM) of the CA that servers need, broker and updates; "": the public CAs.
    - *connectivity*: it has the service that reports whether the node is connected, by a last will.
    - *rainmaker*: it is a RainMaker app; a different one starts, and does nothing that a virtual board could imitate.
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
    prints_qr: bool = True
    confirms: bool = True
    rollback_wait: int = 90
    rollback: bool = True
    get_node_id: bool = True
    sign_data: bool = True
    log_level: int = INFO
    console_port: ConsolePort = ConsolePort.UART0
    console_baud: int = ROM_BAUD
    server_root: str = ""
    connectivity: bool = False
    rainmaker: bool = True

    @property
    def missing_commands(self) -> frozenset[str]:
        """The commands of RainMaker's console that the app does not have."""
        known = {"get-node-id": self.get_node_id, "sign-data": self.sign_data}
        return frozenset(name for name, has in known.items() if not has)


@dataclass(frozen=True)
class BootloaderFacts:
    """How a bootloader was compiled.

    - *rollback*: an update that was not confirmed at its first boot is rolled back.
    - *secure_boot*: the bootloader turns secure boot v2 on and leaves *download_mode* of the ROM's download mode.
    - *log_level*, *console_port* and *console_baud* are as in FirmwareFacts.
    """

    rollback: bool = False
    secure_boot: bool = False
    download_mode: DownloadMode = DownloadMode.OPEN
    log_level: int = INFO
    console_port: ConsolePort = ConsolePort.UART0
    console_baud: int = ROM_BAUD


F = TypeVar("F", FirmwareFacts, BootloaderFacts)


def marker_block(facts: FirmwareFacts) -> bytes:
    """Return the marker block that `read_facts` finds, padded to 4 bytes."""
    return _block(MARKER, _plain(facts))


def bootloader_marker(facts: BootloaderFacts) -> bytes:
    """Return the marker block that `read_bootloader_facts` finds, padded to 4 bytes."""
    return _block(BOOTLOADER_MARKER, _plain(facts))


def read_facts(app: bytes) -> FirmwareFacts:
    """Return how this app was compiled; an app without a marker block shows it by its texts, and else has the defaults.

    Raise InputError if the marker block is invalid.
    """
    at = app.find(MARKER)
    if at < 0:
        return facts_by_texts(app)
    try:
        return _made(FirmwareFacts, _values(app, at, FirmwareFacts))
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
        return _made(BootloaderFacts, _values(bootloader, at, BootloaderFacts))
    except (struct.error, ValueError, TypeError) as error:
        raise _unreadable("bootloader", at) from error


def texts_of(facts: FirmwareFacts) -> bytes:
    """Return the texts of a real app with these *facts*, each between zeros, from which `facts_by_texts` reads them."""
    if not facts.rainmaker:
        return b""
    there = {
        _COMMANDS["get_node_id"]: facts.console and facts.get_node_id,
        _COMMANDS["sign_data"]: facts.console and facts.sign_data,
        _CHALLENGE: facts.ch_resp,
        _URL: facts.prints_qr,
        _QR_COMPACT: facts.qr is QrForm.COMPACT,
        _QR_SEC2: facts.qr is QrForm.JSON and facts.security is Security.SRP6A,
        _QR_SEC1: facts.qr is QrForm.JSON and facts.security is not Security.SRP6A,
    }
    root = (facts.server_root.encode(),) if facts.server_root else ()
    texts = b"\0".join((b"", _CORE, *(text for text, has in there.items() if has), *root, b""))
    return texts.ljust(-(-len(texts) // 4) * 4, b"\0")


def facts_by_texts(app: bytes) -> FirmwareFacts:
    """Return how a real app was compiled, as far as its texts show.

    Sources: esp-rainmaker `esp_rmaker_core.c`, `esp_rmaker_commands.c`, `esp_rmaker_chal_resp.c`, `app_network.c`.
    """

    def has(text: bytes) -> bool:
        return text + b"\0" in app

    if not has(_CORE):
        return FirmwareFacts(rainmaker=False)
    commands: dict[str, Any] = {name: has(text) for name, text in _COMMANDS.items()}
    return FirmwareFacts(
        security=Security.X25519 if has(_QR_SEC1) and not has(_QR_SEC2) else Security.SRP6A,
        qr=QrForm.COMPACT if has(_QR_COMPACT) else QrForm.JSON,
        console=any(commands.values()),
        ch_resp=has(_CHALLENGE),
        prints_qr=_URL in app,
        server_root=_pinned(app),
        **commands,
    )


def _pinned(app: bytes) -> str:
    """Return the certificates that the app contains as PEM; an app that uses the certificate bundle has none."""
    return "".join(found.decode("ascii") for found in _PEM.findall(app))


_CORE = b"esp_rmaker_core"
_COMMANDS = {"get_node_id": b"get-node-id", "sign_data": b"sign-data"}
_CHALLENGE = b"ch_resp"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]{64,4096}-----END CERTIFICATE-----\n")
_URL = b"https://rainmaker.espressif.com/qrcode.html"
_QR_COMPACT = b"NP:%s|%s|%c"
_QR_SEC1 = b'{"ver":"%s","name":"%s","pop":"%s","transport":"%s"}'
_QR_SEC2 = b'{"ver":"%s","name":"%s","username":"%s","pop":"%s","transport":"%s"}'


def _plain(facts: FirmwareFacts | BootloaderFacts) -> dict[str, object]:
    values = {field.name: getattr(facts, field.name) for field in fields(facts)}
    return {name: value.value if isinstance(value, Enum) else value for name, value in values.items()}


def _made(kind: type[F], values: Mapping[str, object]) -> F:
    """Return the facts with these plain *values*. Raise ValueError or TypeError if one is not of its field's type."""
    stock: FirmwareFacts | BootloaderFacts = kind()
    typed: dict[str, Any] = {}
    for name, value in values.items():
        wanted: Any = type(getattr(stock, name))
        if not issubclass(wanted, Enum) and type(value) is not wanted:
            raise TypeError(name)
        typed[name] = wanted(value)
    return kind(**typed)


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
