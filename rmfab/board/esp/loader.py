"""A conversation with the loader of the board on one port, through esptool 5.6.

It does not use esptool's write_flash, which compresses again for every board and reconnects silently, perhaps to a
different board. `rmfab.board.esp.facts` makes the checks of write_flash (security, chip, revision, flash size), and so
does the release's preflight (regions, images). tests/board/test_esptool_internals names each use of a private function.
`line_speed.py` changes the rate of the line, `spi_commands.py` talks to the flash chip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import serial

from rmfab.board.esp.diagnoses import explained
from rmfab.board.esp.door import esptool, forget_said
from rmfab.board.esp.efuse_digests import burned_digests
from rmfab.board.esp.facts import BoardFacts, BoardRefused, SecurityState
from rmfab.board.esp.line_speed import GARBLED, LineSpeed
from rmfab.board.esp.payload import DEFL_DATA, Block, Region, blank_md5
from rmfab.board.esp.spi_commands import SpiCommands
from rmfab.board.port import ROM_BAUD, SerialPort, gone, swapped
from rmfab.board.rate_book import RateBook
from rmfab.board.restart import Auto, FixtureCommand, Restart, Unwired
from rmfab.board.slot_speed import SlotSpeed
from rmfab.board.watched_port import watched
from rmfab.errors import PortError

_CONNECT_ATTEMPTS = 3
_BLOCK_ATTEMPTS = 3
_OTHER_REPLIES = 100  # as esptool
_REPLY_BYTES = 10  # head and status
# the stub's codes for a bad length and a bad checksum of a block that it dropped; source: esptool 5.6, util.py
_DAMAGED = ("result was C000", "result was C100")
# the stub's code for a flash chip that failed; no slower rate cures that
_FLASH_FAILED = "result was C400"
# causes that noise may have and a restart may end; esptool takes a chip for unknown if it cannot read its answer
_GARBLED = ("noise", "answer-stopped", "loader-failed", "chip-unknown")
_LOST = ("port-gone", "board-swapped")  # causes that no other rate cures
_SECTOR = 0x1000
_WORTH_ASKING = 16 * _SECTOR

R = TypeVar("R")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class SlotLink:
    """The link to a slot: its address, its baud in the stub (None: what its bridge and cable carry), its restart."""

    address: str
    baud: int | None
    restart: Restart


class Loader:
    """The loader of one board. Every method raises PortError if the conversation fails.

    *keep_going* is called while the board is waited for, and raises to give up. *book* remembers the rate of the slot.
    """

    def __init__(
        self,
        port: SerialPort,
        link: SlotLink,
        keep_going: Callable[[], None] = lambda: None,
        book: RateBook | None = None,
    ) -> None:
        self._port = watched(port, keep_going)
        self._link = link
        self._keep_going = keep_going
        self._line = LineSpeed(lambda: SlotSpeed.of(port, link.address, link.baud, book))
        self._esp: Any = None
        self._facts: BoardFacts | None = None
        self._stub = False

    @property
    def baud(self) -> int:
        """The rate of the line."""
        return self._line.baud

    def connect(self) -> BoardFacts:
        """Bring the board into its ROM loader and return its facts, before anything is uploaded.

        Noise can kill a ROM loader: after an error that noise may have caused, the board is restarted once more.
        """
        forget_said()
        try:
            facts = self._connect()
        except PortError as error:
            if error.cause not in _GARBLED or isinstance(self._link.restart, Unwired):
                raise
            facts = self._connect()
        self._facts = facts
        return facts

    def _connect(self) -> BoardFacts:
        self._guarded(self._lower)
        try:
            self._esp = self._guarded(self._detect)
        except PortError as error:
            if error.cause == "port-gone" or not isinstance(self._link.restart, Unwired):
                raise
            raise PortError(
                f"no board in its loader: {error.what}",
                where=self._link.address,
                hint="restart it with its boot pin (IO0, GPIO9 on C3/C6) low, then try again",
                cause="not-in-loader",
            ) from error
        self._stub = False
        self._line.baud = ROM_BAUD
        return self._guarded(self._ask)

    def prepare(self) -> BoardFacts:
        """Upload the stub, attach the flash, raise the rate of the line, and return the board's facts again."""
        bauds = self._line.rom_bauds
        if isinstance(self._link.restart, Unwired):  # only the first: nothing can restart the board for the next
            bauds = bauds[:1]
        elif len(bauds) == 1:
            bauds *= 2
        facts = self._started(bauds)
        if self.baud != bauds[0]:
            self._line.fell_from(bauds[0])
            return facts
        try:
            self._guarded(lambda: self._line.climb(self._esp))
        except PortError as error:
            if error.cause in _LOST or isinstance(self._link.restart, Unwired):
                raise
            self._reconnect()
            return self._started(bauds)
        return facts

    def _started(self, bauds: tuple[int, ...]) -> BoardFacts:
        """Start the stub at the first of *bauds* that works; the board is restarted for each after the first."""
        for attempt, baud in enumerate(bauds, 1):
            try:
                return self._guarded(partial(self._start_stub, baud))
            except PortError as error:
                if attempt == len(bauds) or error.cause in _LOST:
                    raise
            self._reconnect()
        raise AssertionError("the last baud either works or raises")

    def _reconnect(self) -> None:
        mac = self._facts.mac if self._facts else None
        if self.connect().mac != mac:
            raise swapped(self._link.address)

    def _detect(self) -> Any:
        mode = "default-reset"
        if isinstance(self._link.restart, FixtureCommand):
            self._link.restart.run("download", self._keep_going)
        if not isinstance(self._link.restart, Auto):
            mode = "no-reset"
        esp = esptool().detect_chip(self._port, ROM_BAUD, mode, False, _CONNECT_ATTEMPTS)
        esp.WRITE_FLASH_ATTEMPTS = 1
        return esp

    def _ask(self) -> BoardFacts:
        esp = self._esp
        if esp.secure_download_mode:
            return BoardFacts(esp.CHIP_NAME, None, None, None, SecurityState(secure_download=True))
        v1 = bool(esp.get_secure_boot_v1_enabled())
        v2 = bool(esp.get_secure_boot_enabled()) and not v1
        security = SecurityState(
            secure_boot_v1=v1,
            secure_boot_v2=v2,
            flash_encryption=bool(esp.get_flash_encryption_enabled()),
            secure_boot_digests=burned_digests(esp, esp.CHIP_NAME) if v2 else (),
        )
        return BoardFacts(esp.CHIP_NAME, esp.get_chip_revision(), self._mac(), None, security)

    def _start_stub(self, baud: int) -> BoardFacts:
        cmds = esptool()
        if self._facts is None:
            raise AssertionError("connect comes first")
        if self._esp.sync_stub_detected:
            self._esp = cmds.run_stub(self._esp)
            if baud != ROM_BAUD:
                self._esp.change_baud(baud)
        else:
            self._line.set_rom(self._esp, baud)
            self._esp = cmds.run_stub(self._esp)
        if not self._esp.IS_STUB:
            raise BoardRefused(
                f"esptool cannot run the stub, which writes require, on an {self._esp.CHIP_NAME} with secure boot",
                hint="flash such a board before secure boot is burned, or over the air",
                cause="secure-boot-loader",
            )
        self._line.baud = baud
        self._stub = True
        size = self._attach()
        if self._mac() != self._facts.mac:
            raise swapped(self._link.address)
        return replace(self._facts, flash_size=size)

    def _attach(self) -> int | None:
        """Attach the flash as esptool does, with fewer requests, and return its size."""
        esp, cmds = self._esp, esptool()
        esp.run_spiflash_command = SpiCommands(esp).run
        try:
            cmds.attach_flash(esp)
            named = cmds.detect_flash_size(esp)
        finally:
            del esp.run_spiflash_command
        size: int | None = cmds.flash_size_bytes(named) if named else None
        if size:
            esp.flash_set_parameters(size)
        return size

    def _mac(self) -> str:
        return ":".join(f"{octet:02x}" for octet in self._esp.read_mac("BASE_MAC"))

    def mac(self) -> str:
        """Read the base MAC from the board again, in lower case with colons."""
        return self._guarded(self._mac)

    def md5(self, offset: int, size: int) -> str:
        """Return the MD5 in hex of *size* flash bytes, computed on the board."""
        return self._persistently(lambda: str(self._esp.flash_md5sum(offset, size)))

    def is_blank(self, offset: int, size: int) -> bool:
        """Return whether *size* flash bytes are all 0xFF."""
        return self.md5(offset, size) == blank_md5(size)

    def read(self, offset: int, size: int) -> bytes:
        """Return *size* flash bytes."""
        return self._persistently(lambda: bytes(self._esp.read_flash(offset, size)))

    def erase(self, offset: int, size: int) -> None:
        """Erase whole sectors, but skip those that are already blank, since checking takes less time than erasing."""
        if self.is_blank(offset, size):
            return
        pieces = range(offset, offset + size, _SECTOR) if size <= _WORTH_ASKING else (offset,)
        step = _SECTOR if size <= _WORTH_ASKING else size
        for start in pieces:
            if step == size or not self.is_blank(start, step):
                self._guarded(partial(self._esp.erase_region, start, step))

    def write(self, region: Region, progress: Progress) -> None:
        """Write *region*, again if a block was lost. *progress* receives the compressed bytes done and in total.

        What is blank at its end is erased, not written.
        """
        if region.written:
            self._persistently(lambda: self._write(region, progress))
        if region.written < region.size:
            self.erase(region.offset + region.written, region.size - region.written)

    def trust_rate(self) -> None:
        """Note that a whole board was written and read back at the current rate."""
        self._line.passed()

    def mistrust_rate(self) -> bool:
        """Lower the rate of the line if it was raised; return whether it was: what was written may be damaged."""
        return self._line.raised and self._guarded(self._slow_down)

    def _persistently(self, work: Callable[[], R]) -> R:
        """Return the result of *work*, which may be repeated: after an error once at the same rate, then slower."""
        again = True
        while True:
            try:
                return self._guarded(work)
            except PortError as error:
                if error.cause in _LOST:
                    raise
                if again and self._line.listens(self._esp):
                    again = False
                elif _FLASH_FAILED not in error.what and self._guarded(self._slow_down):
                    again = True
                else:
                    raise

    def _slow_down(self) -> bool:
        """Lower the rate, with a restart if the stub is lost at a raised one; return whether the board answers then.

        Only then it was the rate; otherwise the board is lost.
        """
        raised, rate = self._line.raised, self.baud
        if not self._line.fall(self._esp):
            if not raised or isinstance(self._link.restart, Unwired):
                return False
            self._reconnect()
            self.prepare()
        self._line.fell_from(rate)
        return True

    def _write(self, region: Region, progress: Progress) -> None:
        esp, cmds = self._esp, esptool()
        esp.flash_defl_begin(region.written, region.compressed, region.offset)
        timeout = cmds.DEFAULT_TIMEOUT
        done, total = 0, region.compressed
        for sequence, block in enumerate(region.blocks):
            self._send_block(region.name, sequence, block, timeout, partial(progress, done, total) if done else None)
            # the stub acknowledges a block before it writes it, so the next command waits for this one
            timeout = cmds._get_flash_defl_block_timeout(esp, block.inflated)
            done += len(block.data)
        # acknowledged only after the last block is in the flash
        esp.flash_defl_finish(reboot=False, timeout=timeout)
        progress(done, total)

    def _send_block(
        self, name: str, sequence: int, block: Block, timeout: float, meanwhile: Callable[[], None] | None
    ) -> None:
        """Send a block, again if the stub reports that it arrived damaged and was dropped.

        *meanwhile* is called while it is on the wire: the wire must not wait for it.
        """
        for attempts_left in reversed(range(_BLOCK_ATTEMPTS)):
            try:
                self._port.write(block.frame)
                if meanwhile is not None:
                    meanwhile()
                self._await_reply(f"write {name} after block {sequence}", timeout)
            except RuntimeError as error:
                # without an answer the block may have been written: then the whole region starts again
                if not attempts_left or not any(code in str(error) for code in _DAMAGED):
                    raise
            else:
                return

    def _await_reply(self, what: str, timeout: float) -> None:
        """Wait for the reply to a block, as esptool's check_command does for what it has sent itself."""
        esp, port, failure = self._esp, self._port, esptool().FatalError
        before, port.timeout = port.timeout, timeout
        try:
            for _ in range(_OTHER_REPLIES):
                packet = esp.read()
                if len(packet) < _REPLY_BYTES or packet[:2] != bytes((1, DEFL_DATA)):
                    continue
                if packet[8]:
                    raise failure.WithResult(f"Failed to {what}", packet[8:10])
                return
        finally:
            port.timeout = before
        raise failure("Response doesn't match request.")

    def leave(self) -> None:
        """Return the port to the ROM's baud; the board stays in its loader until it is restarted."""
        if isinstance(self._link.restart, Unwired) and self._stub and self.baud != ROM_BAUD:
            self._guarded(lambda: self._esp.change_baud(ROM_BAUD))
        self._guarded(self._lower)

    def restart(self) -> None:
        """Restart a chip with native USB: some need more than reset lines to leave their loader."""
        self._guarded(self._esp.hard_reset)
        self._guarded(self._lower)

    def _lower(self) -> None:
        self._port.baudrate = ROM_BAUD

    def _guarded(self, work: Callable[[], R]) -> R:
        try:
            return work()
        except (serial.SerialException, OSError) as error:
            raise gone(self._link.address, error) from error
        except GARBLED as error:
            raise explained(self._link.address, error) from error
