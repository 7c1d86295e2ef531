"""The loader of the mask ROM: what a chip in download mode answers on its UART before a stub runs.

Sources: esptool documentation, "Serial Protocol" ("Commands", "Responses"); esptool 5.6 `loader.py` for what a host
expects. Observed on a real mask ROM in an emulator: the echo of the previous command on an unknown one, the stale value
word, and the eight replies to SYNC.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rmfab.product.vocabulary import Chip
from rmfab.virtual.chip.command import Command, CommandError, Effect, Op, Reaction, checksum, response
from rmfab.virtual.chip.efuse import EfuseSecurity, security_info
from rmfab.virtual.chip.flash import Flash, FlashError
from rmfab.virtual.chip.flash_write import MD5_SECONDS_PER_BYTE, FlashWriting, Inflation, Overrun, erase_seconds
from rmfab.virtual.chip.models import ChipModel
from rmfab.virtual.chip.registers import Registers

FRAME_LIMIT = 0x2000
_SYNC = b"\x07\x07\x12\x20" + b"\x55" * 32
_SYNC_VALUE = 0x20120707  # not 0, which is how esptool tells the ROM from a running stub
# Error codes of the ROM: esptool 5.6 `util.py`, FatalError.WithResult (0x105 to 0x10B).
_INVALID, _FAILED, _CHECKSUM, _WRITE, _READ, _DEFLATE = 0x05, 0x06, 0x07, 0x08, 0x09, 0x0B
# Address of rom_spiflash_legacy_funcs.read in the ESP32-S3's ROM (esptool 5.6 `loader.py`, run_stub()). With secure
# boot on, that ROM does not jump to code in RAM; esptool points this function pointer at the stub and triggers it with
# READ_FLASH_SLOW.
_S3_READ_POINTER = 0x3FCEF688
# With secure boot on. esptool has a workaround for the S3 (above), and disables the stub on the C3.
_RUNS_NO_CODE = (Chip.ESP32S3, Chip.ESP32C3)
# Data lengths in bytes of the commands whose length is fixed (SPI_ATTACH: 8 in the ROM, 4 in the stub).
_LENGTHS = {
    Op.FLASH_END: 4, Op.MEM_BEGIN: 16, Op.MEM_END: 8, Op.SYNC: 36, Op.READ_REG: 4, Op.SPI_SET_PARAMS: 24,
    Op.SPI_ATTACH: 8, Op.READ_FLASH_SLOW: 8, Op.CHANGE_BAUD: 8, Op.DEFL_END: 4, Op.FLASH_MD5: 16,
    Op.GET_SECURITY_INFO: 0,
}  # fmt: skip
_SECURE_DOWNLOAD_OPS = frozenset(
    {Op.SYNC, Op.FLASH_BEGIN, Op.FLASH_DATA, Op.FLASH_END, Op.DEFL_BEGIN, Op.DEFL_DATA, Op.DEFL_END, Op.CHANGE_BAUD,
     Op.SPI_ATTACH, Op.SPI_SET_PARAMS, Op.GET_SECURITY_INFO}
)  # fmt: skip


@dataclass
class Ram:
    """What was loaded into RAM since the restart, as ranges, and the segment that is being loaded."""

    model: ChipModel
    loaded: list[tuple[int, int]] = field(default_factory=list)
    base: int = 0
    size: int = 0
    block: int = 0

    def begin(self, size: int, block: int, address: int) -> None:
        """Start a segment."""
        self.base, self.size, self.block = address, size, block

    def take(self, sequence: int, length: int) -> bool:
        """Record a block; return False if it lies outside the chip's RAM or its segment.

        The ROM writes such a block anyway, over whatever is there.
        """
        start = self.base + sequence * self.block
        end = start + length
        if end > self.base + self.size or not any(low <= start and end <= high for low, high in self.model.ram):
            return False
        self.loaded.append((start, end))
        return True

    def holds(self, address: int) -> bool:
        """Whether *address* lies in a loaded range."""
        return any(start <= address < end for start, end in self.loaded)


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

    def handle(self, frame: bytes) -> Reaction:
        """Return the reaction to one frame; a frame that is not a request is ignored."""
        command = Command.parse(frame)
        if command is None or command.direction != 0:
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
            return self._refuse(command.op, _READ if command.op == Op.READ_FLASH_SLOW else _FAILED)

    def _answer(self, command: Command, payload: bytes = b"", value: int | None = None) -> Reaction:
        self._last = (command.op, self._last[1] if value is None else value)
        return Reaction([response(*self._last, payload + bytes(4))])

    def _refuse(self, op: int, code: int) -> Reaction:
        self._last = (op, self._last[1])
        return Reaction([response(*self._last, bytes([1, code, 0, 0]))])

    def _unknown(self) -> Reaction:
        """Echo the number and value of the previous command, as the ROM does; SYNC had eight replies."""
        times = 8 if self._last[0] == Op.SYNC else 1
        return Reaction([response(*self._last, bytes([1, _INVALID, 0, 0]))] * times)

    def _sync(self, command: Command) -> Reaction:
        if command.data != _SYNC:
            raise CommandError(_INVALID)
        reaction = self._answer(command, value=_SYNC_VALUE)
        reaction.replies *= 8
        return reaction

    def _read_reg(self, command: Command) -> Reaction:
        return self._answer(command, value=self._registers.read(command.words()[0]))

    def _write_reg(self, command: Command) -> Reaction:
        words = command.words()
        if not words or len(command.data) % 16:
            raise CommandError(_INVALID)
        for address, value, mask, _delay in zip(words[::4], words[1::4], words[2::4], words[3::4], strict=True):
            self._registers.write(address, value, mask)
        return self._answer(command)

    def _security_info(self, command: Command) -> Reaction:
        return self._answer(command, security_info(self._model, self._security, self._revision))

    def _mem_begin(self, command: Command) -> Reaction:
        size, _blocks, block, address = command.words()
        self._ram.begin(size, block, address)
        return self._answer(command)

    def _mem_data(self, command: Command) -> Reaction:
        payload = self._payload(command)
        if not self._ram.take(command.words()[1], len(payload)):
            return Reaction(effect=Effect.CRASH)
        return self._answer(command)

    def _mem_end(self, command: Command) -> Reaction:
        stay, entry = command.words()
        reaction = self._answer(command)
        if not stay and not (self._security.secure_boot and self._model.chip in _RUNS_NO_CODE):
            reaction.effect = Effect.STUB if self._ram.holds(entry) else Effect.CRASH
        return reaction

    def _attach(self, command: Command) -> Reaction:
        self._registers.spi.attached = True
        return self._answer(command)

    def _set_params(self, command: Command) -> Reaction:
        self._flash_size = command.words()[1]
        return self._answer(command)

    def _change_baud(self, command: Command) -> Reaction:
        reaction = self._answer(command)
        reaction.effect, reaction.value = Effect.BAUD, command.words()[0]
        return reaction

    def _flash_begin(self, command: Command) -> Reaction:
        if len(command.data) != (20 if self._model.has_security_info else 16):
            raise CommandError(_INVALID)
        size, _blocks, _block, offset, *encrypted = command.words()
        self._need_flash(offset, size)
        if any(encrypted):  # no key to encrypt with
            raise CommandError(_FAILED)
        self._flash.erase(offset, size)
        self._writing = FlashWriting(
            self._flash, offset, size, compressed=command.op == Op.DEFL_BEGIN, erase_ahead=False
        )
        reaction = self._answer(command)
        reaction.before = erase_seconds(offset, size)
        return reaction

    def _flash_data(self, command: Command) -> Reaction:
        payload = self._payload(command)
        if self._writing is None:
            raise CommandError(_FAILED)
        try:
            seconds = self._writing.write(payload)
        except Inflation:
            raise CommandError(_DEFLATE) from None
        except (Overrun, FlashError):
            raise CommandError(_WRITE) from None
        reaction = self._answer(command)
        reaction.before = seconds
        return reaction

    def _flash_end(self, command: Command) -> Reaction:
        reaction = self._answer(command)
        reaction.effect = Effect.RUN if command.words()[0] else Effect.RESTART
        return reaction

    def _read_slow(self, command: Command) -> Reaction:
        address, length = command.words()
        entry = self._registers.read(_S3_READ_POINTER) if self._model.chip.value == "esp32s3" else 0
        if self._ram.holds(entry):
            return Reaction(effect=Effect.STUB)
        if length > 64:
            raise CommandError(_READ)
        self._need_flash(address, length)
        return self._answer(command, self._flash.read(address, length).ljust(64, b"\x00"))

    def _md5(self, command: Command) -> Reaction:
        address, size = command.words()[:2]
        self._need_flash(address, size)
        reaction = self._answer(command, self._flash.md5(address, size).hex().encode())
        reaction.before = size * MD5_SECONDS_PER_BYTE
        return reaction

    def _need_flash(self, address: int, length: int) -> None:
        """Reject flash access before SPI_ATTACH, and beyond the size from SPI_SET_PARAMS."""
        if length and not self._registers.spi.attached:
            raise CommandError(_FAILED)
        if address + length > self._flash_size:
            raise CommandError(_FAILED)

    def _payload(self, command: Command) -> bytes:
        words = command.words()
        if len(words) < 4 or words[0] != len(command.payload):
            raise CommandError(_INVALID)
        if checksum(command.payload) != command.checksum & 0xFF:
            raise CommandError(_CHECKSUM)
        return command.payload
