"""The console of a unit that restarts on purpose: one boot log after the other.

Sources: ROM and bootloader lines of ESP-IDF; esp-rainmaker, esp_rmaker_ota.c.
"""

from __future__ import annotations

import re

from rmfab.board.bootlog import BootLog

_ROM = re.compile(r"ESP-ROM:esp|ets [A-Z][a-z]{2} {1,2}\d{1,2} \d{4}|rst:0x[0-9a-f]{1,8} \(")
_LOGGED = re.compile(r"[EWIDV] \(\d{1,10}\) ")
_BOOTLOADER = "2nd stage bootloader"
_UNCONFIRMED = "Could not verify firmware even after"
"""What the firmware prints when it rolls back because MQTT did not connect in time."""


class BootSeries:
    """The boots in the lines that are fed: *log* is that of the last, *starts* the number of those seen to begin.

    *unconfirmed*: the firmware rolled back because it did not reach its broker in time. *trouble* is what the last
    firmware that failed to reach it said.
    """

    def __init__(self) -> None:
        self.log = BootLog()
        self.starts = 0
        self.unconfirmed = False
        self.trouble: str | None = None
        self._in_rom = False
        self._fresh = False  # nothing of a bootloader or an app was read since the start

    def feed(self, line: str) -> None:
        """Read one line without ANSI colours and line end."""
        if _ROM.search(line):
            if not self._in_rom:
                self._begin()
            self._in_rom = True
        elif _LOGGED.search(line):
            if _BOOTLOADER in line and not self._fresh:
                self._begin()
            self._in_rom = self._fresh = False
        self.unconfirmed |= _UNCONFIRMED in line
        self.log.feed(line)
        if self.log.mqtt_trouble is not None:
            self.trouble = self.log.mqtt_trouble.reason

    def _begin(self) -> None:
        self.log = BootLog()
        self.starts += 1
        self._fresh = True
