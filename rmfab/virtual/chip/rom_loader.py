"""The loader of the mask ROM: what a chip in download mode answers on its UART before a stub runs.

Sources: esptool documentation, "Serial Protocol" ("Commands", "Responses"); esptool 5.6 `loader.py` for what a host
expects. Observed on the mask ROMs of ESP32 and ESP32-C3 in an emulator, frame by frame: the echo of the previous
command on an unknown one, the stale value word, the eight replies to SYNC, the error codes, what kills the loader, and
which lengths it does not check. A chip that was not observed behaves as the C3: its ROM is of the same generation.
That READ_FLASH_SLOW fails with 09 beyond the flash is from boards (esptool issue 823).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from rmfab.product.vocabulary import Chip
from rmfab.virtual.chip.command import Command, CommandError, Effect, Op, Reaction, checksum, response
from rmfab.virtual.chip.efuse import EfuseSecurity, security_info
from rmfab.virtual.chip.flash import SECTOR, Flash, FlashError
from rmfab.virtual.chip.flash_write import MD5_SECONDS_PER_BYTE, FlashWriting, Inflation, Overrun, erase_seconds
from rmfab.virtual.chip.models import ChipModel
from rmfab.virtual.chip.ram import Ram
from rmfab.virtual.chip.registers import Registers
from rmfab.virtual.chip.slip import BrokenFrame

FRAME_LIMIT = 0x2000
_SYNC_VALUE = 0x20120707  # not 0, which is how esptool tells the ROM from a running stub
# Error codes of the ROM: esptool 5.6 `util.py`, FatalError.WithResult (0x105 to 0x10B).
_INVALID, _FAILED, _CHECKSUM, _WRITE, _READ, _READ_LENGTH, _DEFLATE = 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B
# Address of rom_spiflash_legacy_funcs.read in the ESP32-S3's ROM (esptool 5.6 `loader.py`, run_stub()). With secure
# boot on, that ROM does not jump to code in RAM; esptool points this function pointer at the stub and triggers it with
# READ_FLASH_SLOW.
_S3_READ_POINTER = 0x3FCEF688
# With secure boot on. esptool has a workaround for the S3 (above), and disables the stub on the C3.
_RUNS_NO_CODE = (Chip.ESP32S3, Chip.ESP32C3)
# Data lengths in bytes of the commands whose length the ROM checks.
_LENGTHS = {
    Op.FLASH_END: 4, Op.MEM_BEGIN: 16, Op.SPI_SET_PARAMS: 24, Op.READ_FLASH_SLOW: 8, Op.DEFL_END: 4, Op.FLASH_MD5: 16,
    Op.GET_SECURITY_INFO: 0,
}  # fmt: skip
# Bytes that precede the status in the reply, even if the command fails.
_KEPT_PAYLOAD = {Op.READ_FLASH_SLOW: 64, Op.FLASH_MD5: 32}
_BEGINS = {Op.FLASH_BEGIN: Op.FLASH_DATA, Op.DEFL_BEGIN: Op.DEFL_DATA, Op.MEM_BEGIN: Op.MEM_DATA}
BASIC = "Falling back to built-in command interpreter.\r\nOK\r\n>"
_SECURE_DOWNLOAD_OPS = frozenset(
    {Op.SYNC, Op.FLASH_BEGIN, Op.FLASH_DATA, Op.FLASH_END, Op.DEFL_BEGIN, Op.DEFL_DATA, Op.DEFL_END, Op.CHANGE_BAUD,
     Op.SPI_ATTACH, Op.SPI_SET_PARAMS, Op.GET_SECURITY_INFO}
)  # fmt: skip


class RomLoader:
    """Answers requests one by one. Each restart makes a new one."""

    def __init__(
        self, model: ChipModel, flash: Flash, registers: Registers, security: EfuseSecurity, revision: int
    ) -> None:
        self._model = model
        self._flash = flash
        self._registers = registers
        self._security = security
        self._revision = revision
        self._ram = Ram(model)
        self._writing: FlashWriting | None = None
        self._next: dict[int, int] = {}  # the sequence number that a *_DATA command must have, from its BEGIN on
        self._skips = 0
        self._flash_size = 0x400000
        self._last = (int(Op.SYNC), 0)
        self._ops: dict[int, Callable[[Command], Reaction]] = {
            Op.FLASH_BEGIN: self._flash_begin,
            Op.FLASH_DATA: self._flash_data,
            Op.FLASH_END: self._flash_end,
            Op.MEM_BEGIN: self._mem_begin,
            Op.MEM_DATA: self._mem_data,
            Op.MEM_END: self._mem_end,
            Op.SYNC: self._sync,
            Op.WRITE_REG: self._write_reg,
            Op.READ_REG: self._read_reg,
            Op.SPI_SET_PARAMS: self._set_params,
            Op.SPI_ATTACH: self._attach,
            Op.READ_FLASH_SLOW: self._read_slow,
            Op.CHANGE_BAUD: self._change_baud,
            Op.DEFL_BEGIN: self._flash_begin,
            Op.DEFL_DATA: self._flash_data,
            Op.DEFL_END: self._flash_end,
            Op.FLASH_MD5: self._md5,
        }
        if model.has_security_info:
            self._ops[Op.GET_SECURITY_INFO] = self._security_info

    def handle(self, frame: bytes | BrokenFrame) -> Reaction:
        """Return the reaction to one frame; a frame that is not a request is ignored."""
        if isinstance(frame, BrokenFrame):
            return self._stumble(frame)
        command = Command.parse(frame)
        if self._skips or command is None or command.direction != 0:
            self._skips = 0
            return Reaction()
        run = self._ops.get(command.op)
        if run is None or (self._security.secure_download and command.op not in _SECURE_DOWNLOAD_OPS):
            return self._unknown()
        try:
            if command.length != len(command.data) or _LENGTHS.get(Op(command.op), command.length) != command.length:
                raise CommandError(_INVALID)
            return run(command)
        except CommandError as error:
            return self._refuse(command.op, error.code)
        except FlashError:
            return self._refuse(command.op, _READ if command.op in _KEPT_PAYLOAD else _FAILED)

    def _stumble(self, frame: BrokenFrame) -> Reaction:
        """Die, except that the ESP32 only loses the frame after one that is too long."""
        if frame is BrokenFrame.LENGTH and self._model.chip is Chip.ESP32:
            self._skips = 1
            return Reaction()
        return self._die()

    def _die(self) -> Reaction:
        """Return the last words of the ROM's exception handler; the ESP32's has none in download mode."""
        words = "" if self._model.chip is Chip.ESP32 else "Fatal exception (28): LoadProhibited\r\n"
        if self._model.is_riscv:
            words = "Guru Meditation Error: Core 0 panic'ed (Load access fault)\r\n"
        return Reaction(effect=Effect.CRASH, text=words)

    def _answer(self, command: Command, payload: bytes = b"", value: int | None = None) -> Reaction:
        self._last = (command.op, self._last[1] if value is None else value)
        return Reaction([response(*self._last, payload + bytes(4))])

    def _refuse(self, op: int, code: int) -> Reaction:
        self._last = (op, self._last[1])
        payload = b"" if code == _INVALID else bytes(_KEPT_PAYLOAD.get(Op(op), 0))
        return Reaction([response(*self._last, payload + bytes([1, code, 0, 0]))])

    def _unknown(self) -> Reaction:
        """Echo the number and value of the previous command, as the ROM does; SYNC had eight replies."""
        times = 8 if self._last[0] == Op.SYNC else 1
        return Reaction([response(*self._last, bytes([1, _INVALID, 0, 0]))] * times)

    def _sync(self, command: Command) -> Reaction:
        reaction = self._answer(command, value=_SYNC_VALUE)
        reaction.replies *= 8
        return reaction

    def _read_reg(self, command: Command) -> Reaction:
        (address,) = _words(command, 1)
        return self._answer(command, value=self._registers.read(address))

    def _write_reg(self, command: Command) -> Reaction:
        words = _words(command, 4 * max(1, len(command.data) // 16))
        for address, value, mask, _delay in zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True):
            self._registers.write(address, value, mask)
        return self._answer(command)

    def _security_info(self, command: Command) -> Reaction:
        return self._answer(command, security_info(self._model, self._security, self._revision))

    def _mem_begin(self, command: Command) -> Reaction:
        size, _blocks, block, address = command.words()
        self._ram.begin(size, block, address)
        self._expect_first(command)
        return self._answer(command)

    def _mem_data(self, command: Command) -> Reaction:
        payload = self._payload(command)
        if not self._ram.take(command.words()[1], payload):
            return self._die()
        return self._accepted(command)

    def _mem_end(self, command: Command) -> Reaction:
        stay, entry = _words(command, 2)
        reaction = self._answer(command)
        runs_no_code = self._security.secure_boot and self._model.chip in _RUNS_NO_CODE
        if len(command.data) < 8 or stay or runs_no_code:
            return reaction
        if self._ram.holds(entry):
            reaction.effect = Effect.STUB if self._ram.greets else Effect.RUN
        else:
            death = self._die()
            reaction.effect, reaction.text = death.effect, death.text
        return reaction

    def _attach(self, command: Command) -> Reaction:
        self._registers.spi.attached = True
        return self._answer(command)

    def _set_params(self, command: Command) -> Reaction:
        self._flash_size = command.words()[1]
        return self._answer(command)

    def _change_baud(self, command: Command) -> Reaction:
        reaction = self._answer(command)
        (reaction.value,) = _words(command, 1)
        reaction.effect = Effect.BAUD if reaction.value else None
        return reaction

    def _flash_begin(self, command: Command) -> Reaction:
        if len(command.data) != (20 if self._model.has_security_info else 16):
            raise CommandError(_INVALID)
        size, _blocks, _block, offset, *encrypted = command.words()
        if any(encrypted) or offset % SECTOR:  # no key to encrypt with
            raise CommandError(_FAILED)
        self._need_flash(offset, size, _FAILED)
        self._flash.erase(offset, size)
        self._expect_first(command)
        self._writing = FlashWriting(
            self._flash, offset, size, compressed=command.op == Op.DEFL_BEGIN, erase_ahead=False
        )
        reaction = self._answer(command)
        reaction.before = erase_seconds(offset, size)
        return reaction

    def _flash_data(self, command: Command) -> Reaction:
        payload = self._payload(command)
        if self._writing is None:
            raise CommandError(_INVALID)
        if self._writing.ended:  # its inflater does not check that
            return self._die()
        try:
            seconds = self._writing.write(payload)
        except Inflation:
            raise CommandError(_DEFLATE) from None
        except (Overrun, FlashError):
            raise CommandError(_WRITE) from None
        reaction = self._accepted(command)
        reaction.before = seconds
        return reaction

    def _flash_end(self, command: Command) -> Reaction:
        """Restart, or leave the loader for the flash, from which nothing starts this way."""
        reaction = self._answer(command)
        if not command.words()[0]:
            reaction.effect = Effect.RESTART
        elif command.op == Op.FLASH_END:
            reaction.effect = Effect.RUN
            esp32 = self._model.chip is Chip.ESP32
            reaction.text = f"flash read err, 631\r\n{BASIC}" if esp32 else "user code done\r\n"
        return reaction

    def _read_slow(self, command: Command) -> Reaction:
        address, length = command.words()
        entry = self._registers.read(_S3_READ_POINTER) if self._model.chip.value == "esp32s3" else 0
        if self._ram.holds(entry):
            return Reaction(effect=Effect.STUB)
        if length > 64:
            raise CommandError(_READ_LENGTH)
        self._need_flash(address, length, _READ)
        return self._answer(command, self._flash.read(address, length).ljust(64, b"\x00"))

    def _md5(self, command: Command) -> Reaction:
        address, size = command.words()[:2]
        self._need_flash(address, size, _READ)
        reaction = self._answer(command, self._flash.md5(address, size).hex().encode())
        reaction.before = size * MD5_SECONDS_PER_BYTE
        return reaction

    def _need_flash(self, address: int, length: int, code: int) -> None:
        """Reject flash access with *code* before SPI_ATTACH, and beyond the size from SPI_SET_PARAMS."""
        if (length and not self._registers.spi.attached) or address + length > self._flash_size:
            raise CommandError(code)

    def _expect_first(self, command: Command) -> None:
        """Start to count the blocks that follow a BEGIN command."""
        self._next = {_BEGINS[Op(command.op)]: 0}

    def _accepted(self, command: Command) -> Reaction:
        """Answer a block that was taken."""
        self._next[command.op] += 1
        return self._answer(command)

    def _payload(self, command: Command) -> bytes:
        """Return the block of a *_DATA command.

        FLASH_DATA takes as many bytes as its first word says, whatever it brings; what is missing reads 0.
        """
        words, payload = command.words(), command.payload
        if len(words) < 4 or words[1] != self._next.get(command.op):
            raise CommandError(_INVALID)
        if words[0] != len(payload) and command.op != Op.FLASH_DATA:
            raise CommandError(_INVALID)
        if checksum(payload) != command.checksum & 0xFF:
            raise CommandError(_CHECKSUM)
        return payload[: words[0]].ljust(min(words[0], FRAME_LIMIT), b"\0")


def _words(command: Command, count: int) -> tuple[int, ...]:
    """Return the first *count* words of the data; what is missing reads 0."""
    return struct.unpack_from(f"<{count}I", command.data.ljust(4 * count, b"\0"))
