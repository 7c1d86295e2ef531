"""The boot log of a board, fed line by line: what booted, what is wrong, and which identity the unit reports.

Sources: ROM, bootloader and app lines of ESP-IDF (esp_rom, bootloader_utility.c, esp_image_format.c, esp_app_desc.c)
and of RainMaker (esp_rmaker_node.c, esp_rmaker_core.c, app_network.c, app_wifi_internal.c).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_RESET = re.compile(r"^rst:0x(?P<code>[0-9a-f]+) \((?P<reason>\w+)\),boot:0x[0-9a-f]+ \((?P<mode>[^)]*)")
_START = re.compile(r"^ESP-ROM:|^ets |^rst:0x[0-9a-f]+ |2nd stage bootloader|Project name: ")
_PARTITION = re.compile(
    r"boot: +\d+ (?P<label>\S+) +(?P<usage>\S.*?) +(?P<type>[0-9a-f]{2}) (?P<subtype>[0-9a-f]{2})"
    r" (?P<offset>[0-9a-f]{8}) (?P<size>[0-9a-f]{8})$"
)
_APP = re.compile(
    r"(?:app_init|cpu_start): (?P<key>Project name|App version|ELF file SHA256|ESP-IDF): +(?P<value>\S.*)$"
)
_NODE_ID = re.compile(r"esp_rmaker_node: Node ID ----- (?P<id>\S+)")
_QR_URL = re.compile(r"https://rainmaker\.espressif\.com/qrcode\.html\?data=(?P<payload>\S.*)$")
_SERVICE = re.compile(r"Provisioning started with service name : (?P<name>\S+)")

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


_SYMPTOMS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern), cause, reason)
    for pattern, cause, reason in (
        (r"^invalid header: 0xffffffff", "blank-flash", "the ROM found no bootloader: the flash is blank there"),
        (r"^invalid header", "no-bootloader", "the ROM found no valid bootloader"),
        (r"^flash read err", "flash-read", "the ROM cannot read the flash: check the flash chip and its wiring"),
        (
            r"^csum err|^Checksum failure",  # the ESP32's ROM, and that of newer chips
            "bootloader-checksum",
            "the bootloader is corrupt: its checksum does not match",
        ),
        (r"(?:secure boot|Secure [Bb]oot).*(?:fail|FAIL)", "secure-boot", "secure boot rejected the image"),
        (
            r"partition \d+ invalid.*exceeds flash chip size (\S+)",
            "table-exceeds-flash",
            "the partition table ends beyond the flash size that the bootloader was built for",
        ),
        (
            r"flash_parts: Incorrect MD5|Failed to verify partition table|load partition table error",
            "partition-table",
            "the bootloader rejected the partition table",
        ),
        (r"Image hash failed|Checksum failed", "image-hash", "the app image is corrupt: its hash does not match"),
        (r"mismatch chip ID", "chip-mismatch", "the app was built for a different chip"),
        (
            r"chip revision check failed|Image requires chip rev|can't be run on current chip",
            "chip-revision",
            "the app does not run on this chip revision",
        ),
        (
            r"No bootable app partitions|Factory app partition is not bootable",
            "no-app",
            "the bootloader found no bootable app",
        ),
        (
            r"Detected size\(\d+k\) smaller than the size in the binary",
            "flash-too-small",
            "the flash is smaller than the image requires",
        ),
        (r"Guru Meditation Error: Core +\d+ panic'ed \(([^)]+)\)", "panic", "the firmware panicked: {0}"),
        (r"abort\(\) was called", "panic", "the firmware aborted"),
        (r"\*\*\*ERROR\*\*\* A stack overflow in task (\S+)", "panic", "the firmware panicked: stack overflow in {0}"),
        (r"Brownout detector was triggered", "brownout", "the supply voltage dropped: check power, USB hub and cable"),
        (
            r"(?:Task|Interrupt) (?:watchdog got triggered|wdt timeout)",
            "watchdog",
            "a watchdog of the firmware timed out",
        ),
        (
            r"waiting for download",
            "download-mode",
            "the board restarted into its loader: a strapping pin is held (IO0, GPIO9)",
        ),
        (r"Failed to initialise Node Id", "no-node-id", "the firmware found no node id in the factory partition"),
        (
            r"esp_rmaker_fctry.*(?:NVS Flash init failed|nvs_keys not found|Failed to read NVS security cfg)",
            "factory-unreadable",
            "the firmware cannot read the factory partition",
        ),
        (r"Failed to initialise storage", "factory-unreadable", "the firmware cannot read the factory partition"),
        (
            r"Failed to get (client cert|client key|mqtt host)|Failed to initialise MQTT Params",
            NO_CREDENTIALS,
            "the firmware lacks credentials in the factory partition",
        ),
        (
            r"Initialising (?:Assisted|Self) Claiming",
            CLAIMING,
            "the firmware starts self or assisted claiming: it ignores the credentials in the factory partition",
        ),
        (r"Failed to read random bytes", "no-random", "the firmware found no `random` in the factory partition"),
        (
            r"Generating sec2 salt-verifier",
            "sec2-generated",
            "the firmware generated a sec2 verifier: it found none in the factory partition",
        ),
        (
            r"Already provisioned, starting",
            "already-provisioned",
            "the unit is already provisioned: its nvs was not blank",
        ),
        (
            r"Could not (?:start network|initialise node)\. Aborting",
            "firmware-aborts",
            "the firmware aborted during its start",
        ),
    )
)


def is_start(line: str) -> bool:
    """Return whether *line* is one of the first that a chip's ROM or bootloader prints after a restart."""
    return _START.search(line) is not None


class BootLog:
    """The content of the lines fed so far. Symptoms in *expected* are not a failure of this product (self claiming)."""

    def __init__(self, expected: frozenset[str] = frozenset()) -> None:
        self._expected = expected
        self.lines = 0
        self.starts: list[str] = []
        self.partitions: list[tuple[str, int, int, int, int]] = []
        self.app: dict[str, str] = {}
        self.node_id: str | None = None
        self.qr_payload: str | None = None
        self.service_name: str | None = None
        self.symptom: Symptom | None = None

    def feed(self, line: str) -> None:
        """Read one line without ANSI colours and line end."""
        if line.strip():
            self.lines += 1
        if match := _RESET.match(line):
            self._restarted(match["reason"])
        elif match := _PARTITION.search(line):
            numbers = (int(match[key], 16) for key in ("type", "subtype", "offset", "size"))
            kind, subtype, offset, size = numbers
            self.partitions.append((match["label"], kind, subtype, offset, size))
        elif match := _APP.search(line):
            self.app.setdefault(match["key"], match["value"].strip())
        elif match := _NODE_ID.search(line):
            self.node_id = match["id"]
        elif match := _QR_URL.search(line):
            self.qr_payload = match["payload"]
        elif match := _SERVICE.search(line):
            self.service_name = match["name"]
        self._look_for_symptom(line)

    def _look_for_symptom(self, line: str) -> None:
        if self.symptom is not None:
            return
        for pattern, cause, reason in _SYMPTOMS:
            if cause not in self._expected and (match := pattern.search(line)):
                self.symptom = Symptom(cause, reason.format(*match.groups()))
                return

    def _restarted(self, reason: str) -> None:
        self.starts.append(reason)
        if len(self.starts) > 1 and self.symptom is None:
            self.symptom = Symptom("restart", f"the board restarted by itself ({reason})")
        elif "BROWN" in reason and self.symptom is None:
            self.symptom = Symptom("brownout", "the supply voltage dropped: check power, USB hub and cable")

    @property
    def app_started(self) -> bool:
        """Whether the app has printed its name, version and hash."""
        return {"Project name", "App version", "ELF file SHA256"} <= self.app.keys()
