"""The judges of boot and identity, row by row."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from rmfab.board.bootlog import BootLog
from rmfab.errors import StationError, UnitFault
from rmfab.line.boot_judge import (
    judge_boot,
    judge_identity,
    judge_marginal,
    judge_readable,
    judge_same_reading,
    judge_unprovisioned,
)
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.release.build_folder import read_build_folder
from rmfab.secret import Secret
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe

QR = '{"ver":"v1","name":"PROV_0a1b2c","username":"wifiprov","pop":"abcd1234","transport":"ble"}'


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The demo's release."""
    return read_build_folder(
        make_build_folder(tmp_path_factory.mktemp("c3"), FirmwareRecipe(Chip.ESP32C3, app_size=128 * 1024))
    )


def lines(release, **changes):
    """Return the lines of a good boot, with one of them changed or left out (None)."""
    said = {
        "reset": "rst:0x1 (POWERON),boot:0xc (SPI_FAST_FLASH_BOOT)",
        "project": f"I (1) app_init: Project name:     {release.app.project}",
        "version": f"I (1) app_init: App version:      {release.app.version}",
        "elf": f"I (1) app_init: ELF file SHA256:  {release.app.elf_sha256[:9]}...",
        "node": "I (2) esp_rmaker_node: Node ID ----- Abc",
        "qr": f"https://rainmaker.espressif.com/qrcode.html?data={QR}",
    }
    for number, row in enumerate(release.table.partitions):
        said[row.label] = (
            f"I (1) boot: {number:2d} {row.label:<16} {'usage':<16} {row.type:02x} {row.subtype:02x} "
            f"{row.offset:08x} {row.size:08x}"
        )
    said["end"] = "I (1) boot: End of partition table"
    return [line for line in (said | changes).values() if line is not None]


def log_of(rows):
    """Return a boot log of *rows*."""
    log = BootLog()
    for row in rows:
        log.feed(row)
    return log


def test_good_boot(release):
    """A boot of the release passes, with its measurements."""
    log = log_of(lines(release))
    assert judge_boot(log, release) == {"project": release.app.project, "version": release.app.version}
    judge_identity(log, "Abc", Secret(QR), Credentials.CERTIFICATE)


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"early": "SHA-256 comparison failed:"}, "bootloader-digest"),
        ({"early": "E (139) octal_psram: PSRAM chip is not connected, or wrong PSRAM line mode"}, "psram"),
        ({"reset": "rst:0xf (BROWN_OUT_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"}, "brownout"),
    ],
)
def test_warnings_of_a_good_boot(release, changes, warning):
    """A good boot with a warning is good, and measures it; the step is then MARGINAL with the warning's reason."""
    log = log_of(lines(release, **changes))
    assert judge_boot(log, release)["warnings"] == [warning]
    marginal = judge_marginal(log)
    assert marginal is not None
    assert (marginal.cause, bool(marginal.reason)) == (warning, True)
    assert judge_marginal(log_of(lines(release))) is None


@pytest.mark.parametrize("lost", ["nvs", "otadata", "end"])
def test_a_lost_row_is_no_other_table(release, lost):
    """A gap in the rows' numbers, or a table without its end, is not judged."""
    told = judge_boot(log_of(lines(release, **{lost: None})), release)
    assert "not judged" in str(told["table"])


def test_lost_line_ends(release):
    """A lost line end changes no value: each ends where the next log line starts."""
    whole = lines(release)
    expected = log_of(whole).reading
    for at in range(len(whole) - 1):
        reading = log_of([*whole[:at], whole[at] + whole[at + 1], *whole[at + 2 :]]).reading
        assert reading.items() <= expected.items()


def test_two_readings(release):
    """What reads differently in two boots is the cable's fault, what was lost in one of them nobody's."""
    good = log_of(lines(release))
    judge_same_reading(good, log_of(lines(release, node=None, nvs=None, end=None)))
    for changes in (
        {"node": "I (2) esp_rmaker_node: Node ID ----- Abd"},
        {"version": "I (1) app_init: App version:      9"},
        {"nvs": "I (1) boot:  2 nvx              WiFi data        01 02 00010000 00005000"},
    ):
        with pytest.raises(StationError) as caught:
            judge_same_reading(good, log_of(lines(release, **changes)))
        assert caught.value.cause == "console-garbled"


def test_quiet_bootloader(release):
    """A bootloader that does not print its table passes."""
    rows = {row.label: None for row in release.table.partitions}
    judge_boot(log_of(lines(release, **rows)), release)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"project": "I (1) app_init: Project name:     other"}, "project-mismatch"),
        ({"version": "I (1) app_init: App version:      0.0.9"}, "version-mismatch"),
        ({"elf": "I (1) app_init: ELF file SHA256:  000000000..."}, "elf-mismatch"),
        ({"elf": "I (1) app_init: ELF file SHA256:  ..."}, "elf-mismatch"),
        ({"elf": None}, "boot-incomplete"),
        ({"fctry": None}, "table-mismatch"),
        ({"nvs": "I (1) boot:  2 nvs              WiFi data        01 02 00010000 00005000"}, "table-mismatch"),
        ({"late": "Guru Meditation Error: Core  0 panic'ed (IllegalInstruction). Exception was unhandled."}, "panic"),
        ({"late": "rst:0xc (RTC_SW_CPU_RST),boot:0xc (SPI_FAST_FLASH_BOOT)"}, "restart"),
        ({"late": "E (9) task_wdt: Task watchdog got triggered. The following tasks"}, "watchdog"),
        ({"late": "Brownout detector was triggered"}, "brownout"),
        ({"late": "assert failed: tim_start main.c:81 (handle != NULL)"}, "panic"),
        ({"late": "CPU halted."}, "panic"),
        ({"late": "ets Jul 29 2019 12:21:46"}, "restart"),
        ({"reset": "rst:0x1 (POWERON),boot:0x4 (DOWNLOAD(USB/UART0/1))"}, "download-mode"),
        ({"reset": "load:0xffffffff,len:-1", "elf": None}, "no-bootloader"),
    ],
)
def test_bad_boots(release, changes, cause):
    """Each deviation has its cause and a reason."""
    with pytest.raises(UnitFault) as caught:
        judge_boot(log_of(lines(release, **changes)), release)
    assert caught.value.cause == cause
    assert caught.value.what


def test_silence(release):
    """A log without lines is "silent"."""
    with pytest.raises(UnitFault) as caught:
        judge_boot(log_of([]), release)
    assert caught.value.cause == "silent"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"node": None}, "no-node-id"),
        ({"node": "I (2) esp_rmaker_node: Node ID ----- Abd"}, "other-identity"),
        ({"qr": None}, "no-qr"),
        ({"qr": f"https://rainmaker.espressif.com/qrcode.html?data={QR.replace('abcd', 'abce')}"}, "pop-mismatch"),
        ({"qr": f"https://rainmaker.espressif.com/qrcode.html?data={QR.replace('ble', 'softap')}"}, "qr-mismatch"),
        ({"qr": "https://rainmaker.espressif.com/qrcode.html?data={broken"}, "qr-mismatch"),
        ({"late": "I (3) app_wifi: Already provisioned, starting Wi-Fi STA"}, "already-provisioned"),
        ({"late": "I (3) app_network: Generating sec2 salt-verifier for username 'wifiprov'"}, "sec2-generated"),
        ({"late": "I (3) esp_claim: Initialising Self Claiming. This may take time."}, "claiming"),
    ],
)
def test_bad_identities(release, changes, cause):
    """Each deviation has its cause, no reason contains the PoP, and the boot itself still passes."""
    log = log_of(lines(release, **changes))
    judge_boot(log, release)
    with pytest.raises(UnitFault) as caught:
        judge_identity(log, "Abc", Secret(QR), Credentials.CERTIFICATE)
    assert caught.value.cause == cause
    assert "abcd1234" not in f"{caught.value} {caught.value.hint}"
    assert "abce1234" not in f"{caught.value} {caught.value.hint}"


def test_what_the_firmware_need_not_print(release):
    """A node id or QR payload that need not be printed may be missing, but is judged if it is there."""
    optional = {"needs_node": False, "needs_qr": False}
    bare = log_of(lines(release, node=None, qr=None))
    judge_identity(bare, "Abc", Secret(QR), Credentials.CERTIFICATE, **optional)
    with pytest.raises(UnitFault) as caught:
        judge_identity(log_of(lines(release)), "Abd", Secret(QR), Credentials.CERTIFICATE, **optional)
    assert caught.value.cause == "other-identity"


NOISE = "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        ("", True),
        ("rst:0x1 (POWERON)\r\n" * 20, True),
        ("rst:0x1 (POWERON)\r\n" * 20 + NOISE * 40, True),
        ("rst:0x1 (POWERON)\r\n" * 20 + NOISE * 400, False),
        (NOISE * 20, True),
        (NOISE * 40, False),
        ("\x01\x02\x7f" * 40, False),
        ("\x1b[0;32mI (1) boot: chip revision: v0.4\x1b[0m\r\n" * 20, True),
        ("ünïcödé " * 40, True),
    ],
)
def test_noise_is_not_silence(text, readable):
    """A console that is mostly noise is the station's: its baud or its cable. A few lost bytes are not."""
    log = log_of(text.splitlines())
    if readable:
        judge_readable(log, text)
        return
    with pytest.raises(StationError) as caught:
        judge_readable(log, text)
    assert caught.value.cause == "console-garbled"


def test_noise_beside_a_boot_that_is_read(release):
    """A log in which the app has started was readable, whatever else was received."""
    judge_readable(log_of(lines(release)), NOISE * 9999)


@dataclass(frozen=True)
class Named:
    service_name: str = "PROV_0a1b2c"
    node_id: str | None = "Abc"


OFFER = "I (3) network_prov_mgr: Provisioning started with service name : "


@pytest.mark.parametrize(
    ("rows", "seen", "cause"),
    [
        ([f"{OFFER}PROV_0a1b2c "], False, None),
        ([], False, "no-provisioning"),
        ([], True, None),
        ([f"{OFFER}PROV_ffffff "], True, "name-mismatch"),
        (["I (2) esp_rmaker_node: Node ID ----- Abd"], True, "other-identity"),
        (["I (3) app_wifi: Already provisioned, starting Wi-Fi STA"], True, "already-provisioned"),
    ],
)
def test_an_offer_that_is_seen_by_radio(rows, seen, cause):
    """An offer that was seen need not be printed, but what is printed must fit."""
    if cause is None:
        judge_unprovisioned(log_of(rows), Named(), seen=seen)
        return
    with pytest.raises(UnitFault) as caught:
        judge_unprovisioned(log_of(rows), Named(), seen=seen)
    assert caught.value.cause == cause


@pytest.mark.parametrize(
    "payload", ["[" * 2000, '{"a":' * 700, "9" * 4000, '{"name":"\\ud800"}', '{"a":1,"a":1}', "NP:" * 900]
)
def test_hostile_payloads(release, payload):
    """A payload that is no payload, however deep or long, is the unit's fault: a short reason."""
    log = log_of(lines(release, qr=f"https://rainmaker.espressif.com/qrcode.html?data={payload}"))
    with pytest.raises(UnitFault) as caught:
        judge_identity(log, "Abc", Secret(QR), Credentials.CERTIFICATE)
    assert caught.value.cause == "qr-mismatch"
    assert len(caught.value.what) < 400


def test_spacing_and_order_of_the_payload_do_not_matter(release):
    """The QR payload is compared as JSON."""
    other = json.dumps(dict(reversed(json.loads(QR).items())), indent=None)
    log = log_of(lines(release, qr=f"https://rainmaker.espressif.com/qrcode.html?data={other}"))
    judge_identity(log, "Abc", Secret(QR), Credentials.CERTIFICATE)


def test_claiming_needs_no_node_id(release):
    """With self or assisted claiming the node id is not compared."""
    judge_identity(log_of(lines(release, node=None)), None, Secret(QR), Credentials.CLOUD_CLAIM)
