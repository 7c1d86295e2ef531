"""The judges of boot and identity, row by row, and who is blamed for which error."""

from __future__ import annotations

import json

import pytest

from rmfab.board.bootlog import BootLog
from rmfab.board.esp.facts import BoardRefused
from rmfab.errors import CloneError, InputError, LedgerError, PortError
from rmfab.ledger.events import Outcome
from rmfab.line.boot_judge import UnitFault, judge_boot, judge_identity
from rmfab.line.events import Message, Step, StepEnded, StepProgress, Summary, UnitEnded, to_json
from rmfab.line.unit import Aborted, Skipped
from rmfab.line.worker import judge_error
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
    """The lines of a good boot, one of them changed or left out (None)."""
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
    return [line for line in (said | changes).values() if line is not None]


def log_of(rows):
    """A boot log of *rows*."""
    log = BootLog()
    for row in rows:
        log.feed(row)
    return log


def test_good_boot(release):
    """A boot as the release says passes, with what was measured."""
    log = log_of(lines(release))
    assert judge_boot(log, release) == {"project": release.app.project, "version": release.app.version}
    judge_identity(log, "Abc", Secret(QR), Credentials.CERTIFICATE)


def test_quiet_bootloader(release):
    """A bootloader that does not print its table is not blamed for it."""
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
    ],
)
def test_bad_boots(release, changes, cause):
    """Each deviation has its cause, and a reason."""
    with pytest.raises(UnitFault) as caught:
        judge_boot(log_of(lines(release, **changes)), release)
    assert caught.value.cause == cause
    assert caught.value.what


def test_silence(release):
    """No line at all is silence."""
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
    """Each deviation has its cause, and no reason shows the PoP; the boot itself is none the worse."""
    log = log_of(lines(release, **changes))
    judge_boot(log, release)
    with pytest.raises(UnitFault) as caught:
        judge_identity(log, "Abc", Secret(QR), Credentials.CERTIFICATE)
    assert caught.value.cause == cause
    assert "abcd1234" not in f"{caught.value} {caught.value.hint}"
    assert "abce1234" not in f"{caught.value} {caught.value.hint}"


def test_spacing_and_order_of_the_payload_do_not_matter(release):
    """The QR payload is compared as JSON."""
    other = json.dumps(dict(reversed(json.loads(QR).items())), indent=None)
    log = log_of(lines(release, qr=f"https://rainmaker.espressif.com/qrcode.html?data={other}"))
    judge_identity(log, "Abc", Secret(QR), Credentials.CERTIFICATE)


def test_claiming_needs_no_node_id(release):
    """Where claiming makes the credentials, the node id is not compared."""
    judge_identity(log_of(lines(release, node=None)), None, Secret(QR), Credentials.CLAIM)


@pytest.mark.parametrize(
    ("error", "outcome", "cause"),
    [
        (UnitFault("bad", cause="panic"), Outcome.FAIL, "panic"),
        (BoardRefused("no", cause="chip-mismatch"), Outcome.FAIL, "chip-mismatch"),
        (CloneError("twice"), Outcome.FAIL, "clone"),
        (PortError("gone", cause="port-gone"), Outcome.ERROR, "port-gone"),
        (LedgerError("full", cause="ledger-full"), Outcome.ERROR, "ledger-full"),
        (InputError("no release"), Outcome.ERROR, "bad-input"),
        (Aborted(), Outcome.ABORTED, "aborted"),
        (Skipped("not here"), Outcome.SKIP, None),
        (ZeroDivisionError("x"), Outcome.ERROR, "bug"),
    ],
)
def test_who_is_to_blame(error, outcome, cause):
    """The unit FAILs, the station ERRs, the operator aborts; a bug is the station's, too."""
    ending = judge_error(error)
    assert (ending.outcome, ending.cause) == (outcome, cause)
    assert ending.reason


def test_json_of_happenings():
    """Every event has its name and place; progress has none; nothing in it is not JSON."""
    where = ("2026-01-31T12:00:00.000Z", "bench", "A1", "LMP-000001", "24:0a:c4:00:00:01")
    step = to_json(StepEnded(*where, Step.BOOT, Outcome.FAIL, "panic", "it panics", 1.23456, {"lines": 3}))
    assert step == {
        "event": "step",
        "ts": where[0],
        "station": "bench",
        "slot": "A1",
        "serial": "LMP-000001",
        "mac": where[4],
        "step": "boot",
        "outcome": "FAIL",
        "class": "panic",
        "reason": "it panics",
        "seconds": 1.235,
        "measurements": {"lines": 3},
    }
    unit = UnitEnded(*where, Outcome.PASS, None, None, 2.0, "/logs/x.log")
    assert to_json(unit) is not None
    assert to_json(Message(*where, "warning", "mind the gap")) == {
        "event": "log",
        **{key: step[key] for key in ("ts", "station", "slot", "serial", "mac")},
        "level": "warning",
        "text": "mind the gap",
    }
    assert to_json(StepProgress(*where, Step.FLASH, 1, 2)) is None


def test_summary_counts_every_outcome():
    """Passed, failed, errors and aborted add up to the units."""
    where = ("2026-01-31T12:00:00.000Z", "bench", "A1", None, None)
    summary = Summary()
    for outcome in (Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL, Outcome.ERROR, Outcome.ABORTED):
        summary.count(UnitEnded(*where, outcome, None, None, 0.0, None))
    assert summary.to_json() == {"event": "summary", "passed": 2, "failed": 1, "errors": 1, "aborted": 1}
