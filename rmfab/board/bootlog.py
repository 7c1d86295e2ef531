"""The boot log of a board, fed line by line: what booted, what is wrong, and which identity the unit reports.

Sources: ROM, bootloader and app lines of ESP-IDF (esp_rom, bootloader_utility.c, esp_image_format.c, esp_app_desc.c)
and of RainMaker (esp_rmaker_node.c, esp_rmaker_core.c, app_network.c, app_wifi_internal.c).
"""

from __future__ import annotations

import re

from rmfab.board.mqtt_symptoms import mqtt_symptom
from rmfab.board.symptoms import SYMPTOMS, WARNINGS, Symptom
from rmfab.product.console_pattern import ConsolePattern, ConsolePatterns

_NO_PATTERNS = ConsolePatterns()
_RESET = re.compile(
    r"rst:0x(?P<code>[0-9a-f]{1,8}) \((?P<reason>\w{1,40})\),boot:0x[0-9a-f]{1,8} \((?P<mode>[^)]{0,80})"
)
_FIRST_LINE = r"ESP-ROM:esp|ets [A-Z][a-z]{2} {1,2}\d{1,2} \d{4}|2nd stage bootloader"
_START = re.compile(rf"{_FIRST_LINE}|rst:0x[0-9a-f]{{1,8}} |Project name: ")
_RESTARTED = re.compile(_FIRST_LINE)
_BOOTLOADER_RAN = re.compile(r"entry 0x[0-9a-f]{8}|2nd stage bootloader|[EWIDV] \(\d{1,10}\) ")
_PARTITION = re.compile(
    r"boot: (?P<number>[ \d]\d) (?P<label>.{16}) .{16} (?P<type>[0-9a-f]{2}) (?P<subtype>[0-9a-f]{2})"
    r" (?P<offset>[0-9a-f]{8}) (?P<size>[0-9a-f]{8})(?![0-9a-f])"
)
_NEXT = r"(?=$|[EWIDV] \(\d{1,10}\) )"
"""Where a value ends whose line end was lost: at the next line's level and time."""
_APP = re.compile(
    r"(?:app_init|cpu_start): (?P<key>Project name|App version|ELF file SHA256|ESP-IDF): {1,16}"
    rf"(?P<value>\S.{{0,127}}?){_NEXT}"
)
_NODE_ID = re.compile(rf"esp_rmaker_node: Node ID ----- (?P<id>\S{{1,128}}?)(?:{_NEXT}|(?=\s))")
_QR_URL = re.compile(rf"https://rainmaker\.espressif\.com/qrcode\.html\?data=(?P<payload>\S.{{0,4095}}?){_NEXT}")
_SERVICE = re.compile(rf"Provisioning started with service name : (?P<name>\S{{1,64}}?)(?:{_NEXT}|(?=\s))")
_TABLE_END = "boot: End of partition table"
_MQTT = "MQTT Connected"

_MOST_ROWS = 95
"""Rows of a partition table at most (ESP-IDF: ESP_PARTITION_TABLE_MAX_ENTRIES)."""
_MOST_STARTS = 100
_MOST_FAILED_STARTS = 2
_SLOW_FLASH = "RTCWDT_RTC_RESET"
"""The ESP32's words for its second start if the flash was not ready for the first, which is harmless.

Source: ESP32 errata 3.8, espressif/esp-idf#4441 and #4589. Newer chips print `RTCWDT_RTC_RST`.
"""

_SLOW_FLASH_CAUSES = ("flash-read", "restart")
_RESTART = Symptom("restart", "the board restarted by itself")
_STRAP = "a strapping pin is held (IO0, GPIO9)"


def is_start(line: str) -> bool:
    """Return whether *line* is one of the first that a chip's ROM or bootloader prints after a restart."""
    return _START.search(line) is not None


class BootLog:
    """The content of the lines fed so far. Symptoms in *expected* are not a failure of this product (self claiming).

    A start that failed in a way after which the chip starts again by itself is judged by what follows: *symptom* names
    it until the app of a later start runs; then it is one of *failed_starts*, and one of the *warnings* unless it is
    harmless. What the unit says of itself is from its last start. *mqtt_trouble* is why it was last not connected to
    its broker. *patterns* are the product's: *missing* are those that the last start must print, with *awaits*, and has
    not; *forbidden* is the first that no start may print, and one did.
    """

    def __init__(
        self, expected: frozenset[str] = frozenset(), patterns: ConsolePatterns = _NO_PATTERNS, *, awaits: bool = False
    ) -> None:
        self._expected = expected
        self._patterns = patterns
        self._awaits = awaits
        self.forbidden: ConsolePattern | None = None
        self.lines = 0
        self.starts: list[str] = []
        self.failed_starts: list[Symptom] = []
        self.warnings: dict[str, Symptom] = {}
        self._complete = False
        self._offers = False
        self._forget()

    def _forget(self) -> None:
        """Forget what the unit reported in the start that has failed."""
        self.partitions: list[tuple[str, int, int, int, int]] = []
        self._numbers: list[int] = []
        self._table_ended = False
        self.app: dict[str, str] = {}
        self.node_id: str | None = None
        self.qr_payload: str | None = None
        self.service_name: str | None = None
        self.mqtt_connected = False
        self.mqtt_trouble: Symptom | None = None
        self._symptom: Symptom | None = None
        self._retried = False
        self._bootloader_ran = False
        self.missing = list(self._patterns.must) if self._awaits else []

    @property
    def symptom(self) -> Symptom | None:
        """What is wrong with the unit, None if nothing is."""
        started = self.app_started or self._offers
        return self._symptom or (self.failed_starts[-1] if self.failed_starts and not started else None)

    @property
    def may_start_again(self) -> bool:
        """Whether the last start has failed, and the chip may start again by itself."""
        return self._symptom is not None and self._retried

    @property
    def failed(self) -> bool:
        """Whether the boot has failed, whatever follows."""
        return self.forbidden is not None or (self._symptom is not None and not self._retried)

    def complete(self) -> None:
        """Take the boot as complete: from now on no start may fail."""
        self._complete = True
        self._retried = False

    def offered(self) -> None:
        """Take the boot as complete and good: the unit offers provisioning, though its app prints nothing."""
        if self._symptom is not None and self._retried:
            self._take_as_failed(self._symptom, "")
            self._symptom = None
        self._offers = True
        self.complete()

    def feed(self, line: str) -> None:
        """Read one line without ANSI colours and line end."""
        if not line.strip():
            return
        self.lines += 1
        self._match_patterns(line)
        if match := _RESET.search(line):
            self._restarted(match["reason"], match["mode"])
        elif self.app_started and self._symptom is None and _RESTARTED.search(line):
            self._symptom = _RESTART
        self._bootloader_ran |= _BOOTLOADER_RAN.search(line) is not None
        self._read_table(line)
        if match := _APP.search(line):
            self._read_app(match["key"], match["value"].strip())
        elif match := _NODE_ID.search(line):
            self.node_id = match["id"]
        elif match := _QR_URL.search(line):
            self.qr_payload = match["payload"]
        elif match := _SERVICE.search(line):
            self.service_name = match["name"]
        self.mqtt_connected |= _MQTT in line
        self.mqtt_trouble = mqtt_symptom(line) or self.mqtt_trouble
        self._look_for_symptom(line)

    def _match_patterns(self, line: str) -> None:
        if self.missing:
            self.missing = [pattern for pattern in self.missing if not pattern.matches(line)]
        if self.forbidden is None:
            self.forbidden = next((one for one in self._patterns.must_not if one.matches(line)), None)

    def _read_app(self, key: str, value: str) -> None:
        before = self.app_started
        self.app.setdefault(key, value)
        if self.app_started and not before and self._symptom and self._retried:  # its reset line was lost
            self._take_as_failed(self._symptom, "")
            self._symptom = None

    def _read_table(self, line: str) -> None:
        for match in _PARTITION.finditer(line):
            if len(self.partitions) <= _MOST_ROWS:
                kind, subtype, offset, size = (int(match[key], 16) for key in ("type", "subtype", "offset", "size"))
                self.partitions.append((match["label"].rstrip(), kind, subtype, offset, size))
                self._numbers.append(int(match["number"]))
        self._table_ended |= _TABLE_END in line

    @property
    def table_complete(self) -> bool:
        """Whether the table was received whole: its rows carry the numbers from 0, and its last line is there."""
        return self._table_ended and bool(self.partitions) and self._numbers == list(range(len(self._numbers)))

    @property
    def reading(self) -> dict[str, object]:
        """What the unit reported of itself, by name, as far as it was received whole."""
        told = {**self.app, "node id": self.node_id, "QR payload": self.qr_payload, "service name": self.service_name}
        table = tuple(self.partitions) if self.table_complete else None
        return {name: value for name, value in {**told, "partition table": table}.items() if value is not None}

    def _look_for_symptom(self, line: str) -> None:
        if warning := next((read for row in WARNINGS if (read := row.read(line))), None):
            self.warnings.setdefault(warning.cause, warning)
        if self.failed:
            return
        for row in SYMPTOMS:
            if row.cause not in self._expected and (read := row.read(line)):
                if self._symptom is None or not row.retried:  # what no start follows outweighs what one may follow
                    self._symptom, self._retried = read, row.retried and self._may_fail
                return

    @property
    def _may_fail(self) -> bool:
        return not self._complete and len(self.failed_starts) < _MOST_FAILED_STARTS

    def _restarted(self, reason: str, mode: str) -> None:
        first = not self.starts and self._symptom is None and not self.app_started
        if len(self.starts) < _MOST_STARTS:
            self.starts.append(reason)
        if not first:
            self._judge_restart(reason)
        if self._symptom is None and mode and "FLASH_BOOT" not in mode:
            self._symptom = Symptom("download-mode", f"the board did not boot from its flash ({mode}): {_STRAP}")
        elif first and "BROWN" in reason:
            self.warnings["brownout"] = Symptom("brownout", f"the supply voltage dropped before this start ({reason})")

    def _judge_restart(self, reason: str) -> None:
        """Judge the start that a restart for *reason* has ended: whether the next one may be good."""
        if self._symptom is None or self._symptom == _RESTART:
            dropped = "BROWN" in reason
            self._symptom = (
                Symptom("brownout", f"the supply voltage dropped during the start ({reason})")
                if dropped
                else Symptom("restart", f"the board restarted by itself ({reason})")
            )
            self._retried = self._may_fail and (dropped or not self._bootloader_ran)
        if self._retried:
            self._take_as_failed(self._symptom, reason)
            self._forget()

    def _take_as_failed(self, failed: Symptom, reason: str) -> None:
        """Take a start as *failed*; the next one, for *reason*, is the one to judge."""
        harmless = not self.failed_starts and reason == _SLOW_FLASH and failed.cause in _SLOW_FLASH_CAUSES
        self.failed_starts.append(failed)
        if not harmless:
            self.warnings[failed.cause] = Symptom(failed.cause, f"{failed.reason}; a later start was good")

    @property
    def app_started(self) -> bool:
        """Whether the app has printed its name, version and hash."""
        return {"Project name", "App version", "ELF file SHA256"} <= self.app.keys()
