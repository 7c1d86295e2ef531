"""A board in the test's own process, and a host that implements the serial protocol independently."""

from __future__ import annotations

import atexit
import json
import struct
from dataclasses import fields
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rmfab.nvs.packing import pack
from rmfab.nvs.table import Entry, EntryKind, Namespace
from rmfab.product.vocabulary import Chip
from rmfab.virtual.bench.board import Board
from rmfab.virtual.bench.manual_clock import ManualTimeline
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.virtual.faults import FaultCall
from rmfab.virtual.firmware.markers import FirmwareFacts
from rmfab.virtual.spec import BoardSpec, PortKind, Strap

FCTRY = 0x3FA000
NVS = 0x10000
OTADATA = 0x16000
TABLE = 0xC000
APP = 0x20000
FIRMWARE_FACTS = frozenset(field.name for field in fields(FirmwareFacts))
SYNC = b"\x07\x07\x12\x20" + b"\x55" * 32


class Rig:
    """A powered board and all its output."""

    def __init__(self, chip=Chip.ESP32C3, *, strap=Strap.DOWNLOAD, faults=(), parts=(), **fields):
        self.timeline = ManualTimeline()
        calls = tuple(FaultCall.parse(fault) for fault in faults)
        self.spec = BoardSpec(chip, link=PortKind.PTY, strap=strap, faults=calls, **fields)
        self.vanished = []
        self.board = Board(self.spec, self.timeline, self.vanished.append)
        self.said = bytearray()
        self.board.uart.to_host = self.said.extend
        for offset, data in parts:
            self.board.flash.erase(offset, len(data))
            self.board.flash.program(offset, data)
        self.board.power(True)
        self.timeline.run(0.05)

    @property
    def text(self):
        return self.said.decode("utf-8", "replace")

    def boot(self, seconds=1.0):
        """Restart into run mode and return what the board prints in *seconds*, without colours."""
        self.board.strap = Strap.RUN
        self.said.clear()
        self.board.restart()
        self.timeline.run(seconds)
        return plain(self.text)

    def type(self, text, seconds=0.0):
        self.said.clear()
        self.board.uart.from_host(text.encode())
        self.timeline.run(seconds)
        return plain(self.text)

    def send(self, data):
        """Send raw bytes and return the decoded frames of the reply."""
        self.said.clear()
        self.board.uart.from_host(data)
        self.timeline.run(0)
        return frames(bytes(self.said))

    def command(self, op, data=b"", check=0):
        """Send one request and return (op, value, payload) of each reply."""
        request = struct.pack("<BBHI", 0, op, len(data), check) + data
        return [(f[1], struct.unpack("<I", f[4:8])[0], f[8:]) for f in self.send(frame(request)) if len(f) >= 8]

    def words(self, op, *words):
        return self.command(op, struct.pack(f"<{len(words)}I", *words))

    def data(self, op, block, seq, check=None):
        value = 0xEF
        for byte in block:
            value ^= byte
        body = struct.pack("<IIII", len(block), seq, 0, 0) + block
        return self.command(op, body, value if check is None else check)

    def sync(self):
        return self.command(0x08, SYNC)

    def start_stub(self, at=None, size=64, entry=None, code=b"OHAI"):
        """Upload *code*, filled up to *size* bytes, to the chip's RAM and jump to it."""
        at = self.board.model.ram[0][0] + 0x1000 if at is None else at
        self.words(0x05, size, 1, size, at)
        self.data(0x07, code.ljust(size, b"\0"), 0)
        request = struct.pack("<BBHIII", 0, 6, 8, 0, 0, at + 4 if entry is None else entry)
        return self.send(frame(request))


def frame(payload):
    out = b"".join({0xC0: b"\xdb\xdc", 0xDB: b"\xdb\xdd"}.get(byte, bytes([byte])) for byte in payload)
    return b"\xc0" + out + b"\xc0"


def frames(data):
    out, current, escaped = [], None, False
    for byte in data:
        if byte == 0xC0:
            if current:
                out.append(bytes(current))
                current = None
            else:
                current = bytearray()
        elif current is not None:
            if escaped:
                current.append({0xDC: 0xC0, 0xDD: 0xDB}[byte])
                escaped = False
            elif byte == 0xDB:
                escaped = True
            else:
                current.append(byte)
    return out


def plain(text):
    for colour in ("\x1b[0;31m", "\x1b[0;32m", "\x1b[0;33m", "\x1b[0m"):
        text = text.replace(colour, "")
    return text.replace("\r", "")


def key_pem():
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )


def factory_image(**changes):
    """Return a factory image of 0x6000 bytes from the reference generator; a change to None leaves a key out."""
    values = {
        "node_id": b"NodeOfThisVeryTest",
        "mqtt_host": b"mqtt.example.org",
        "client_cert": b"-----BEGIN CERTIFICATE-----\n",
        "client_key": key_pem(),
        "random": bytes(range(64)),
        "sec2_salt": b"s" * 16,
        "sec2_verifier": b"v" * 384,
    }
    values.update(changes)
    entries = [Entry("rmaker_creds", key, EntryKind.BLOB, value) for key, value in values.items() if value is not None]
    return pack([Namespace("rmaker_creds"), *entries], 0x6000)


def recipe(chip=Chip.ESP32C3, **options):
    """A small firmware; *options* are those of a recipe and of its facts."""
    facts = {name: options.pop(name) for name in FIRMWARE_FACTS & options.keys()}
    return FirmwareRecipe(chip, facts=FirmwareFacts(**facts), **({"app_size": 128 * 1024} | options))


@cache
def build_folder(chip=Chip.ESP32C3, **options):
    folder = Path(mkdtemp(prefix="rmfab-firmware-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    return make_build_folder(folder, recipe(chip, **options))


def parts(chip=Chip.ESP32C3, *, factory=None, **options):
    """Return (offset, bytes) of a whole release and a factory image."""
    folder = build_folder(chip, **options)
    files = json.loads((folder / "flasher_args.json").read_text())["flash_files"]
    common = [(int(offset, 16), (folder / file).read_bytes()) for offset, file in files.items()]
    return [*common, (FCTRY, factory_image() if factory is None else factory)]
