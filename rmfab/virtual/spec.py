"""What a virtual board is, before it is powered: chip, MAC, flash, straps, faults."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from enum import Enum, unique
from pathlib import Path

from rmfab.product.vocabulary import Chip, DownloadMode
from rmfab.virtual.chip.efuse import EfuseSecurity
from rmfab.virtual.chip.models import MODELS, ChipModel
from rmfab.virtual.faults import BoardFault, FaultCall
from rmfab.virtual.network import NEIGHBOURS, AccessPoint

DEFAULT_FLASH_SIZE = 4 << 20
_DIGEST = re.compile("[0-9a-f]{64}")
_NOBODYS_DIGEST = hashlib.sha256(b"a key that nobody has").hexdigest()
_OUI = bytes.fromhex("240ac4")


@unique
class Strap(Enum):
    """How the boot pin is strapped while no host pulls it."""

    DOWNLOAD = "download"
    RUN = "run"


@unique
class PortKind(Enum):
    """How a host reaches the board: `rfc2217` carries DTR and RTS, `pty` and `socket` only bytes."""

    RFC2217 = "rfc2217"
    PTY = "pty"
    SOCKET = "socket"


@dataclass(frozen=True)
class BoardSpec:
    """One board. *mac* None takes one made of chip and *index*; *flash_file* None keeps the flash in memory.

    *strap* None is `run` where the host has reset lines and `download` where it has none. *paced* None is as fast as
    can be, otherwise bytes and flash take their time: at the negotiated rate, and at most at *paced* baud where that is
    not 0. *kill_pid* is the process that the fault `kill-at` ends. *networks* are the Wi-Fi networks around it.
    *secure_boot_digests*: secure boot v2 is burnt, for the public keys of these SHA-256 in hex. *burnt* is all that is
    burnt, once the board's own bootloader has done so; a file beside *flash_file* keeps it.
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

    def __post_init__(self) -> None:
        if self.mac is not None and (len(self.mac) != 6 or self.mac[0] & 1):
            raise ValueError("a board's MAC is six bytes of a unicast address")
        if self.flash_size < 1 << 20 or self.flash_size & (self.flash_size - 1) or self.flash_size > 1 << 27:
            raise ValueError("a flash size is a power of two from 1 MB to 128 MB")
        if not all(map(_DIGEST.fullmatch, self.secure_boot_digests)):
            raise ValueError("a key digest is 64 hex digits in lower case")
        room = MODELS[self.chip].secure_boot_keys
        if len(self.secure_boot_digests) > room:
            raise ValueError(f"more key digests than the {room} that an {self.chip.value} has room for")

    def has(self, fault: BoardFault) -> bool:
        """Whether the board has *fault*."""
        return any(call.fault is fault and call.hits(self.index) for call in self.faults)

    def number(self, fault: BoardFault) -> int:
        """The N of a fault that takes a number; 0 where the board has not got it."""
        return next((call.number for call in self.faults if call.fault is fault and call.hits(self.index)), 0)

    @property
    def model(self) -> ChipModel:
        """The chip that is really on the board."""
        if not self.has(BoardFault.WRONG_CHIP):
            return MODELS[self.chip]
        return MODELS[Chip.ESP32C3 if self.chip is Chip.ESP32 else Chip.ESP32]

    @property
    def base_mac(self) -> bytes:
        """The MAC in the eFuses."""
        return self.mac if self.mac is not None else derived_mac(self.model.chip, self.index)

    @property
    def real_flash_size(self) -> int:
        """Bytes of flash that are really there."""
        return min(self.flash_size, 2 << 20) if self.has(BoardFault.SMALL_FLASH) else self.flash_size

    @property
    def chip_revision(self) -> int:
        """major * 100 + minor."""
        if self.has(BoardFault.OLD_REVISION):
            return 0
        return self.model.revision if self.revision is None else self.revision

    @property
    def security(self) -> EfuseSecurity:
        """What has been burnt."""
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

    def swapped(self) -> BoardSpec:
        """Another board of the same make: other MAC, its own blank flash, no faults."""
        mac = self.base_mac[:3] + hashlib.sha256(self.base_mac).digest()[:3]
        return replace(self, mac=mac, flash_file=None, faults=(), burnt=None)


def derived_mac(chip: Chip, index: int) -> bytes:
    """A MAC of Espressif's 24:0A:C4 for board *index* of this *chip*."""
    seed = hashlib.sha256(chip.value.encode()).digest()
    return _OUI + seed[:1] + (int.from_bytes(seed[1:3], "big") + index & 0xFFFF).to_bytes(2, "big")
