"""The flasher stub that a host has loaded into RAM, with the behaviour of esp-flasher-stub 1.x.

The stub is detected by its load address, not by its code: this state machine runs in its place. It acknowledges data
before it writes them, so that a flash error is the reply to the *next* command. Source: esp-flasher-stub
`src/command_handler.c`, `commands.h`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from rmfab.virtual.chip.command import DATA_OPS, Command, CommandError, Effect, Op, Reaction, checksum, response
from rmfab.virtual.chip.efuse import EfuseSecurity, security_info
from rmfab.virtual.chip.flash import SECTOR, Flash, FlashError
from rmfab.virtual.chip.flash_cipher import blank_key_cipher
from rmfab.virtual.chip.flash_write import MD5_SECONDS_PER_BYTE, FlashWriting, Inflation, Overrun, erase_seconds
from rmfab.virtual.chip.models import ChipModel
from rmfab.virtual.chip.ram import Ram
from rmfab.virtual.chip.registers import Registers
from rmfab.virtual.chip.slip import BrokenFrame

FRAME_LIMIT = 0x4000 + 8 + 16  # block, header, the four words of a *_DATA command
GREETING = b"OHAI"
# Error codes of the stub: esptool 5.6 `util.py`, FatalError.WithResult (0xC000 to 0xC900).
_LENGTH, _CHECKSUM, _BLOCK_SIZE, _INVALID, _SPI = 0xC000, 0xC100, 0xC200, 0xC300, 0xC400
_NO_FLASH_MODE, _INFLATE, _TOO_MUCH = 0xC600, 0xC700, 0xC900
_MAX_BLOCK = 0x4000
# Data lengths in bytes that the stub insists on. The optional fifth word of FLASH_BEGIN requests encryption.
_LENGTHS = {
    Op.SYNC: (36,), Op.FLASH_BEGIN: (16, 20), Op.DEFL_BEGIN: (16, 20), Op.FLASH_END: (4,), Op.DEFL_END: (4,),
    Op.MEM_BEGIN: (16,), Op.MEM_END: (8,), Op.READ_REG: (4,), Op.SPI_SET_PARAMS: (24,), Op.SPI_ATTACH: (4,),
    Op.CHANGE_BAUD: (8,), Op.FLASH_MD5: (16,), Op.READ_FLASH: (16,), Op.ERASE_REGION: (8,), Op.ERASE_FLASH: (0,),
    Op.GET_SECURITY_INFO: (0,), Op.RUN_USER_CODE: (0,),
}  # fmt: skip


class Stub:
    """Answers requests one by one until the next restart."""

    def __init__(
        self, model: ChipModel, flash: Flash, registers: Registers, security: EfuseSecurity, revision: int
    ) -> None:
        self._model = model
        self._flash = flash
        self._registers = registers
        self._security = security
        self._revision = revision
        self._writing: FlashWriting | None = None
        self._ram = Ram(model)
        self._in_memory_mode = False
        self._late_error = 0
        self._reading: _Reading | None = None
        registers.spi.attached = True
        self._ops: dict[int, Callable[[Command], Reaction]] = {
            Op.SYNC: self._sync,
            Op.FLASH_BEGIN: self._flash_begin,
            Op.FLASH_DATA: self._flash_data,
            Op.FLASH_END: self._flash_end,
            Op.DEFL_BEGIN: self._flash_begin,
            Op.DEFL_DATA: self._flash_data,
            Op.DEFL_END: self._flash_end,
            Op.MEM_BEGIN: self._mem_begin,
            Op.MEM_DATA: self._mem_data,
            Op.MEM_END: self._mem_end,
            Op.READ_REG: self._read_reg,
            Op.WRITE_REG: self._write_reg,
            Op.SPI_SET_PARAMS: self._set_params,
            Op.SPI_ATTACH: self._attach,
            Op.CHANGE_BAUD: self._change_baud,
            Op.FLASH_MD5: self._md5,
            Op.READ_FLASH: self._read_flash,
            Op.ERASE_FLASH: self._erase_flash,
            Op.ERASE_REGION: self._erase_region,
            Op.RUN_USER_CODE: self._run_user_code,
        }
        if model.has_security_info:
            self._ops[Op.GET_SECURITY_INFO] = self._security_info

    def handle(self, frame: bytes | BrokenFrame) -> Reaction:
        """Return the reaction to one frame: a request, or the acknowledgement of a packet of READ_FLASH.

        A broken frame is ignored.
        """
        if isinstance(frame, BrokenFrame):
            return Reaction()
        if self._reading is not None:
            return self._go_on_reading(frame)
        command = Command.parse(frame)
        if command is None:
            return Reaction()
        try:
            self._check(command)
            return self._ops[command.op](command)
        except CommandError as error:
            return Reaction([response(command.op, 0, error.code.to_bytes(2, "big"))])
        except FlashError:
            return Reaction([response(command.op, 0, _SPI.to_bytes(2, "big"))])

    def _check(self, command: Command) -> None:
        if self._late_error:
            code, self._late_error = self._late_error, 0
            raise CommandError(code)
        if command.direction != 0 or command.op not in self._ops:
            raise CommandError(_INVALID)
        op = Op(command.op)
        if command.length != len(command.data) or command.length not in _LENGTHS.get(op, (command.length,)):
            raise CommandError(_LENGTH)
        if op in DATA_OPS:
            self._check_data(command)

    def _check_data(self, command: Command) -> None:
        words = command.words()
        if len(words) < 4:
            raise CommandError(_LENGTH)
        if words[0] != len(command.payload):
            raise CommandError(_TOO_MUCH)
        if len(command.payload) > _MAX_BLOCK:
            raise CommandError(_BLOCK_SIZE)
        if checksum(command.payload) != command.checksum & 0xFF:
            raise CommandError(_CHECKSUM)

    def _answer(self, command: Command, payload: bytes = b"", value: int = 0) -> Reaction:
        return Reaction([response(command.op, value, payload + bytes(2))])

    def _sync(self, command: Command) -> Reaction:
        reaction = self._answer(command)
        reaction.replies *= 8
        return reaction

    def _read_reg(self, command: Command) -> Reaction:
        return self._answer(command, value=self._registers.read(command.words()[0]))

    def _write_reg(self, command: Command) -> Reaction:
        words = command.words()
        if not words or len(command.data) % 16:
            raise CommandError(_LENGTH)
        for address, value, mask, _delay in zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True):
            self._registers.write(address, value, mask)
        return self._answer(command)

    def _security_info(self, command: Command) -> Reaction:
        return self._answer(command, security_info(self._model, self._security, self._revision))

    def _set_params(self, command: Command) -> Reaction:
        return self._answer(command)

    def _attach(self, command: Command) -> Reaction:
        return self._answer(command)

    def _change_baud(self, command: Command) -> Reaction:
        reaction = self._answer(command)
        reaction.effect, reaction.value = Effect.BAUD, command.words()[0]
        return reaction

    def _flash_begin(self, command: Command) -> Reaction:
        size, _blocks, block, offset, *encrypted = command.words()
        if block > _MAX_BLOCK:
            raise CommandError(_BLOCK_SIZE)
        cipher = blank_key_cipher(self._security) if any(encrypted) else None
        if offset + size > self._flash.size or (any(encrypted) and cipher is None):
            raise CommandError(_SPI)
        compressed = command.op == Op.DEFL_BEGIN
        self._writing = FlashWriting(self._flash, offset, size, compressed=compressed, erase_ahead=True, cipher=cipher)
        return self._answer(command)

    def _flash_data(self, command: Command) -> Reaction:
        if self._writing is None:
            raise CommandError(_NO_FLASH_MODE)
        if command.words()[1] == 0:
            self._writing.restart_stream()
        reaction = self._answer(command)
        try:
            reaction.after = self._writing.write(command.payload)
        except Inflation:
            self._late_error = _INFLATE
        except Overrun:
            self._late_error = _TOO_MUCH
        except FlashError:
            self._late_error = _SPI
        return reaction

    def _flash_end(self, command: Command) -> Reaction:
        if self._writing is None:
            raise CommandError(_NO_FLASH_MODE)
        if self._writing.remaining:
            raise CommandError(_LENGTH)
        self._writing = None
        reaction = self._answer(command)
        if command.words()[0] == 0:
            reaction.effect = Effect.RESTART
        return reaction

    def _mem_begin(self, command: Command) -> Reaction:
        size, _blocks, block, address = command.words()
        self._ram.begin(size, block, address)
        self._in_memory_mode = True
        return self._answer(command)

    def _mem_data(self, command: Command) -> Reaction:
        if not self._in_memory_mode:
            raise CommandError(_NO_FLASH_MODE)
        if not self._ram.take(command.words()[1], command.payload):
            return Reaction(effect=Effect.CRASH)
        return self._answer(command)

    def _mem_end(self, command: Command) -> Reaction:
        stay, entry = command.words()
        self._in_memory_mode = False
        reaction = self._answer(command)
        if not stay:
            code = Effect.STUB if self._ram.greets else Effect.RUN
            reaction.effect = code if self._ram.holds(entry) else Effect.CRASH
        return reaction

    def _md5(self, command: Command) -> Reaction:
        address, size = command.words()[:2]
        reaction = self._answer(command, self._flash.md5(address, size))
        reaction.before = size * MD5_SECONDS_PER_BYTE
        return reaction

    def _erase_flash(self, command: Command) -> Reaction:
        self._flash.erase(0, self._flash.size)
        reaction = self._answer(command)
        reaction.before = erase_seconds(0, self._flash.size)
        return reaction

    def _erase_region(self, command: Command) -> Reaction:
        address, size = command.words()
        if address % SECTOR or size % SECTOR:
            raise CommandError(_LENGTH)
        self._flash.erase(address, size)
        reaction = self._answer(command)
        reaction.before = erase_seconds(address, size)
        return reaction

    def _run_user_code(self, _command: Command) -> Reaction:
        return Reaction(effect=Effect.RESTART)

    def _read_flash(self, command: Command) -> Reaction:
        address, length, packet, _in_flight = command.words()
        reading = _Reading(self._flash.read(address, length), max(packet, 1))
        reaction = self._answer(command)
        reaction.replies.append(reading.next())
        self._reading = reading
        return reaction

    def _go_on_reading(self, frame: bytes) -> Reaction:
        """Send the next packet: one is in flight at a time. An acknowledgement of a different count is ignored.

        A frame of a different length, such as a command, ends the reading: it is lost, and only the MD5 is sent.
        """
        reading = self._reading
        if reading is None or (len(frame) == 4 and int.from_bytes(frame, "little") != reading.sent):
            return Reaction()
        if len(frame) == 4 and reading.sent < len(reading.data):
            return Reaction([reading.next()])
        self._reading = None
        return Reaction([hashlib.md5(reading.data[: reading.sent], usedforsecurity=False).digest()])


class _Reading:
    """A READ_FLASH in progress."""

    def __init__(self, data: bytes, packet: int) -> None:
        self.data = data
        self.sent = 0
        self._packet = packet

    def next(self) -> bytes:
        piece = self.data[self.sent : self.sent + self._packet]
        self.sent += len(piece)
        return piece
