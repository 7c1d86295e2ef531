"""What the lines of a boot log mean: symptoms, after which a unit does not run as it should, and warnings.

One row per line: its pattern, its cause, the reason that an operator can act on, and where the line comes from. Paths
are those of ESP-IDF (components/…), esp-rainmaker and the mask ROMs. All patterns are linear: every repetition is
bounded. None is anchored: the end of the line before may be lost.

What a row means depends on what follows. A ROM that could not load the bootloader, and a chip after a brownout, start
again by themselves (*retried*). If a good boot follows, the failed start is a measurement or makes the step MARGINAL
(`BootLog`); every other row is a failure whatever follows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rmfab.errors import one_line

CLAIMING = "claiming"
NO_CREDENTIALS = "no-credentials"
FACTORY_CAUSES = frozenset(
    {
        CLAIMING,
        NO_CREDENTIALS,
        "no-node-id",
        "no-random",
        "factory-unreadable",
        "sec2-generated",
        "already-provisioned",
    }
)
"""Symptoms of the factory partition, not of the boot: the judge of the identity reports them."""


@dataclass(frozen=True)
class Symptom:
    """The meaning of a line of the log: the stable name of the cause, and a reason that an operator can act on."""

    cause: str
    reason: str


@dataclass(frozen=True)
class SymptomRow:
    """A line of the log by its *pattern*; *reason* has places for its groups; *source* prints it.

    *retried*: the chip starts again by itself afterwards, and that start may be good.
    """

    pattern: re.Pattern[str]
    cause: str
    reason: str
    source: str
    retried: bool = False

    def read(self, line: str) -> Symptom | None:
        """Return what *line* means, None if it is not this row's line."""
        match = self.pattern.search(line)
        if match is None:
            return None
        return Symptom(self.cause, self.reason.format(*(one_line(text or "").strip() for text in match.groups())))


def _row(pattern: str, cause: str, reason: str, source: str, *, retried: bool = False) -> SymptomRow:
    return SymptomRow(re.compile(pattern), cause, reason, source, retried)


_ROM = (
    _row(
        r"invalid header: 0xffffffff",
        "blank-flash",
        "the ROM found no bootloader: the flash is blank there",
        "mask ROM, ets_loader",
        retried=True,
    ),
    _row(
        r"invalid header: 0x[0-9a-f]",
        "no-bootloader",
        "the ROM found no valid bootloader",
        "mask ROM, ets_loader",
        retried=True,
    ),
    _row(
        r"load:0xffffffff,len:-1",
        "no-bootloader",
        "the bootloader in the flash is incomplete: the ROM read blank flash behind its beginning",
        "mask ROM, ets_loader",
        retried=True,
    ),
    _row(
        r"flash read err, {0,2}\d",
        "flash-read",
        "the ROM cannot read the flash: check the flash chip and its wiring",
        "mask ROM, ets_loader",
        retried=True,
    ),
    _row(
        r"csum err: {0,2}0x|Checksum failure\. Calculated 0x",
        "bootloader-checksum",
        "the bootloader is corrupt: its checksum does not match",
        "mask ROM, ets_loader",
        retried=True,
    ),
    _row(
        r"(ets_(?:main|loader)\.c \d{1,5})",
        "no-bootloader",
        "the ROM gave up starting the bootloader: {0}",
        "mask ROM; espressif/esp-idf#11747, espressif/esp-at#877",
        retried=True,
    ),
    _row(
        r"Falling back to built-in command interpreter",
        "no-bootloader",
        "the ROM could not start the bootloader and started its BASIC interpreter",
        "mask ROM of the ESP32; its watchdog may still run, espressif/esp-idf#113",
        retried=True,
    ),
    _row(
        r"user code done",
        "no-bootloader",
        "the bootloader ended without starting the app: the ROM prints `user code done`",
        "mask ROM; espressif/esp-idf#1814",
    ),
    _row(
        r"Fatal exception ?\((\d{1,3})\)",
        "panic",
        "the ROM stopped with fatal exception {0}",
        "mask ROM, exception handler",
    ),
    _row(
        r"waiting for download",
        "download-mode",
        "the board restarted into its loader: a strapping pin is held (IO0, GPIO9)",
        "mask ROM, ets_main",
    ),
)

_BOOTLOADER = (
    _row(
        r"(?:secure boot|Secure [Bb]oot).{0,80}?(?:fail|FAIL)",
        "secure-boot",
        "secure boot rejected the image",
        "mask ROM; components/bootloader_support/src/secure_boot_v2",
    ),
    _row(
        r"partition \d{1,3} invalid.{0,80}?exceeds flash chip size (\S{1,20})",
        "table-exceeds-flash",
        "the partition table ends beyond the flash size that the bootloader was built for",
        "components/bootloader_support/src/flash_partitions.c",
    ),
    _row(
        r"flash_parts: Incorrect MD5|Failed to verify partition table|load partition table error",
        "partition-table",
        "the bootloader rejected the partition table",
        "components/bootloader_support/src/flash_partitions.c, bootloader_utility.c",
    ),
    _row(
        r"Image hash failed|Checksum failed",
        "image-hash",
        "the app image is corrupt: its hash does not match",
        "components/bootloader_support/src/esp_image_format.c",
    ),
    _row(
        r"esp_image: (invalid segment length 0x[0-9a-f]{1,8}|image at 0x[0-9a-f]{1,8} has invalid magic byte)",
        "image-hash",
        "the app image is corrupt or incomplete: {0}",
        "components/bootloader_support/src/esp_image_format.c",
    ),
    _row(
        r"mismatch chip ID",
        "chip-mismatch",
        "the app was built for a different chip",
        "components/bootloader_support/src/bootloader_common_loader.c",
    ),
    _row(
        r"chip revision check failed|Image requires chip rev|can't be run on current chip",
        "chip-revision",
        "the app does not run on this chip revision",
        "components/bootloader_support/src/bootloader_common_loader.c",
    ),
    _row(
        r"No bootable app partitions|Factory app partition is not bootable",
        "no-app",
        "the bootloader found no bootable app",
        "components/bootloader_support/src/bootloader_utility.c",
    ),
    _row(
        r"Detected size\(\d{1,6}k\) smaller than the size in the binary",
        "flash-too-small",
        "the flash is smaller than the image requires",
        "components/spi_flash/esp_flash_spi_init.c",
    ),
)
_DEATH = (
    _row(
        r"Guru Meditation Error: Core {1,4}\d panic'ed \(([^)]{1,80})",
        "panic",
        "the firmware panicked: {0}",
        "components/esp_system/panic.c",
    ),
    _row(
        r"assert failed: (.{1,160})",
        "panic",
        "the firmware panicked: assert failed: {0}",
        "components/newlib/assert.c (IDF 4.4 and later)",
    ),
    _row(
        r'assertion "(.{1,160}?)" failed',
        "panic",
        "the firmware panicked: assertion {0} failed",
        "newlib, __assert_func (IDF before 4.4)",
    ),
    _row(
        r"ESP_ERROR_CHECK failed: (.{1,80})",
        "panic",
        "the firmware panicked: ESP_ERROR_CHECK failed: {0}",
        "components/esp_system/esp_err.c",
    ),
    _row(
        r"Stack smashing protect failure",
        "panic",
        "the firmware panicked: stack smashing protect failure",
        "components/esp_system/stack_check.c",
    ),
    _row(
        r"CORRUPT HEAP: (.{1,80})",
        "panic",
        "the firmware panicked: corrupt heap: {0}",
        "components/heap/multi_heap_poisoning.c",
    ),
    _row(
        r"Undefined behavior of type (\w{1,40})",
        "panic",
        "the firmware panicked: undefined behaviour: {0}",
        "components/esp_system/ubsan.c",
    ),
    _row(
        r"\*\*\*ERROR\*\*\* A stack overflow in task (\S{1,32})",
        "panic",
        "the firmware panicked: stack overflow in {0}",
        "components/freertos, vApplicationStackOverflowHook",
    ),
    _row(r"abort\(\) was called", "panic", "the firmware aborted", "components/newlib/abort.c, esp_system/panic.c"),
    _row(
        r"Brownout detector was triggered",
        "brownout",
        "the supply voltage dropped: check power, USB hub and cable",
        "components/esp_system/port/brownout.c",
        retried=True,
    ),
    _row(
        r"(?:Task|Interrupt) (?:watchdog got triggered|wdt timeout)",
        "watchdog",
        "a watchdog of the firmware timed out",
        "components/esp_system/task_wdt, int_wdt.c",
    ),
    _row(
        r"Failed to init external RAM!",
        "psram",
        "the firmware found no PSRAM, for which it was configured, and stopped",
        "components/esp_system/port/cpu_start.c",
    ),
    _row(
        r"(?i:could not (?:start (?:wi-?fi|network)|initiali[sz]e (?:the )?node)\b.{0,20}?abort)",
        "firmware-aborts",
        "the firmware aborted during its start",
        "esp-rainmaker, app_main.c of every example (network: since 2024; Wifi, WiFi, Wi-Fi before and in products)",
    ),
    _row(
        (
            r"(panic'ed|Backtrace: ?0x[0-9a-f]{8}|Core {1,4}\d register dump|Debug exception reason: .{1,60}"
            r"|Entering gdb stub now|CORE DUMP START|Re-entered core dump|CPU halted\.|Rebooting\.\.\.)"
        ),
        "panic",
        "the firmware died: {0}",
        "components/esp_system/panic.c, espcoredump: whatever the line before it said",
    ),
)
_FACTORY = (
    _row(
        r"Failed to initialise Node Id",
        "no-node-id",
        "the firmware found no node id in the factory partition",
        "esp-rainmaker, esp_rmaker_core.c",
    ),
    _row(
        r"esp_rmaker_fctry.{0,40}?(?:NVS Flash init failed|nvs_keys not found|Failed to read NVS security cfg)",
        "factory-unreadable",
        "the firmware cannot read the factory partition",
        "esp-rainmaker, esp_rmaker_factory.c",
    ),
    _row(
        r"Failed to initialise storage",
        "factory-unreadable",
        "the firmware cannot read the factory partition",
        "esp-rainmaker, esp_rmaker_core.c",
    ),
    _row(
        r"Failed to get (client cert|client key|mqtt host)|Failed to initialise MQTT Params",
        NO_CREDENTIALS,
        "the firmware lacks credentials in the factory partition",
        "esp-rainmaker, esp_rmaker_client_data.c, esp_rmaker_core.c",
    ),
    _row(
        r"Initialising (?:Assisted|Self) Claiming",
        CLAIMING,
        "the firmware starts self or assisted claiming: it ignores the credentials in the factory partition",
        "esp-rainmaker, esp_claim.c",
    ),
    _row(
        r"Failed to read random bytes",
        "no-random",
        "the firmware found no `random` in the factory partition",
        "esp-rainmaker, app_network.c, app_wifi_internal.c",
    ),
    _row(
        r"Generating sec2 salt-verifier",
        "sec2-generated",
        "the firmware generated a sec2 verifier: it found none in the factory partition",
        "esp-rainmaker, app_network.c",
    ),
    _row(
        r"Already provisioned, starting",
        "already-provisioned",
        "the unit is already provisioned: its nvs was not blank",
        "esp-rainmaker, app_network.c, app_wifi_internal.c",
    ),
)

SYMPTOMS: tuple[SymptomRow, ...] = _ROM + _BOOTLOADER + _DEATH + _FACTORY
"""In the order in which a line is compared with them: what has words of its own comes before what has none."""

WARNINGS: tuple[SymptomRow, ...] = (
    _row(
        r"SHA-256 comparison failed",
        "bootloader-digest",
        "the bootloader in the flash differs from its own digest, and the ROM started it anyway",
        "mask ROM (ESP32-C3 and later, without secure boot); OpenEPaperLink#465, espressif/esp-at#877",
    ),
    _row(
        (
            r"PSRAM (?:ID read error|chip is not connected|enabled but initialization failed)"
            r"|Failed to init external RAM; continuing"
        ),
        "psram",
        "the firmware found no PSRAM, for which it was configured, and runs without it",
        "components/esp_psram; CONFIG_SPIRAM_IGNORE_NOTFOUND",
    ),
)
"""Lines of a boot that may still be good: the step is then MARGINAL."""
