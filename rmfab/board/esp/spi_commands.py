"""Commands to the flash chip through the SPI registers, with as few requests to the loader as possible.

esptool sends about twelve requests for each command, one per register. WRITE_REG takes any number of registers
(esptool documentation, "Serial Protocol"; esp-flasher-stub `command_handler.c`, s_write_reg), so four requests do.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from rmfab.board.esp.door import esptool

_COMMAND, _ADDRESS, _DUMMY, _MISO, _MOSI = (1 << bit for bit in (31, 30, 29, 28, 27))  # of SPI_USR_REG
_ADDRESS_LENGTH_AT = 26  # in SPI_USR1_REG
_EIGHT_BITS = 7 << 28  # length of the command, in SPI_USR2_REG
_START = 1 << 18  # SPI_CMD_USR
_POLLS = 10
_ALL_BITS = 0xFFFFFFFF


@dataclass(frozen=True)
class _Registers:
    """Addresses of the SPI controller's registers."""

    command: int
    address: int
    user: int
    user1: int
    user2: int
    mosi_length: int
    miso_length: int
    data: int

    @classmethod
    def of(cls, esp: Any) -> _Registers:
        base = esp.SPI_REG_BASE
        offsets = (0, 4, esp.SPI_USR_OFFS, esp.SPI_USR1_OFFS, esp.SPI_USR2_OFFS)
        lengths = (esp.SPI_MOSI_DLEN_OFFS, esp.SPI_MISO_DLEN_OFFS, esp.SPI_W0_OFFS)
        return cls(*(base + offset for offset in (*offsets, *lengths)))


class SpiCommands:
    """A replacement of `ESPLoader.run_spiflash_command` for the loader *esp*, with the same arguments and result.

    Use it only while nothing else uses the controller: it restores the registers to what they contained first.
    """

    def __init__(self, esp: Any) -> None:
        self._esp = esp
        self._registers = _Registers.of(esp)
        self._before: tuple[int, int] | None = None

    def run(
        self,
        spiflash_command: int,
        data: bytes = b"",
        read_bits: int = 0,
        addr: int | None = None,
        addr_len: int = 0,
        dummy_len: int = 0,
    ) -> int:
        """Run a command of at most 64 bytes of data, and return up to 32 bits of answer. Raise esptool's FatalError."""
        if read_bits > 32 or len(data) > 64:
            raise esptool().FatalError("an SPI command takes at most 64 bytes and answers at most 32 bits")
        at, esp = self._registers, self._esp
        user, user2 = self._restored()
        writes = _lengths(at, len(data) * 8, read_bits, addr_len, dummy_len)
        writes += [(at.user, _phases(data, read_bits, addr_len, dummy_len)), (at.user2, _EIGHT_BITS | spiflash_command)]
        if addr_len and addr is not None:
            writes.append((at.address, addr << 32 - addr_len if esp.SPI_ADDR_REG_MSB else addr))
        words = struct.unpack(f"<{-(-len(data) // 4)}I", data + bytes(-len(data) % 4)) or (
            0,
        )  # 0: clear before reading
        writes += [(at.data + 4 * number, word) for number, word in enumerate(words)]
        self._write([*writes, (at.command, _START)])
        self._await_end()
        answer = int(esp.read_reg(at.data)) if read_bits else 0
        self._write([(at.user, user), (at.user2, user2)])
        return answer

    def _restored(self) -> tuple[int, int]:
        """Return what the registers of the controller contain between commands."""
        if self._before is None:
            read = self._esp.read_reg
            self._before = int(read(self._registers.user)), int(read(self._registers.user2))
        return self._before

    def _write(self, values: list[tuple[int, int]]) -> None:
        request = b"".join(struct.pack("<IIII", address, value, _ALL_BITS, 0) for address, value in values)
        self._esp.check_command("write target memory", self._esp.ESP_CMDS["WRITE_REG"], request)

    def _await_end(self) -> None:
        for _ in range(_POLLS):
            if not self._esp.read_reg(self._registers.command) & _START:
                return
        raise esptool().FatalError("SPI command did not complete in time")


def _phases(data: bytes, read_bits: int, addr_len: int, dummy_len: int) -> int:
    """Return which phases of a transfer there are, for SPI_USR_REG."""
    wanted = ((_MISO, read_bits), (_MOSI, data), (_ADDRESS, addr_len), (_DUMMY, dummy_len))
    return _COMMAND | sum(flag for flag, there in wanted if there)


def _lengths(at: _Registers, mosi: int, miso: int, addr_len: int, dummy_len: int) -> list[tuple[int, int]]:
    """Return the lengths in bits, each minus one, of the phases that there are."""
    user1 = (dummy_len - 1 if dummy_len else 0) | (addr_len - 1 << _ADDRESS_LENGTH_AT if addr_len else 0)
    wanted = ((at.mosi_length, mosi - 1, mosi), (at.miso_length, miso - 1, miso), (at.user1, user1, user1))
    return [(address, value) for address, value, there in wanted if there]
