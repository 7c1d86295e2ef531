"""What a release allows the line to prove: the decision as a table, and quiet units on the whole line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rmfab.errors import InputError
from rmfab.line import listening
from rmfab.line.proofs import Ability, Proofs, console_baud, proofs_of, refuse_without_proof
from rmfab.product.product import VerifyPolicy
from rmfab.product.vocabulary import CloudProof, ConsoleMode, ConsolePort, Credentials
from rmfab.release.build_config import UNKNOWN, BuildConfig
from tests.line.floor import found, serve, spec

pytestmark = pytest.mark.slow

AUTO, FULL, LOG, NONE = ConsoleMode
UART0, OTHER_UART, USB, NOWHERE = ConsolePort
LOUD = BuildConfig(
    console=UART0,
    console_baud=115200,
    log_level=3,
    get_node_id=True,
    sign_data=True,
    prints_qr=True,
    challenge_response=True,
)
NAMES = (
    "boot log",
    "QR payload",
    "console node id",
    "console signature",
    "provisioning session",
    "challenge",
)
FIELDS = ("log", "qr", "node_id", "signature", "challenge")


def abilities(proofs: Proofs) -> str:
    """Return one letter for each proof: Y(es), m(aybe) or -."""
    return "".join("-mY"[getattr(proofs, name).ability] for name in FIELDS)


@pytest.mark.parametrize(
    ("mode", "built", "own_usb", "able"),
    [
        (AUTO, LOUD, None, "YYYYY"),
        (AUTO, UNKNOWN, None, "mmmmm"),
        (AUTO, replace(LOUD, sign_data=False), None, "YYY-Y"),
        (AUTO, replace(LOUD, get_node_id=False), None, "YY-YY"),
        (AUTO, replace(LOUD, get_node_id=False, sign_data=False), None, "YY--Y"),
        (AUTO, replace(LOUD, prints_qr=False), None, "Y-YYY"),
        (AUTO, replace(LOUD, challenge_response=False), None, "YYYY-"),
        (AUTO, replace(LOUD, log_level=0), None, "--Y-Y"),
        (AUTO, replace(LOUD, log_level=2), None, "--Y-Y"),
        (AUTO, replace(LOUD, log_level=None), None, "mmYmY"),
        (AUTO, replace(LOUD, console=NOWHERE), None, "----Y"),
        (AUTO, replace(LOUD, console=OTHER_UART), None, "----Y"),
        (AUTO, replace(LOUD, console=None), None, "mmmmY"),
        (AUTO, replace(LOUD, console=USB), True, "YYYYY"),
        (AUTO, replace(LOUD, console=USB), False, "----Y"),
        (AUTO, replace(LOUD, console=USB), None, "mmmmY"),
        (AUTO, LOUD, True, "mm--Y"),
        (AUTO, replace(LOUD, console=NOWHERE), True, "mm--Y"),
        (AUTO, replace(LOUD, console=None), True, "mmmmY"),
        (AUTO, LOUD, False, "YYYYY"),
        (FULL, LOUD, None, "YYYYY"),
        (FULL, UNKNOWN, None, "YmYYm"),
        (LOG, LOUD, None, "YY--Y"),
        (LOG, UNKNOWN, None, "Ym--m"),
        (NONE, LOUD, None, "----Y"),
        (NONE, UNKNOWN, None, "----m"),
    ],
)
def test_proofs_follow_the_facts(mode: ConsoleMode, built: BuildConfig, own_usb: bool | None, able: str):
    """ "auto" follows the build and the slot's wiring; the other modes are what product.toml says."""
    proofs = proofs_of(VerifyPolicy(console=mode), built, own_usb)
    assert abilities(proofs) == able
    assert proofs.listens == (mode is not NONE)
    assert all(getattr(proofs, name).why for name in FIELDS if getattr(proofs, name).ability is not Ability.YES)


@pytest.mark.parametrize(
    ("mode", "lacks"),
    [
        (FULL, {"sign_data": False}),
        (FULL, {"get_node_id": False}),
        (FULL, {"log_level": 0}),
        (LOG, {"log_level": 0}),
        (LOG, {"console": NOWHERE}),
        (LOG, {"console": OTHER_UART}),
    ],
)
def test_what_the_firmware_cannot_do_is_not_required(mode: ConsoleMode, lacks: dict[str, object]):
    """A mode that asks for more than the firmware can is bad input, with the product's key and the firmware's limit."""
    with pytest.raises(InputError) as caught:
        proofs_of(VerifyPolicy(console=mode), replace(LOUD, **lacks), None)
    assert (caught.value.cause, caught.value.where) == ("config-mismatch", "product.toml: [verify] console")


@pytest.mark.parametrize(
    ("said", "built", "baud"),
    [
        (None, UNKNOWN, 115200),
        (None, replace(LOUD, console_baud=74880), 74880),
        (921600, UNKNOWN, 921600),
        (None, replace(LOUD, console=OTHER_UART, console_baud=921600), 115200),
    ],
)
def test_the_baud_of_the_console(said: int | None, built: BuildConfig, baud: int):
    """product.toml decides, then the build; where the firmware does not print, the ROM does, at its own rate."""
    assert console_baud(VerifyPolicy(console_baud=said), built) == baud


@pytest.mark.parametrize(
    ("console", "own_usb", "warned"),
    [(USB, False, True), (USB, None, True), (USB, True, False), (UART0, True, True), (UART0, None, False)],
)
def test_a_console_on_a_different_port_is_warned_of(console: ConsolePort, own_usb: bool | None, warned: bool):
    """A slot on a different port than the console is a matter of wiring, which deserves a warning."""
    assert bool(proofs_of(VerifyPolicy(), replace(LOUD, console=console), own_usb).warning) == warned
    assert proofs_of(VerifyPolicy(console=NONE), replace(LOUD, console=console), own_usb).warning == ""


def test_what_the_line_announces():
    """The operator reads what is proven, what is tried, and what is skipped with its reason."""
    assert list(proofs_of(VerifyPolicy(), LOUD, None).lines(provision=True)) == [
        f"each unit proves: {', '.join(NAMES)}"
    ]
    mixed = replace(LOUD, sign_data=False, prints_qr=None)
    assert list(proofs_of(VerifyPolicy(), mixed, None).lines(provision=False)) == [
        "each unit proves: boot log, console node id",
        "tried, since the build does not show it: QR payload",
        "skipped: console signature (the firmware has no console command sign-data)",
        "skipped: provisioning session, challenge (no step provision)",
    ]


def test_the_broker_is_announced():
    """A witness always proves the connection to the broker; the console only if the firmware has a log."""
    quiet = replace(LOUD, log_level=0)
    for built, cloud, start in (
        (quiet, CloudProof.WITNESS, "each unit proves"),
        (LOUD, CloudProof.CONSOLE, "each unit proves"),
        (quiet, CloudProof.CONSOLE, "skipped"),
    ):
        told = list(proofs_of(VerifyPolicy(), built, None).lines(provision=True, cloud=cloud))
        assert next(one for one in told if "connection to the broker" in one).startswith(start)


def test_units_that_are_yet_to_be_claimed_have_no_key():
    """Before claiming, neither console nor challenge proves anything; log and QR payload do."""
    assert abilities(proofs_of(VerifyPolicy(), LOUD, None).unclaimed) == "YY---"


def test_identity_needs_a_proof():
    """Without a console and without provisioning, no unit can pass."""
    quiet = proofs_of(VerifyPolicy(console=NONE), LOUD, None)
    refuse_without_proof(quiet, provisioning=True)
    with pytest.raises(InputError) as caught:
        refuse_without_proof(quiet, provisioning=False)
    assert caught.value.cause == "no-proof"


@pytest.fixture
def waits(monkeypatch):
    """How long the line wants to listen to each boot. It gives up early: the console stays silent, and the offer that
    comes after it keeps the whole boot_timeout."""
    wanted, read = [], listening._boot_lines

    def read_shortly(*of, seconds):
        wanted.append(seconds)
        return read(*of, seconds=min(seconds, 0.5))

    monkeypatch.setattr(listening, "_boot_lines", read_shortly)
    return wanted


QUIET = {
    "no console": {"console_port": NOWHERE},
    "a different UART": {"console_port": OTHER_UART},
    "no commands and no log": {"log_level": 0, "console": False},
    "errors only": {"log_level": 1, "console": False, "bootloader_log_level": 0},
    "its own USB": {"console_port": USB, "console": False},
}


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("name", QUIET)
def test_quiet_units_pass_by_provisioning(tmp_path, name):
    """Firmware that prints nothing passes the whole line: its offer proves the boot, provisioning the identity."""
    factory = found(tmp_path / "ws", units=1, **QUIET[name])
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0, said.unit["reason"]
    steps = said.steps()
    assert (steps["boot"], steps["identify"], steps["provision"], steps["reset"]) == ("PASS", "SKIP", "PASS", "PASS")
    assert "provisioning alone proves the identity: the firmware" in said.step("identify")["reason"]
    checks = said.step("provision")["measurements"]["checks"]
    assert checks == {"session": "PASS", "key": "PASS", "wrong-pop": "PASS"}
    assert list(factory.states().values()) == ["verified"]


def test_a_silent_console_is_waited_for_once(tmp_path, monkeypatch, waits):
    """A unit that may print on a console that the slot may not have is waited for in its first boot, then no more."""
    monkeypatch.setattr("rmfab.line.steps.identify._ANSWER_SECONDS", 0.2)
    factory = found(tmp_path / "ws", units=1, console_port=USB)
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0, said.unit["reason"]
    assert waits == [60.0, 0.0, 0.0]


def test_a_quiet_unit_that_is_yet_to_be_claimed(tmp_path):
    """Without a certificate, the PoP of the label alone proves the unit."""
    factory = found(tmp_path / "ws", units=1, credentials=Credentials.CLOUD_CLAIM, console_port=NOWHERE)
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0, said.unit["reason"]
    assert said.step("provision")["measurements"]["checks"] == {"session": "PASS", "key": "SKIP", "wrong-pop": "PASS"}


def test_a_slow_quiet_unit_is_waited_for(tmp_path):
    """The boot ends when the unit offers provisioning, however long that takes within boot_timeout."""
    edits = (('console = "auto"', 'console = "none"'), ("boot_timeout = 60.0", "boot_timeout = 20.0"))
    factory = found(tmp_path / "ws", units=1, edits=edits)
    with serve([spec(paced=921600)]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0, said.unit["reason"]
    assert said.step("boot")["measurements"]["log"] == '[verify] console = "none"'


def test_a_log_that_is_off_leaves_the_commands(tmp_path):
    """With log level 0 get-node-id still answers, so that the console proves the node id."""
    factory = found(tmp_path / "ws", units=1, log_level=0)
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0, said.unit["reason"]
    measured = said.step("identify")["measurements"]
    assert measured["checks"] == {"qr": "SKIP", "node_id": "SKIP", "console": "PASS", "signature": "SKIP"}
    assert measured["skipped"]["signature"] == "the firmware has CONFIG_LOG_DEFAULT_LEVEL 0"


def test_commands_alone_prove_the_identity(tmp_path):
    """Without log and provisioning, the boot is skipped, and the console's answer proves the node id."""
    factory = found(tmp_path / "ws", units=1, edits=(("provision = true", "provision = false"),), log_level=0)
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0, said.unit["reason"]
    assert said.steps() | {"boot": "SKIP", "identify": "PASS", "provision": "SKIP", "reset": "PASS"} == said.steps()
    assert said.step("boot")["reason"] == "the firmware has CONFIG_LOG_DEFAULT_LEVEL 0"


@pytest.mark.parametrize(
    ("firmware", "skipped"),
    [
        ({"sign_data": False}, {"signature"}),
        ({"get_node_id": False}, {"console"}),
        ({"console": False}, {"console", "signature"}),
        ({"prints_qr": False}, {"qr"}),
        ({"ch_resp": False}, {"key"}),
    ],
)
def test_what_the_firmware_cannot_do_is_skipped(tmp_path, firmware, skipped):
    """A unit passes without the proofs that its firmware cannot give, and the others are still required."""
    factory = found(tmp_path / "ws", units=1, **firmware)
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0, said.unit["reason"]
    checks = said.step("identify")["measurements"]["checks"] | said.step("provision")["measurements"]["checks"]
    assert {name for name, outcome in checks.items() if outcome == "SKIP"} == skipped
    assert "rmfab: skipped: " in said.words


def test_commands_that_the_build_does_not_show(tmp_path):
    """A command that the console does not know is skipped if the build did not show it, and required by "full"."""
    factory = found(tmp_path / "ws", units=1, sign_data=False, rainmaker=True)
    app = factory.root / "build" / "rmfab-demo.bin"
    assert b"sign-data" not in app.read_bytes()
    factory.configure(ESP_CONSOLE_UART_NUM=0)
    factory.edit('console = "auto"', 'console = "full"')
    with serve([spec()]) as (board,):
        assert factory.run(board.url).refusal == (3, ["config-mismatch"])
        assert factory.bindings() == {}
        factory.edit('console = "full"', 'console = "log"')
        assert factory.run(board.url).code == 0


class TestNotBooting:
    """A quiet unit that does not boot fails with the true cause."""

    @pytest.mark.parametrize(
        ("firmware", "fault", "cause"),
        [
            ({"log_level": 0}, "panic", "panic"),
            ({"log_level": 0}, "brownout", "brownout"),
            ({"console_port": NOWHERE}, "panic", "restart"),
            ({"console_port": OTHER_UART}, "brownout", "brownout"),
            ({"log_level": 0}, "silent", "no-provisioning"),
        ],
    )
    def test_causes(self, tmp_path, firmware, fault, cause):
        """Panics are printed without a log, and the ROM reports each restart whatever the console is."""
        edits = (("boot_timeout = 60.0", "boot_timeout = 2.0"),) if fault == "silent" else ()
        factory = found(tmp_path / "ws", units=1, edits=edits, console=False, rainmaker=fault != "silent", **firmware)
        factory.configure(LOG_DEFAULT_LEVEL=0)
        with serve([spec(faults=(fault,))]) as (board,):
            said = factory.run(board.url)
        assert (said.code, said.verdict) == (1, ("FAIL", cause)), said.unit["reason"]
        assert said.step("boot")["outcome"] == "FAIL"

    def test_a_console_that_is_not_heard(self, tmp_path):
        """With console = "none" nothing but the missing offer shows it."""
        edits = (('console = "auto"', 'console = "none"'), ("boot_timeout = 60.0", "boot_timeout = 1.5"))
        factory = found(tmp_path / "ws", units=1, edits=edits)
        with serve([spec(faults=("panic",))]) as (board,):
            said = factory.run(board.url)
        assert said.verdict == ("FAIL", "no-provisioning")
        assert "1.5 s" in said.unit["reason"]

    def test_silence_that_the_build_does_not_explain(self, tmp_path):
        """Without facts, a unit that neither prints nor offers provisioning is silent."""
        edits = (("boot_timeout = 60.0", "boot_timeout = 1.5"),)
        factory = found(tmp_path / "ws", units=1, edits=edits, rainmaker=False)
        factory.forget_configuration()
        with serve([spec(faults=("silent",))]) as (board,):
            assert factory.run(board.url).verdict == ("FAIL", "silent")

    @pytest.mark.usefixtures("waits")
    def test_quiet_firmware_without_facts(self, tmp_path, monkeypatch):
        """Without facts, a silent unit passes if it offers provisioning."""
        monkeypatch.setattr("rmfab.line.steps.identify._ANSWER_SECONDS", 0.2)
        factory = found(tmp_path / "ws", units=1, console_port=NOWHERE)
        factory.forget_configuration()
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
        assert said.code == 0, said.unit["reason"]
        assert said.step("identify")["outcome"] == "SKIP"


class TestBaud:
    """Consoles at a different rate."""

    def test_of_the_build(self, tmp_path):
        """A console at the rate that the build names is read whole; loader and reset are not disturbed."""
        factory = found(tmp_path / "ws", units=1, console_baud=74880)
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
            assert said.code == 0, said.unit["reason"]
            assert said.step("identify")["measurements"]["checks"]["signature"] == "PASS"
            assert factory.run(board.url, command="reset").code == 0

    def test_that_nobody_names(self, tmp_path):
        """A log at an unknown rate is noise: the station's error, until console_baud names the rate."""
        edits = (("boot_timeout = 60.0", "boot_timeout = 2.0"),)
        factory = found(tmp_path / "ws", units=1, edits=edits, console_baud=74880)
        factory.forget_configuration()
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
            assert (said.code, said.verdict) == (4, ("ERROR", "console-garbled"))
            assert "console_baud" in said.unit["reason"]
            factory.edit("console_baud = 0", "console_baud = 74880")
            factory.edit("boot_timeout = 2.0", "boot_timeout = 60.0")
            said = factory.run(board.url)
        assert said.code == 0, said.unit["reason"]

    def test_that_contradicts_the_build(self, tmp_path):
        """A console_baud that is not the build's is refused before any board is touched."""
        factory = found(tmp_path / "ws", units=1, edits=(("console_baud = 0", "console_baud = 9600"),))
        with serve([spec()]) as (board,):
            assert factory.run(board.url).refusal == (3, ["config-mismatch"])


def test_quiet_units_need_provisioning(tmp_path):
    """A product that proves nothing is refused before any board is touched."""
    edits = (('console = "auto"', 'console = "none"'), ("provision = true", "provision = false"))
    factory = found(tmp_path / "ws", units=1, edits=edits)
    with serve([spec()]) as (board,):
        assert factory.run(board.url).refusal == (3, ["no-proof"])
    assert factory.bindings() == {}


def test_the_run_announces_its_proofs(tmp_path, monkeypatch):
    """`run` reports at its start what this release allows."""
    monkeypatch.setattr("rmfab.line.steps.identify._ANSWER_SECONDS", 0.2)
    quick = (("boot_timeout = 60.0", "boot_timeout = 1.0"),)  # what becomes of the unit is told by others
    factory = found(tmp_path / "ws", units=1, edits=quick, console_port=USB)
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert "rmfab: each unit proves: provisioning session, challenge" in said.words
    assert "the firmware's console is on the chip's USB" in said.words
