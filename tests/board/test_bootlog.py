"""The boot log: every symptom has its cause, and any text is accepted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.board.bootlog import BootLog
from rmfab.board.symptoms import CLAIMING, FACTORY_CAUSES, NO_CREDENTIALS, SYMPTOMS, WARNINGS
from tests.board.feed import console

LINES = {
    "invalid header: 0xffffffff": "blank-flash",
    "invalid header: 0x6d6d6d6d": "no-bootloader",
    "flash read err, 1000": "flash-read",
    "csum err:0x5a!=0x3c": "bootloader-checksum",
    "Checksum failure. Calculated 0x8e stored 0xde": "bootloader-checksum",
    "E (88) secure_boot_v2: Secure boot V2 verification failed.": "secure-boot",
    "ESP-ROM: secure boot check fail": "secure-boot",
    "E (88) boot: Secure boot signature verification failed": "secure-boot",
    "E (887) flash_parts: partition 4 invalid - offset 0x1a0000 size 0x180000 exceeds flash chip size 0x200000": (
        "table-exceeds-flash"
    ),
    "E (75) flash_parts: Incorrect MD5 checksum": "partition-table",
    "E (76) boot: Failed to verify partition table": "partition-table",
    "E (77) boot: load partition table error!": "partition-table",
    "E (340) esp_image: Image hash failed - image is corrupt": "image-hash",
    "E (340) esp_image: Checksum failed. Calculated 0x5a read 0xa5": "image-hash",
    "E (52) boot_comm: mismatch chip ID, expected 5, found 9": "chip-mismatch",
    "E (52) boot_comm: chip revision check failed. Required >= v3.0, found v1.0.": "chip-revision",
    "E (52) boot_comm: Image requires chip rev >= v0.3, but chip is v0.2": "chip-revision",
    "E (90) boot: No bootable app partitions in the partition table": "no-app",
    "E (90) boot: Factory app partition is not bootable": "no-app",
    "E (280) spi_flash: Detected size(2048k) smaller than the size in the binary image header(4096k). Probe failed.": (
        "flash-too-small"
    ),
    "Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.": "panic",
    "abort() was called at PC 0x42008a3b on core 0": "panic",
    "***ERROR*** A stack overflow in task main has been detected.": "panic",
    "Brownout detector was triggered": "brownout",
    "E (5012) task_wdt: Task watchdog got triggered. The following tasks did not reset it in time:": "watchdog",
    "Guru Meditation Error: Core  0 panic'ed (Interrupt wdt timeout on CPU0).": "panic",
    "Interrupt wdt timeout on CPU0": "watchdog",
    "waiting for download": "download-mode",
    'E (400) esp_rmaker_core: Failed to initialise Node Id. Please perform "claiming" first.': "no-node-id",
    "E (400) esp_rmaker_fctry: NVS Flash init failed": "factory-unreadable",
    "E (400) esp_rmaker_core: Failed to initialise storage": "factory-unreadable",
    "E (400) esp_rmaker_client_data: Failed to get client key": NO_CREDENTIALS,
    "E (400) esp_rmaker_core: Failed to initialise MQTT Params. Please": NO_CREDENTIALS,
    "I (400) esp_claim: Initialising Assisted Claiming. This may take time.": CLAIMING,
    "E (400) app_network: Failed to read random bytes from NVS to generate PoP.": "no-random",
    "I (400) app_network: Generating sec2 salt-verifier for username 'wifiprov'": "sec2-generated",
    "I (400) app_wifi: Already provisioned, starting Wi-Fi STA": "already-provisioned",
    "E (400) app_main: Could not start network. Aborting!!!": "firmware-aborts",
    "E (400) app_main: Could not start Wifi. Aborting!!!": "firmware-aborts",
    "E (400) lamp: could not start Wi-Fi, aborting": "firmware-aborts",
    "E (400) app_main: Could not start WiFi. Aborting!!!": "firmware-aborts",
    "E (400) app_main: Could not initialise node. Aborting!!!": "firmware-aborts",
    "E (400) app_main: Could not initialize the node. Aborting!!!": "firmware-aborts",
    "assert failed: tim_start main.c:81 (handle != NULL)": "panic",
    'assertion "len > 0" failed: file "../main/tim.c", line 12, function: tim_start': "panic",
    "ESP_ERROR_CHECK failed: esp_err_t 0x103 (ESP_ERR_INVALID_STATE) at 0x4200a1b2": "panic",
    "Stack smashing protect failure!": "panic",
    "CORRUPT HEAP: Bad tail at 0x3ffb7c10. Expected 0xbaad5678 got 0x00000000": "panic",
    "Undefined behavior of type out_of_bounds": "panic",
    "Fatal exception (28): ": "panic",
    "Fatal exception(0):": "panic",
    "load:0xffffffff,len:-1": "no-bootloader",
    "ets_main.c 371 ": "no-bootloader",
    "ets_loader.c 78 ": "no-bootloader",
    "Falling back to built-in command interpreter.": "no-bootloader",
    "user code done": "no-bootloader",
    "E (140) esp_image: invalid segment length 0xffffffff": "image-hash",
    "E (140) esp_image: image at 0x20000 has invalid magic byte (nothing flashed here?)": "image-hash",
    "E (260) cpu_start: Failed to init external RAM!": "psram",
    "Backtrace: 0x400d1f2a:0x3ffb5d50": "panic",
    "Core  1 register dump:": "panic",
    "Debug exception reason: Stack canary watchpoint triggered (main)": "panic",
    "Entering gdb stub now.": "panic",
    "================= CORE DUMP START =================": "panic",
    "Re-entered core dump! Exception happened during core dump!": "panic",
    "CPU halted.": "panic",
    "Rebooting...": "panic",
    "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/1/SPI/SDIO))": "download-mode",
    "rst:0x1 (POWERON_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0/UART1/SDIO_REI_REO_V2))": "download-mode",
    "rst:0x1 (POWERON_RESET),boot:0x0 (SDIO_BOOT(SDIO_FEI_FEO_V1))": "download-mode",
}

ESP32_PANIC = """ets Jul 29 2019 12:21:46

rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)
configsip: 0, SPIWP:0xee
mode:DIO, clock div:2
load:0x3fff0030,len:7176
entry 0x400805e4
\x1b[0;32mI (29) boot: ESP-IDF v4.4.6 2nd stage bootloader\x1b[0m
\x1b[0;32mI (60) boot: Partition Table:\x1b[0m
\x1b[0;32mI (63) boot: ## Label            Usage          Type ST Offset   Length\x1b[0m
\x1b[0;32mI (71) boot:  0 nvs              WiFi data        01 02 00009000 00006000\x1b[0m
\x1b[0;32mI (78) boot:  1 otadata          OTA data         01 00 0000f000 00002000\x1b[0m
\x1b[0;32mI (86) boot:  2 ota_0            OTA app          00 10 00020000 00180000\x1b[0m
\x1b[0;32mI (93) boot:  3 fctry            WiFi data        01 02 00340000 00006000\x1b[0m
\x1b[0;32mI (101) boot: End of partition table\x1b[0m
\x1b[0;32mI (105) boot: Loaded app from partition at offset 0x20000\x1b[0m
\x1b[0;32mI (312) cpu_start: Application information:\x1b[0m
\x1b[0;32mI (317) cpu_start: Project name:     bread-slicer\x1b[0m
\x1b[0;32mI (322) cpu_start: App version:      2.1-rc3 (dirty)\x1b[0m
\x1b[0;32mI (327) cpu_start: Compile time:     Mar  3 2024 09:10:11\x1b[0m
\x1b[0;32mI (333) cpu_start: ELF file SHA256:  0123456789abcdef...\x1b[0m
\x1b[0;32mI (339) cpu_start: ESP-IDF:          v4.4.6\x1b[0m
Guru Meditation Error: Core  0 panic'ed (StoreProhibited). Exception was unhandled.
Core 0 register dump:
PC      : 0x400d1f2a  PS      : 0x00060330  A0      : 0x800d0ce0  A1      : 0x3ffb5d50

ELF file SHA256: 0123456789abcdef

Rebooting...
ets Jul 29 2019 12:21:46

rst:0xc (SW_CPU_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)
"""

C3_TABLE_BEYOND_FLASH = """ESP-ROM:esp32c3-api1-20210207
Build:Feb  7 2021
rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)
SPIWP:0xee
mode:DIO, clock div:1
load:0x3fcd5820,len:0x1714
entry 0x403cc710
I (24) boot: ESP-IDF v5.2 2nd stage bootloader
I (38) boot.esp32c3: SPI Flash Size : 2MB
E (52) flash_parts: partition 6 invalid - offset 0x200000 size 0x1e0000 exceeds flash chip size 0x200000
E (60) boot: Failed to verify partition table
E (66) boot: load partition table error!
ESP-ROM:esp32c3-api1-20210207
rst:0x3 (RTC_SW_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)
"""


def fed(text, expected=frozenset()):
    """Return a log after *text*, split as the console does it."""
    log = BootLog(expected)
    for line in console(text.encode() + b"\n").everything():
        log.feed(line)
    return log


@pytest.mark.parametrize(("line", "cause"), LINES.items())
def test_symptoms(line, cause):
    """Each bad line has its stable cause, and a reason without a placeholder."""
    log = BootLog()
    log.feed(line)
    assert log.symptom is not None
    assert log.symptom.cause == cause
    assert "{" not in log.symptom.reason


def test_every_symptom_has_a_row():
    """This test has a line for every cause of the table."""
    untold = [row for row in SYMPTOMS if not any(row.pattern.search(line) for line in LINES)]
    assert untold == []
    assert {row.cause for row in SYMPTOMS} == set(LINES.values())


def test_every_row_has_its_source():
    """Every row of the tables says where its line comes from."""
    assert all(row.source for row in SYMPTOMS + WARNINGS)


@pytest.mark.parametrize("line", LINES)
def test_expected_causes_are_no_symptoms(line):
    """Expected symptoms (self claiming) are ignored; a wrong boot mode never is."""
    log = BootLog(frozenset(LINES.values()))
    log.feed(line)
    assert (log.symptom is None) != line.startswith("rst:")


def test_the_first_symptom_stands():
    """The first symptom is the cause; later ones follow from it."""
    log = fed(ESP32_PANIC)
    assert log.symptom is not None
    assert (log.symptom.cause, log.symptom.reason) == ("panic", "the firmware panicked: StoreProhibited")


def test_esp32_boot_with_colours_and_the_old_tag():
    """ANSI colours are removed, and the app information of IDF before 5.2 is found under cpu_start."""
    log = fed(ESP32_PANIC)
    assert log.starts == ["POWERON_RESET", "SW_CPU_RESET"]
    assert log.partitions == [
        ("nvs", 1, 2, 0x9000, 0x6000),
        ("otadata", 1, 0, 0xF000, 0x2000),
        ("ota_0", 0, 0x10, 0x20000, 0x180000),
        ("fctry", 1, 2, 0x340000, 0x6000),
    ]
    assert log.app == {
        "Project name": "bread-slicer",
        "App version": "2.1-rc3 (dirty)",
        "ELF file SHA256": "0123456789abcdef...",
        "ESP-IDF": "v4.4.6",
    }
    assert log.app_started


def test_app_init_tag():
    """The app information of IDF 5.2 and later is found under app_init."""
    log = fed(
        "I (1) app_init: Project name:     a\nI (1) app_init: App version:      1\n"
        "I (1) app_init: ELF file SHA256:  0a1b2c3d4...\n"
    )
    assert log.app_started
    assert log.symptom is None


def test_table_beyond_flash():
    """A table that ends beyond the flash is the symptom, not the restart that follows."""
    log = fed(C3_TABLE_BEYOND_FLASH)
    assert log.symptom is not None
    assert log.symptom.cause == "table-exceeds-flash"
    assert not log.app_started
    assert log.partitions == []


def test_second_reset():
    """A board that starts twice without a reason has restarted by itself."""
    log = fed(
        "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\nentry 0x403cc710\n"
        "rst:0x7 (TG0WDT_SYS_RESET),boot:0xc (SPI_FAST_FLASH_BOOT)\n"
    )
    assert log.symptom is not None
    assert (log.symptom.cause, "TG0WDT_SYS_RESET" in log.symptom.reason) == ("restart", True)


@pytest.mark.parametrize("reason", ["RTCWDT_BROWN_OUT_RESET", "BROWN_OUT_RST"])
def test_first_start_after_a_brownout(reason):
    """A first start after a brownout is a warning: the boot that follows may be good."""
    log = fed(f"rst:0xf ({reason}),boot:0xc (SPI_FAST_FLASH_BOOT)\n")
    assert log.symptom is None
    assert list(log.warnings) == ["brownout"]
    assert reason in log.warnings["brownout"].reason


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("SHA-256 comparison failed:", "bootloader-digest"),
        ("E (299) quad_psram: PSRAM ID read error: 0x00ffffff, PSRAM chip not found or not supported", "psram"),
        ("E (139) octal_psram: PSRAM chip is not connected, or wrong PSRAM line mode", "psram"),
        ("E (300) esp_psram: PSRAM enabled but initialization failed. Bailing out.", "psram"),
        ("E cpu_start: Failed to init external RAM; continuing without it.", "psram"),
    ],
)
def test_warnings(line, cause):
    """What a good boot may contain and the operator should see is a warning, not a symptom."""
    log = fed(line)
    assert (log.symptom, list(log.warnings)) == (None, [cause])
    assert log.warnings[cause].reason


STARTED = (
    "I (1) app_init: Project name:     a\nI (1) app_init: App version:      1\n"
    "I (1) app_init: ELF file SHA256:  0a1b2c3d4...\n"
)


@pytest.mark.parametrize(
    "line",
    [
        "ets Jul 29 2019 12:21:46",
        "ESP-ROM:esp32c3-api1-20210207",
        "I (24) boot: ESP-IDF v5.2 2nd stage bootloader",
        "half of a lineESP-ROM:esp32c6-20220919",
    ],
)
def test_a_restart_without_its_reset_line(line):
    """After the app has started, any first line of a ROM or bootloader is a restart; its reason is added once known."""
    log = fed(STARTED + line + "\n")
    assert log.symptom is not None
    assert log.symptom.cause == "restart"
    log.feed("rst:0x8 (TG1WDT_SYS_RESET),boot:0xc (SPI_FAST_FLASH_BOOT)")
    assert "TG1WDT_SYS_RESET" in log.symptom.reason


POWER_ON = "ets Jul 29 2019 12:21:46\n\nrst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\n"
WATCHDOG = "ets Jul 29 2019 12:21:46\n\nrst:0x10 (RTCWDT_RTC_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\n"
NEW_WATCHDOG = "ESP-ROM:esp32c3-api1-20210207\nrst:0x10 (RTCWDT_RTC_RST),boot:0xc (SPI_FAST_FLASH_BOOT)\n"
NEW_POWER_ON = "ESP-ROM:esp32c3-api1-20210207\nrst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)\n"
SAGGED = "ets Jul 29 2019 12:21:46\n\nrst:0xf (RTCWDT_BROWN_OUT_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\n"
LOADED = "load:0x3fff0030,len:7176\nentry 0x400805e4\nI (29) boot: ESP-IDF v4.4.6 2nd stage bootloader\n"
UNREADY = "flash read err, 1000\nets_main.c 371 \n"
GOOD = LOADED + STARTED


class TestFailedStarts:
    """Starts after which the chip starts again by itself: what follows decides what they mean."""

    @pytest.mark.parametrize(
        ("text", "failed"),
        [
            (POWER_ON + WATCHDOG + GOOD, ["restart"]),
            (POWER_ON + UNREADY + WATCHDOG + GOOD, ["flash-read"]),
            (
                POWER_ON
                + "flash read err, 1000\nFalling back to built-in command interpreter.\nOK\n>"
                + WATCHDOG
                + GOOD,
                ["flash-read"],
            ),
        ],
    )
    def test_harmless(self, text, failed):
        """An ESP32 whose flash was not ready for its first start is good: nothing is wrong, nothing is a warning."""
        log = fed(text)
        assert (log.symptom, log.warnings) == (None, {})
        assert [one.cause for one in log.failed_starts] == failed
        assert log.app_started

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            (POWER_ON + "invalid header: 0xffffffff\n" + WATCHDOG + GOOD, "blank-flash"),
            (POWER_ON + "invalid header: 0x6d6d6d6d\n" + WATCHDOG + GOOD, "no-bootloader"),
            (POWER_ON + "load:0xffffffff,len:-1\n" + WATCHDOG + GOOD, "no-bootloader"),
            (POWER_ON + "csum err:0x5a!=0x3c\n" + WATCHDOG + GOOD, "bootloader-checksum"),
            (POWER_ON + "Falling back to built-in command interpreter.\n" + WATCHDOG + GOOD, "no-bootloader"),
            (POWER_ON + UNREADY + WATCHDOG + UNREADY + WATCHDOG + GOOD, "flash-read"),
            (POWER_ON + UNREADY + POWER_ON + GOOD, "flash-read"),
            (NEW_POWER_ON + NEW_WATCHDOG + GOOD, "restart"),
            (NEW_POWER_ON + "invalid header: 0xffffffff\n" * 4 + NEW_WATCHDOG + GOOD, "blank-flash"),
            (POWER_ON + UNREADY + GOOD, "flash-read"),
            (POWER_ON + LOADED + SAGGED + GOOD, "brownout"),
            (POWER_ON + GOOD + SAGGED + GOOD, "brownout"),
            (POWER_ON + GOOD + "\nBrownout detector was triggered\n\n" + SAGGED + GOOD, "brownout"),
            (POWER_ON + GOOD + "\nBrownout detector was triggered\n\n" + POWER_ON + GOOD, "brownout"),
        ],
    )
    def test_marginal(self, text, cause):
        """A chip that read its flash wrongly, or lost its supply, and then started well is good with a warning."""
        log = fed(text)
        assert log.symptom is None
        assert cause in log.warnings
        assert "a later start was good" in log.warnings[cause].reason

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            (POWER_ON + UNREADY, "flash-read"),
            (POWER_ON + UNREADY + WATCHDOG + LOADED, "flash-read"),
            (POWER_ON + UNREADY + (WATCHDOG + UNREADY) * 2 + WATCHDOG + GOOD, "flash-read"),
            ((POWER_ON + GOOD + "Brownout detector was triggered\n") * 3 + POWER_ON + GOOD, "brownout"),
            (POWER_ON + LOADED + WATCHDOG + GOOD, "restart"),
            (POWER_ON + GOOD + WATCHDOG + GOOD, "restart"),
            (POWER_ON + GOOD + "assert failed: f main.c:1 (x)\nRebooting...\n" + WATCHDOG + GOOD, "panic"),
            (POWER_ON + "user code done\n" + WATCHDOG + GOOD, "no-bootloader"),
            (POWER_ON + "Fatal exception (28): \n" + WATCHDOG + GOOD, "panic"),
            (POWER_ON + "secure boot verification failed\nets_main.c 333 \n" + WATCHDOG + GOOD, "secure-boot"),
            (POWER_ON + UNREADY + "rst:0x10 (RTCWDT_RTC_RESET),boot:0x3 (DOWNLOAD_BOOT(UART0))\n", "download-mode"),
            (POWER_ON + UNREADY + WATCHDOG + GOOD + "assert failed: f main.c:1 (x)\n", "panic"),
            (POWER_ON + UNREADY + LOADED + "assert failed: f main.c:1 (x)\n" + WATCHDOG + GOOD, "panic"),
            (POWER_ON + GOOD + "Brownout detector was triggered\nCPU halted.\n" + WATCHDOG + GOOD, "panic"),
        ],
    )
    def test_bad(self, text, cause):
        """A third failed start, a start that never succeeds, and any other death are failures, whatever follows."""
        log = fed(text)
        assert log.symptom is not None
        assert log.symptom.cause == cause

    @pytest.mark.parametrize("end", [UNREADY + WATCHDOG + GOOD, WATCHDOG + GOOD, SAGGED + GOOD])
    def test_none_after_the_last_line(self, end):
        """Once the boot is complete, no restart is excused."""
        log = fed(POWER_ON + GOOD)
        log.complete()
        for line in end.splitlines():
            log.feed(line)
        assert log.failed

    def test_only_the_last_start_is_read(self):
        """What the unit said before it started again does not count."""
        lost = "I (1) esp_rmaker_node: Node ID ----- Abc\nI (1) boot: End of partition table\n"
        log = fed(POWER_ON + GOOD + lost + SAGGED + GOOD.replace("version:      1", "version:      2"))
        assert (log.node_id, log.app["App version"]) == (None, "2")


@pytest.mark.parametrize("line", [line for line in LINES if not line.startswith("rst:")])
@pytest.mark.parametrize("before", ["entry 0x4008", ">", "I (31) boot: chip revision: v3."])
def test_no_row_is_anchored(line, before):
    """A line is found although the end of the line before it was lost."""
    log = BootLog()
    log.feed(before + line)
    assert log.symptom is not None
    assert log.symptom.cause == LINES[line]


def test_a_death_is_told_in_its_own_words():
    """The first line of a death has the words; what follows it changes nothing."""
    log = fed(f"{STARTED}\nassert failed: tim_start main.c:81 (handle != NULL)\n\nBacktrace: 0x40081234:0x3ffb0000\n")
    assert log.symptom is not None
    assert log.symptom.reason == "the firmware panicked: assert failed: tim_start main.c:81 (handle != NULL)"


def test_identity_lines():
    """Node id, QR payload and service name are as the unit prints them."""
    payload = '{"ver":"v1","name":"PROV_0a1b2c","username":"wifiprov","pop":"abcd1234","transport":"ble"}'
    log = fed(
        "I (420) esp_rmaker_node: Node ID ----- Abc123\n"
        "I (500) network_prov_mgr: Provisioning started with service name : PROV_0a1b2c \n"
        f"https://rainmaker.espressif.com/qrcode.html?data={payload}\r\n"
    )
    assert (log.node_id, log.service_name, log.qr_payload) == ("Abc123", "PROV_0a1b2c", payload)
    assert log.symptom is None


def test_quiet_boots_are_no_symptom():
    """Lines of a healthy boot are not a failure."""
    log = fed(
        "E (1) nothing: of the kind\nW (2) wifi: secure boot is off\n"
        "I (3) boot: No factory image, trying OTA 0\nI (4) boot: Set actual ota_seq=1 in otadata[0]\n"
        "I (5) app_network: Reusing cached sec2 salt-verifier from NVS\n"
    )
    assert log.symptom is None


def test_factory_causes_are_causes():
    """The symptoms left to the judge of the identity are in the table."""
    assert set(LINES.values()) >= FACTORY_CAUSES


@given(st.lists(st.text()))
def test_any_text(lines):
    """Any text is accepted."""
    log = BootLog()
    for line in lines:
        log.feed(line)


_PIECES = st.sampled_from(
    [
        *LINES,
        "rst:0x",
        " (X),boot:0x1 (",
        "boot:  1 a b 00 00 00000000 0000000",
        "app_init: Project name: ",
        "\x1b[0m",
        "{}",
    ]
)


@given(st.lists(st.lists(_PIECES).map("".join)))
def test_any_mixture_of_known_words(lines):
    """Lines that were cut and joined are accepted."""
    log = BootLog()
    for line in lines:
        log.feed(line)


@given(st.binary(max_size=9000))
def test_any_bytes_through_the_console(data):
    """Bytes that are not text are accepted: the console yields whole lines of limited length."""
    reader = console(data)
    lines = list(reader.everything())
    assert all("\n" not in line for line in lines)
    reader.text.encode()
