"""The register bus of READ_REG and WRITE_REG: eFuses, the SPI memory controller, the UART divider, a watchdog.

Sources: esptool 5.6 `loader.py`, `run_spiflash_command()` (the user commands of the SPI controller), and
`targets/esp32c3.py`, `watchdog_reset()`; the opcodes and the SFDP header (JESD216) are those of SPI NOR flash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rmfab.virtual.chip.flash import Flash
from rmfab.virtual.chip.models import MAGIC_REGISTER, ChipModel

_USR_COMMAND = 1 << 18  # SPI_CMD_USR: starts a user command, and reads 0 once it is done
_WATCHDOG_KEY = 0x50D83AA1  # RTC_CNTL_WDT_WKEY: unlocks the watchdog's registers
_WATCHDOG_ENABLE = 1 << 31
_SFDP = b"SFDP\x06\x01\x00\xff\x00\x06\x01\x10\x30\x00\x00\xff\xc8\x00\x01\x03\x90\x00\x00\xff"
# Opcodes that read and write status registers 1 to 3; any write needs a write enable (0x06 or 0x50) before it.
_STATUS_READ = {0x05: 0, 0x35: 1, 0x15: 2}
_STATUS_WRITE = {0x01: 0, 0x31: 1, 0x11: 2}


class Registers:
    """32-bit words by address; *fixed* are the eFuses, which no write changes.

    *baud* returns the UART's current rate. *on_watchdog* is called when the host arms the RTC watchdog.
    """

    def __init__(
        self,
        model: ChipModel,
        flash: Flash,
        fixed: Mapping[int, int],
        baud: Callable[[], int],
        on_watchdog: Callable[[], None],
    ) -> None:
        self._model = model
        self._fixed = fixed
        self._words: dict[int, int] = {}
        self._baud = baud
        self._on_watchdog = on_watchdog
        self.spi = SpiController(model, flash, self._words)

    def read(self, address: int) -> int:
        """Return the word at *address*; 0 if the register is not modelled."""
        if address == MAGIC_REGISTER:
            return self._model.magic
        if address == self._model.uart_divider:
            return round(self._model.crystal / self._baud())
        if address in self._fixed:
            return self._fixed[address]
        return self._words.get(address, 0)

    def write(self, address: int, value: int, mask: int) -> None:
        """Change the bits of *mask* and trigger what the hardware does on that write."""
        if address in self._fixed:
            return
        self._words[address] = self._words.get(address, 0) & ~mask & 0xFFFFFFFF | value & mask
        if address == self._model.spi.base and value & mask & _USR_COMMAND:
            self.spi.execute()
        elif self._model.watchdog is not None and address == self._model.watchdog[0]:
            locked = self._words.get(self._model.watchdog[1], 0) != _WATCHDOG_KEY
            if value & _WATCHDOG_ENABLE and not locked:
                self._on_watchdog()


class SpiController:
    """The SPI memory controller's user commands, and the flash chip that answers them once *attached*."""

    def __init__(self, model: ChipModel, flash: Flash, words: dict[int, int]) -> None:
        self._layout = model.spi
        self._flash = flash
        self._words = words
        self._write_enabled = False
        self.attached = False

    def execute(self) -> None:
        """Run the command that the registers describe; the command bit reads 0 afterwards."""
        layout, words = self._layout, self._words
        words[layout.base] = words.get(layout.base, 0) & ~_USR_COMMAND
        command = words.get(layout.base + layout.usr2, 0) & 0xFF
        usr = words.get(layout.base + layout.usr, 0)
        written = words.get(layout.base + layout.w0, 0)
        length = words.get(layout.base + layout.mosi_length, 0) + 1 if usr & 1 << 27 else 0
        answer = self._transfer(command, written, length)
        if usr & 1 << 28:
            bits = words.get(layout.base + layout.miso_length, 0) + 1
            words[layout.base + layout.w0] = answer & ((1 << min(bits, 32)) - 1)

    def _transfer(self, command: int, written: int, length: int) -> int:
        """Exchange one command with the flash chip: send *length* bits of *written*, return what MISO reads.

        All bits read 1 until SPI_ATTACH has routed the pins.
        """
        if not self.attached:
            return 0xFFFFFFFF
        if command == 0x9F:
            return self._flash.rdid
        if command == 0x5A:
            at = self._address()
            return int.from_bytes(_SFDP[at : at + 4].ljust(4, b"\xff"), "little")
        if command in _STATUS_READ:
            return self._flash.status[_STATUS_READ[command]]
        if command in _STATUS_WRITE and self._write_enabled:
            self._write_status(_STATUS_WRITE[command], written, length)
        self._write_enabled = command in (0x06, 0x50)
        return 0

    def _write_status(self, first: int, written: int, length: int) -> None:
        status = self._flash.status
        for index in range(first, min(first + max(length // 8, 1), 3)):
            status[index] = written & 0xFF
            written >>= 8
        status[0] &= 0xFC  # WIP and WEL are not writable

    def _address(self) -> int:
        address = self._words.get(self._layout.base + 4, 0)  # SPI_ADDR_REG
        return address >> 8 if self._layout.address_from_msb else address & 0xFFFFFF
