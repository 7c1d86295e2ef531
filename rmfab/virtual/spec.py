"""The specification of a virtual board before it is powered: chip, MAC, flash, straps, faults."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from enum import Enum, unique
from pathlib import Path

from rmfab.product.vocabulary import Chip, DownloadMode
from rmfab.virtual.chip.bridge import BridgeKind
from rmfab.virtual.chip.efuse import EfuseSecurity
from rmfab.virtual.chip.models import MODELS, ChipModel
from rmfab.virtual.faults import BoardFault, FaultCall
from rmfab.virtual.network import NEIGHBOURS, AccessPoint

DEFAULT_FLASH_SIZE = 4 << 20
_DIGEST = re.compile("[0-9a-f]{64}")
_NOBODYS_DIGEST = hashlib.sha256(b"a key that nobody has").hexdigest()
_OUI = bytes.fromhex("240ac4")  # Espressif's


@unique
class Strap(Enum):
    """The level of the boot pin while no host drives it."""

    DOWNLOAD = "download"
    RUN = "run"


@unique
class PortKind(Enum):
    """How a host reaches the board: `rfc2217` carries DTR and RTS, `pty` and `socket` carry only bytes."""

    RFC2217 = "rfc2217"
    PTY = "pty"
    SOCKET = "socket"


@dataclass(frozen=True)
class BoardNumbers:
    """The TCP ports of a board on 127.0.0.1: serial *port*, *provisioning* and *control*; 0 is a free one."""

    port: int = 0
    provisioning: int = 0
    control: int = 0

    def __post_init__(self) -> None:
        given = [number for number in (self.port, self.provisioning, self.control) if number]
        if not all(0 < number < 65536 for number in given) or len(set(given)) < len(given):
            raise ValueError("the TCP ports of a board must be different numbers from 1 to 65535")

    def completed_by(self, other: BoardNumbers) -> BoardNumbers:
        """Return these numbers, with those of *other* in place of zeros."""
        return BoardNumbers(
            self.port or other.port, self.provisioning or other.provisioning, self.control or other.control
        )


@dataclass(frozen=True)
class BoardSpec:
    """One virtual board.

    - *mac*: 6 bytes; None derives one from chip and *index*.
    - *flash_file*: the file that keeps the flash; None keeps it in memory.
    - *strap*: None is `run` if the host has reset lines (RFC 2217), else `download`.
    - *paced*: None runs as fast as possible. Otherwise bytes and flash operations take their real time, at the
      negotiated baud rate; a value above 0 is an upper limit for that rate.
    - *bridge*: the USB bridge in front of the board; only RFC 2217 tells a host which it is.
    - *kill_pid*: the process that the fault `kill-at` kills.
    - *networks*: the Wi-Fi networks around the board.
    - *secure_boot_digests*: secure boot v2 is burned for the public keys with these SHA-256 digests, in hex.
    - *burnt*: all eFuse security bits after the board's own bootloader has burned them; a file beside *flash_file*
      keeps them.
    - *numbers*: its TCP ports.
    - *unplugged*: it is not in its port before the control command `return`.
    """

    chip: Chip
    index: int = 0
    mac: bytes | None = None
    flash_size: int = DEFAULT_FLASH_SIZE
    flash_file: Path | None = None
    revision: int | None = None
    link: PortKind = PortKind.RFC2217
    strap: Strap | None = None
    paced: int | None = None
    faults: tuple[FaultCall, ...] = ()
    kill_pid: int | None = None
    networks: tuple[AccessPoint, ...] = NEIGHBOURS
    secure_boot_digests: tuple[str, ...] = ()
    burnt: EfuseSecurity | None = None
    bridge: BridgeKind | None = None
    numbers: BoardNumbers = BoardNumbers()
    unplugged: bool = False

    def __post_init__(self) -> None:
        if self.mac is not None and (len(self.mac) != 6 or self.mac[0] & 1):
            raise ValueError("a MAC must be 6 bytes of a unicast address")
        if self.flash_size < 1 << 20 or self.flash_size & (self.flash_size - 1) or self.flash_size > 1 << 27:
            raise ValueError("a flash size must be a power of two from 1 MB to 128 MB")
        if not all(map(_DIGEST.fullmatch, self.secure_boot_digests)):
            raise ValueError("a key digest must be 64 lower-case hex digits")
        if self.bridge is not None and self.link is not PortKind.RFC2217:
            raise ValueError("a bridge needs the transport rfc2217")
        room = MODELS[self.chip].secure_boot_keys
        if len(self.secure_boot_digests) > room:
            raise ValueError(f"more than {room} key digests, the limit of an {self.chip.value}")

    def has(self, fault: BoardFault) -> bool:
        """Whether the board has *fault*."""
        return any(call.fault is fault and call.hits(self.index) for call in self.faults)

    def number(self, fault: BoardFault) -> int:
        """Return the N of a fault that needs a number; 0 if the board does not have the fault."""
        return next((call.number for call in self.faults if call.fault is fault and call.hits(self.index)), 0)

    @property
    def model(self) -> ChipModel:
        """The chip that is actually on the board."""
        if not self.has(BoardFault.WRONG_CHIP):
            return MODELS[self.chip]
        return MODELS[Chip.ESP32C3 if self.chip is Chip.ESP32 else Chip.ESP32]

    @property
    def base_mac(self) -> bytes:
        """The MAC in the eFuses."""
        return self.mac if self.mac is not None else derived_mac(self.model.chip, self.index)

    @property
    def real_flash_size(self) -> int:
        """The actual flash size in bytes."""
        return min(self.flash_size, 2 << 20) if self.has(BoardFault.SMALL_FLASH) else self.flash_size

    @property
    def chip_revision(self) -> int:
        """The chip revision as major * 100 + minor."""
        if self.has(BoardFault.OLD_REVISION):
            return 0
        return self.model.revision if self.revision is None else self.revision

    @property
    def security(self) -> EfuseSecurity:
        """The burned eFuse security bits."""
        if self.burnt is not None:
            return self.burnt
        nobodys = (_NOBODYS_DIGEST,) if self.has(BoardFault.SECURE_BOOT) else ()
        return EfuseSecurity(
            self.model.chip,
            flash_encryption=self.has(BoardFault.FLASH_ENCRYPTION),
            download_mode=self._download_mode,
            digests=self.secure_boot_digests or nobodys,
        )

    @property
    def _download_mode(self) -> DownloadMode:
        if not self.has(BoardFault.SECURE_DOWNLOAD):
            return DownloadMode.OPEN
        return DownloadMode.OFF if self.model.chip is Chip.ESP32 else DownloadMode.SECURE

    @property
    def boot_strap(self) -> Strap:
        """The strap in force when the board is first powered."""
        if self.strap is not None:
            return self.strap
        return Strap.RUN if self.link is PortKind.RFC2217 else Strap.DOWNLOAD

    def swapped(self, faults: tuple[FaultCall, ...] = ()) -> BoardSpec:
        """Return a different board of the same kind: a different MAC, its own blank flash, and only these *faults*."""
        number = int.from_bytes(self.base_mac[3:], "big") * _FACTOR + _SUMMAND & 0xFFFFFF
        mac = self.base_mac[:3] + number.to_bytes(3, "big")
        return replace(self, mac=mac, flash_file=None, faults=faults, burnt=None)


_FACTOR, _SUMMAND = 1664525, 1013904223
"""Of a generator with the full period of 2**24 (Knuth, TAOCP 2, 3.2.1.2, theorem A): two slots whose boards are swapped
again and again never come to the same boards one after the other, as with a hash."""


def derived_mac(chip: Chip, index: int) -> bytes:
    """Return a MAC with Espressif's prefix 24:0A:C4 for board *index* of this *chip*."""
    seed = hashlib.sha256(chip.value.encode()).digest()
    return _OUI + seed[:1] + (int.from_bytes(seed[1:3], "big") + index & 0xFFFF).to_bytes(2, "big")
