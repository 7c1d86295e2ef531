"""A command of the serial protocol, what the board answers, and what happens to the board thereafter."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum, unique
from functools import reduce
from operator import xor

_HEAD = struct.Struct("<BBHI")


@unique
class Op(IntEnum):
    """Commands of the ROM and of the stub (esptool serial protocol, "Commands")."""

    FLASH_BEGIN = 0x02
    FLASH_DATA = 0x03
    FLASH_END = 0x04
    MEM_BEGIN = 0x05
    MEM_END = 0x06
    MEM_DATA = 0x07
    SYNC = 0x08
    WRITE_REG = 0x09
    READ_REG = 0x0A
    SPI_SET_PARAMS = 0x0B
    SPI_ATTACH = 0x0D
    READ_FLASH_SLOW = 0x0E
    CHANGE_BAUD = 0x0F
    DEFL_BEGIN = 0x10
    DEFL_DATA = 0x11
    DEFL_END = 0x12
    FLASH_MD5 = 0x13
    GET_SECURITY_INFO = 0x14
    ERASE_FLASH = 0xD0
    ERASE_REGION = 0xD1
    READ_FLASH = 0xD2
    RUN_USER_CODE = 0xD3


DATA_OPS = frozenset({Op.FLASH_DATA, Op.DEFL_DATA, Op.MEM_DATA})


class CommandError(Exception):
    """The loader refuses a command with *code*: one byte in the ROM, a big-endian word in the stub."""

    def __init__(self, code: int) -> None:
        super().__init__(f"0x{code:x}")
        self.code = code


@dataclass(frozen=True)
class Command:
    """A request as it came in; *checksum* is the header's word."""

    direction: int
    op: int
    length: int
    checksum: int
    data: bytes

    @classmethod
    def parse(cls, frame: bytes) -> Command | None:
        """None where *frame* is too short to be a request."""
        if len(frame) < _HEAD.size:
            return None
        direction, op, length, checksum = _HEAD.unpack_from(frame)
        return cls(direction, op, length, checksum, frame[_HEAD.size :])

    def words(self) -> tuple[int, ...]:
        """The data as little-endian 32-bit words; a tail of less than four bytes is left out."""
        return struct.unpack_from(f"<{len(self.data) // 4}I", self.data)

    @property
    def payload(self) -> bytes:
        """What a *_DATA command carries behind its 16 bytes of length, number and two zeroes."""
        return self.data[16:]


def checksum(data: bytes) -> int:
    """XOR of all bytes, begun with 0xEF. Folded by words first, so that a block costs no loop over its bytes."""
    folded = int.from_bytes(data, "little")
    bits = 8 * len(data)
    while bits > 64:
        half = (bits // 2 + 7) // 8 * 8
        folded = (folded >> half) ^ (folded & ((1 << half) - 1))
        bits = half
    return reduce(xor, folded.to_bytes(8, "little"), 0xEF)


def response(op: int, value: int, payload: bytes) -> bytes:
    """A reply: *payload* ends with the status bytes."""
    return _HEAD.pack(1, op, len(payload), value) + payload


@unique
class Effect(IntEnum):
    """What a command does to the board besides the flash."""

    BAUD = 1
    STUB = 2
    CRASH = 3
    RUN = 4
    RESTART = 5


@dataclass
class Reaction:
    """Frames to send, how long the chip works *before* and *after* it sends them (seconds), and the *effect* then."""

    replies: list[bytes] = field(default_factory=list)
    before: float = 0.0
    after: float = 0.0
    effect: Effect | None = None
    value: int = 0
