"""The rate of the serial line to a running stub: raised, proven and lowered without a restart of the board.

The ROM loader runs at a safe rate. The stub then goes to the rate that the slot wants, and a checksummed read proves
the way from the chip to the host; the way to the chip is proven by the checksum of every block that is written. If
messages are lost or damaged later, in the middle of a write, stub and port fall to a slower rate.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import serial

from rmfab.board.port import ROM_BAUD
from rmfab.board.slot_speed import SlotSpeed

# Stub and port change their rate within this time after the reply: the stub of esptool 4 waits 10 ms
# (`stub_flasher.c`), a bridge needs one USB transfer.
_SETTLE_SECONDS = 0.015
_REPLY_SECONDS = 0.3
_LONG_SETTLE_SECONDS = 0.05  # as esptool
_OTHER_CRYSTALS = ("ESP32", "ESP32-C2", "ESP32-C5")  # whose ROM must be told a different rate; esptool does that
_SYNCS = 2
_LOWERINGS = 2
_PROOF_BYTES = 0x1000

GARBLED = (RuntimeError, ValueError, IndexError, struct.error)
"""What esptool raises if an answer is missing or garbled: its FatalError is a RuntimeError."""


class LineSpeed:
    """The current rate, *baud*, and how to change it. *find* is called once, before the stub is started."""

    def __init__(self, find: Callable[[], SlotSpeed]) -> None:
        self._find = find
        self._most: int | None = None
        self.baud = ROM_BAUD

    @cached_property
    def _speed(self) -> SlotSpeed:
        return self._find()

    @property
    def rom_bauds(self) -> tuple[int, ...]:
        """The rates for the ROM loader, the best first."""
        return (self._speed.rom, *self._speed.slower(self._speed.rom))

    @property
    def raised(self) -> bool:
        """Whether the line is faster than the ROM loader's."""
        return self.baud > self._speed.rom

    def set_rom(self, esp: Any, baud: int) -> None:
        """Change the rate of the ROM loader *esp*, with no more delay than it needs.

        Raise what esptool and pyserial raise if it does not answer at that rate.
        """
        if baud == ROM_BAUD:
            return
        if esp.CHIP_NAME in _OTHER_CRYSTALS:
            esp.change_baud(baud)
            return
        esp.command(esp.ESP_CMDS["CHANGE_BAUDRATE"], struct.pack("<II", baud, 0))
        self._set_port(esp, baud)
        if not self._answers(esp):
            time.sleep(_LONG_SETTLE_SECONDS)
            esp.flush_input()
            esp.sync()

    def climb(self, esp: Any) -> None:
        """Raise the rate of the running stub to what the slot wants, or the next slower that works.

        Raise what esptool and pyserial raise if the stub no longer answers at any rate.
        """
        wanted = self._most or self._speed.wanted
        for rate in (wanted, *self._speed.slower(wanted)):
            if rate <= self.baud or self._raise_to(esp, rate):
                return

    def fall(self, esp: Any) -> bool:
        """Lower the rate of stub and port to the next at which the stub answers; return whether it does.

        A raised rate falls as far as that of the ROM loader, others by one step. Raise what pyserial raises if the port
        goes away.
        """
        slower = self._speed.slower(self.baud)
        targets = [rate for rate in slower if rate >= self._speed.rom] or slower[:1]
        self._most = next(iter(targets), self.baud)
        return self._lower_to(esp, targets)

    def passed(self) -> None:
        """Note that a whole board was written and read back at the current rate."""
        self._speed.passed(self.baud)

    def fell_from(self, rate: int) -> None:
        """Note that *rate*, and what is between it and the current one, was too fast."""
        for one in (rate, *self._speed.slower(rate)):
            if one > self.baud:
                self._speed.failed(one)

    def listens(self, esp: Any) -> bool:
        """Return whether the same stub still answers, after discarding earlier input.

        An answer of a ROM means that the board was restarted or replaced.
        """
        for _ in range(_SYNCS):
            try:
                esp.flush_input()
                esp.sync()
            except (serial.SerialException, OSError):
                return False
            except GARBLED:  # the answer was the error of an earlier write
                continue
            return bool(esp.sync_stub_detected)
        return False

    def _answers(self, esp: Any) -> bool:
        try:
            esp.sync()
        except GARBLED:
            return False
        return True

    def _raise_to(self, esp: Any, rate: int) -> bool:
        before = self.baud
        carries = self._speed.carries(rate)
        self._speed.port.baudrate = before
        if not carries:
            self._speed.failed(rate, forever=True)
            return False
        try:
            self._switch(esp, rate)
            esp.read_flash(0, _PROOF_BYTES)
        except GARBLED:
            self._speed.failed(rate)
            if not self._lower_to(esp, [before]):
                raise
            return False
        return True

    def _lower_to(self, esp: Any, targets: Sequence[int]) -> bool:
        """Lower the rate to the first of *targets* at which the stub answers; return whether there is one.

        Requests and replies may be lost, so the stub may run at any rate that was tried before.
        """
        before = [self.baud]
        for target in targets:
            for rate in before * (_LOWERINGS if len(targets) == 1 else 1):  # each is tried again for the next target
                self._set_port(esp, rate)
                try:
                    self._switch(esp, target)
                except GARBLED:  # the reply was lost, perhaps not the request
                    self._set_port(esp, target)
                if self.listens(esp):
                    return True
            before.insert(0, target)
        return False

    def _switch(self, esp: Any, rate: int) -> None:
        request = struct.pack("<II", rate, self.baud)
        esp.flush_input()
        esp.command(esp.ESP_CMDS["CHANGE_BAUDRATE"], request, timeout=_REPLY_SECONDS)
        self._set_port(esp, rate)

    def _set_port(self, esp: Any, rate: int) -> None:
        self._speed.port.baudrate = self.baud = rate
        time.sleep(_SETTLE_SECONDS)
        esp.flush_input()
