"""Commands of the serial protocol, the replies to them, and their effect on the board."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum, unique
from functools import reduce
from operator import xor

_HEAD = struct.Struct("<BBHI")


@unique
class Op(IntEnum):
    """Commands of the ROM and of the stub.

    Source: esptool documentation, "Serial Protocol", section "Commands"; esptool 5.6 `loader.py` (ESP_CMDS).
    """

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
    """The loader rejects a command with *code*: one byte in the ROM, a big-endian 16-bit word in the stub."""

    def __init__(self, code: int) -> None:
        super().__init__(f"0x{code:x}")
        self.code = code


@dataclass(frozen=True)
class Command:
    """A request as received; *checksum* is the word from the header."""

    direction: int
    op: int
    length: int
    checksum: int
    data: bytes

    @classmethod
    def parse(cls, frame: bytes) -> Command | None:
        """Parse *frame*; return None if it is too short to be a request."""
        if len(frame) < _HEAD.size:
            return None
        direction, op, length, checksum = _HEAD.unpack_from(frame)
        return cls(direction, op, length, checksum, frame[_HEAD.size :])

    def words(self) -> tuple[int, ...]:
        """Return the data as little-endian 32-bit words, without a tail of fewer than four bytes."""
        return struct.unpack_from(f"<{len(self.data) // 4}I", self.data)

    @property
    def payload(self) -> bytes:
        """The payload of a *_DATA command, after its 16 bytes of length, sequence number and two zero words."""
        return self.data[16:]


def checksum(data: bytes) -> int:
    """Return the XOR of all bytes, with the initial value 0xEF.

    The bytes are folded word by word first, so that a 16 KB block needs no loop over its bytes.
    """
    folded = int.from_bytes(data, "little")
    bits = 8 * len(data)
    while bits > 64:
        half = (bits // 2 + 7) // 8 * 8
        folded = (folded >> half) ^ (folded & ((1 << half) - 1))
        bits = half
    return reduce(xor, folded.to_bytes(8, "little"), 0xEF)


def response(op: int, value: int, payload: bytes) -> bytes:
    """Return a reply frame; *payload* ends with the status bytes."""
    return _HEAD.pack(1, op, len(payload), value) + payload


@unique
class Effect(IntEnum):
    """What a command does to the board, apart from the flash.

    After CRASH and RUN no loader answers: the loader died, or it left the chip to other code.
    """

    BAUD = 1
    STUB = 2
    CRASH = 3
    RUN = 4
    RESTART = 5


@dataclass
class Reaction:
    """The reply frames, the chip's working time *before* and *after* sending them in seconds, and the *effect*.

    *text* is what the chip prints after the replies, outside any frame.
    """

    replies: list[bytes] = field(default_factory=list)
    text: str = ""
    before: float = 0.0
    after: float = 0.0
    effect: Effect | None = None
    value: int = 0
