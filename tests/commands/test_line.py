"""Tests of `flash`, `verify` and `run` before any board is touched: releases, ports, batches. See also tests/line."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from rmfab.causes import Cause
from rmfab.errors import BatchUsedUp, CloneError, InputError, PortError, RmfabError, StationError, UnitsFailed
from rmfab.language.speech import Language, speech_in
from rmfab.ledger.events import Outcome
from rmfab.line.events import UnitEnded
from rmfab.operations.run_line import LineRun
from rmfab.product.vocabulary import Chip
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.line.floor import serve, spec
from tests.patience import PATIENCE
from tests.terminal import Terminal, environment, files, words


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two ESP-IDF build folders that tests only copy."""
    root = tmp_path_factory.mktemp("builds")
    for chip in (Chip.ESP32C3, Chip.ESP32):
        make_build_folder(root / chip.value, FirmwareRecipe(chip, app_size=128 * 1024))
    return root


@pytest.fixture
def build(builds: Path, tmp_path: Path) -> Path:
    """A build folder for the lamp's chip."""
    return Path(shutil.copytree(builds / "esp32c3", tmp_path / "build"))


LINE = ("flash", "run")


@pytest.mark.parametrize("command", LINE)
def test_build_folders_that_are_none(terminal: Terminal, lamp: Path, build: Path, builds: Path, command: str) -> None:
    """A missing flasher_args.json, a missing or truncated part and a wrong chip are rejected before opening a port."""
    argv = ("-C", lamp, command, "--port", "/dev/nowhere", "--release")
    before = files(lamp)["ledger.db"]
    terminal(*argv, "nowhere").refused(3, "nowhere")
    terminal(*argv, builds / "esp32").refused(3, "esp32")
    args = json.loads((build / "flasher_args.json").read_text())
    app = build / args["app"]["file"]
    whole = app.read_bytes()
    app.write_bytes(whole[: len(whole) // 2])
    terminal(*argv, build).refused(3, "app", "truncated")
    app.unlink()
    terminal(*argv, build).refused(3, app.name)
    app.write_bytes(whole)
    (build / "flasher_args.json").write_text("{")
    terminal(*argv, build).refused(3, "flasher_args.json")
    (build / "flasher_args.json").unlink()
    terminal(*argv, build).refused(3, "flasher_args.json")
    assert files(lamp)["ledger.db"] == before


def test_a_bundle_that_was_changed(terminal: Terminal, lamp: Path, build: Path) -> None:
    """A bundle that is truncated or has a changed byte is rejected."""
    terminal.well("release", "build", build, "-o", "r.rmfab", "--seq", "1", "--no-sbom")
    data = Path("r.rmfab").read_bytes()
    for bad in (data[:-512], data[:5000] + bytes([data[5000] ^ 1]) + data[5001:], b""):
        Path("bad.rmfab").write_bytes(bad)
        said = terminal("-C", lamp, "flash", "--port", "/dev/nowhere", "--release", "bad.rmfab")
        assert said.code in (3, 5)
        said.refused(said.code, "bad.rmfab")


@pytest.mark.parametrize("command", [*LINE, "verify"])
def test_a_port_that_is_absent(terminal: Terminal, lamp: Path, build: Path, command: str) -> None:
    """A port that does not exist is a station error; no identity is claimed for it."""
    said = terminal("-C", lamp, command, "--port", "/dev/nowhere", "--release", build)
    said.refused(4, "/dev/nowhere: port does not exist", "`rmfab ports`")
    assert terminal.well("-C", lamp, "status").splitlines()[1].split()[3] == "3"


def test_an_error_of_a_port_is_told_once(terminal: Terminal, lamp: Path, build: Path) -> None:
    """A port error is printed once: with one slot as the error of the command, with several as that of each unit."""
    argv = ("-C", lamp, "run", "--release", build, "--port", "/dev/no")
    for extra in ((), ("--json",)):
        said = terminal(*argv, *extra)
        assert (said.code, said.err.count("port does not exist")) == (4, 1)
        assert said.out.count("port does not exist") == len(extra)
    said = terminal(*argv, "--port", "/dev/nil")
    assert (said.code, said.out.count("port does not exist"), said.err.count("port does not exist")) == (4, 2, 0)
    assert "error: 2 of 2 slots ended with an error: /dev/no (port-absent), /dev/nil (port-absent)" in said.err


def test_a_port_that_is_absent_in_a_loop(lamp: Path, build: Path) -> None:
    """A loop waits for a port that is not there, and says so once."""
    argv = words("-C", lamp, "run", "--loop", "--release", build, "--port", "/dev/no", "--unit-url", "http://unit")
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment()) as line:
        assert line.stderr is not None
        read: list[str] = []
        while not read or "no such port yet" not in read[-1]:
            read.append(line.stderr.readline())
            assert read[-1], read
        line.send_signal(signal.SIGINT)
        rest = line.stderr.read()
        assert line.wait() == 130
    assert "no such port" not in rest


def without_radio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take Bluetooth and Wi-Fi from this host."""
    monkeypatch.setattr("rmfab.line.host_facts.ROOT", Path("/nowhere"))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)


@pytest.mark.parametrize(
    ("command", "extra"),
    [("run", ()), ("run", ("--json",)), ("run", ("--loop",)), ("verify", ()), ("verify", ("--json",))],
)
def test_a_host_without_bluetooth(
    terminal: Terminal,
    lamp: Path,
    build: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    extra: tuple[str, ...],
) -> None:
    """Without Bluetooth the line does not start: one error with the remedy for all slots, and nothing is recorded."""

    def free() -> str:
        """Return the counts of the ledger."""
        return terminal.well("-C", lamp, "status", "--json")

    without_radio(monkeypatch)
    before = free()
    said = terminal("-C", lamp, command, "--release", build, "--port", "/dev/null", "--port", "/dev/zero", *extra)
    said.refused(4, "over Bluetooth\n", "hint: install and start dbus and bluez (missing: system D-Bus); plug in")
    assert said.err.count("Bluetooth adapter") == 1
    assert "--unit-url" in said.err
    if "--json" in extra:
        assert [one["class"] for one in json.loads(said.out)["errors"]] == ["no-bluetooth"]
    assert free() == before


def test_a_port_that_does_not_exist(
    terminal: Terminal, lamp: Path, build: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Bluetooth, too, a mistyped port is an error of its own; a port that a loop waits for is not one."""
    without_radio(monkeypatch)
    argv = ("-C", lamp, "run", "--release", build)
    terminal(*argv, "--port", "/dev/no").refused(4, "/dev/no: port does not exist")
    terminal(*argv, "--port", "/dev/no", "--loop").refused(4, "over Bluetooth\n")
    terminal(*argv, "--port", "/dev/no", "--port", "/dev/null").refused(4, "over Bluetooth\n")


def test_what_needs_no_radio(terminal: Terminal, lamp: Path, build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`flash`, a unit with a URL, a `reset` that the log proves, and a product without the step need no Bluetooth."""
    without_radio(monkeypatch)
    argv = ("--release", build, "--port", "/dev/no")
    told = "/dev/no: port does not exist"
    terminal("-C", lamp, "flash", *argv).refused(4, told)
    terminal("-C", lamp, "reset", *argv).refused(4, told)
    terminal("-C", lamp, "run", *argv, "--unit-url", "http://unit").refused(4, told)
    path = lamp / "product.toml"
    path.write_text(path.read_text().replace("provision = true", "provision = false"))
    terminal("-C", lamp, "run", *argv).refused(4, told)


@pytest.mark.slow
def test_ports_that_are_busy_or_silent(terminal: Terminal, lamp: Path, build: Path) -> None:
    """A port that a different rmfab holds, and a peer that never answers, are station errors with a hint."""
    master, slave = pty.openpty()
    holder = serial.Serial(os.ttyname(slave), exclusive=True)
    said = terminal("-C", lamp, "flash", "--port", os.ttyname(slave), "--release", build)
    said.refused(4, "in use by another program")
    holder.close()
    said = terminal("-C", lamp, "flash", "--port", os.ttyname(slave), "--release", build)
    said.refused(4, os.ttyname(slave))
    os.close(master)
    os.close(slave)


def hang_up(server: socket.socket) -> None:
    """Accept one client and close the connection at once."""
    server.accept()[0].close()


def test_a_peer_that_is_no_serial_server(terminal: Terminal, lamp: Path, build: Path) -> None:
    """A TCP port without a listener, and one with a foreign service, are reported."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        thread = threading.Thread(target=hang_up, args=(server,), daemon=True)
        thread.start()
        said = terminal("-C", lamp, "flash", "--port", f"rfc2217://127.0.0.1:{port}", "--release", build)
        said.refused(4, str(port))
        thread.join(timeout=PATIENCE)
    terminal("-C", lamp, "flash", "--port", f"rfc2217://127.0.0.1:{port}", "--release", build).refused(4, str(port))


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (("flash",), 3, "no port given"),
        (("flash", "--port", "/dev/x"), 3, "no release given"),
        (("flash", "--port", "/dev/x", "--port", "/dev/x"), 2, "given twice"),
        (("run", "--port", "/dev/x", "--port", "/dev/y", "--unit-url", "http://u"), 2, "one --unit-url per --port"),
        (("run", "--port", "/dev/x", "--unit-url", "foo"), 2, "such as http://10.0.0.7"),
        (("run", "--port", "/dev/x", "--batch", "nope"), 3, 'no batch "nope"'),
        (("run", "--port", "/dev/x", "--port", "/dev/y", "--serial", "LMP-000001"), 2, "one unit"),
        (("verify", "--port", "/dev/x", "--baud", "1"), 2, "--baud"),
    ],
    ids=["no port", "no release", "twice", "URLs", "URL", "batch", "serial", "baud"],
)
def test_bad_arguments(
    terminal: Terminal, lamp: Path, build: Path, argv: tuple[str, ...], code: int, told: str
) -> None:
    """Whatever prevents the line from starting is reported before it starts."""
    release = () if told in ("no release given",) else ("--release", str(build))
    terminal("-C", lamp, *argv, *release).refused(code, told)


def test_another_product_toml(terminal: Terminal, lamp: Path, build: Path) -> None:
    """Identities of a different product.toml are rejected before any board is claimed, with --batch or without."""
    path = lamp / "product.toml"
    path.write_text(path.read_text().replace('username = "wifiprov"', 'username = "other"'))
    argv = ("-C", lamp, "flash", "--port", "/dev/nowhere", "--release", build)
    told = ("batch lamp-0001 was made for a different product.toml", 'username was "wifiprov", is "other"')
    terminal(*argv, "--batch", "lamp-0001").refused(3, *told, "or make a new batch with these")
    terminal(*argv).refused(3, *told, "or name a batch that was made with these with --batch")


def test_json_ends_with_a_summary(terminal: Terminal, lamp: Path, build: Path) -> None:
    """`--json` prints one object per line, the summary last, even if no port could be opened."""
    said = terminal("-C", lamp, "run", "--port", "/dev/no", "--port", "/dev/nil", "--release", build, "--json")
    assert said.code == 4
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [event["class"] for event in found if event["event"] == "unit"] == ["port-absent"] * 2
    assert found[-1] == {
        "event": "summary",
        "passed": 0,
        "failed": 0,
        "errors": 2,
        "aborted": 0,
        "seen": 0,
        "labels": {},
    }


def ended(outcome: Outcome, error: RmfabError | None = None) -> UnitEnded:
    return UnitEnded("ts", "s", "A1", "LMP-000001", None, outcome, None, None, 0.0, None, error)


class Stopped:
    """A floor that has run: its events, and everything else that determines the exit code."""

    def __init__(self, stopped: bool = False, by: RmfabError | None = None) -> None:
        self.stopped = stopped
        self.stopped_by = by
        self.used_up = False
        self.names = ("A1",)
        self.closed: dict[str, object] = {}
        self.units: list[UnitEnded] = []
        self.bug: Exception | None = None

    def events(self) -> Iterator[UnitEnded]:
        """Yield the verdicts, then raise the bug."""
        yield from self.units
        if self.bug is not None:
            raise self.bug


CLONE, USED_UP, PORT = CloneError("clone"), BatchUsedUp("used up"), PortError("gone")


@pytest.mark.parametrize(
    ("floor", "units", "bug", "expected"),
    [
        (Stopped(), [ended(Outcome.PASS)], None, None),
        (Stopped(), [ended(Outcome.MARGINAL)], None, None),
        (Stopped(by=USED_UP), [ended(Outcome.ERROR, USED_UP), ended(Outcome.ERROR, CLONE)], None, CloneError),
        (Stopped(stopped=True), [ended(Outcome.ERROR, CLONE)], ValueError("bug"), CloneError),
        (Stopped(stopped=True), [ended(Outcome.FAIL)], ValueError("bug"), ValueError),
        (Stopped(stopped=True), [ended(Outcome.FAIL), ended(Outcome.ABORTED)], None, KeyboardInterrupt),
        (Stopped(), [ended(Outcome.ERROR, PORT), ended(Outcome.FAIL)], None, UnitsFailed),
        (Stopped(), [ended(Outcome.ERROR, USED_UP), ended(Outcome.ERROR, PORT)], None, PortError),
        (Stopped(by=USED_UP), [ended(Outcome.PASS), ended(Outcome.ERROR, USED_UP)], None, BatchUsedUp),
        (Stopped(), [ended(Outcome.PASS), ended(Outcome.ERROR, InputError("x"))], None, InputError),
        (Stopped(), [ended(Outcome.PASS), ended(Outcome.ERROR)], None, StationError),
    ],
    ids=[
        "pass",
        "marginal",
        "5 over 3",
        "5 over 70",
        "70 over 130",
        "130 over 1",
        "1 over 4",
        "4 over 3",
        "3 loop",
        "3",
        "4",
    ],
)
def test_the_worst_counts(
    floor: Stopped,
    units: list[UnitEnded],
    bug: Exception | None,
    expected: type[BaseException] | None,
    tmp_path: Path,
) -> None:
    """If several exit codes apply, the order is 5, 70, 130, 1, 4, 3."""
    floor.units, floor.bug = units, bug
    run = LineRun(floor, (), tmp_path)  # type: ignore[arg-type]
    if expected is None:
        assert list(run.events()) == units
        return
    with pytest.raises(expected):
        list(run.events())
    assert run.ended == units


def test_the_error_of_a_single_unit_is_in_the_operators_language(terminal: Terminal, lamp: Path, build: Path) -> None:
    """With --lang zh_CN the error that stands for the reason is Chinese, with its place; in JSON it is English."""
    argv = ("-C", lamp, "run", "--lang", "zh_CN", "--port", "/dev/nowhere", "--release", build)
    said = terminal(*argv, "--unit-url", "http://127.0.0.1:9")
    assert said.code == 4
    speech = speech_in(Language.CHINESE)
    cause = Cause("port-absent")
    assert f"rmfab: error: /dev/nowhere: {speech.tr(cause.meaning)}\n" in said.err
    assert f"rmfab: hint: {speech.tr(cause.remedy)}\n" in said.err
    told = terminal(*argv, "--unit-url", "http://127.0.0.1:9", "--json")
    assert "port does not exist" in told.out


def test_the_last_line_of_a_run_is_in_the_operators_language(terminal: Terminal, lamp: Path, build: Path) -> None:
    """With --lang zh_CN the count of units that failed is Chinese; in JSON nothing is."""
    with serve([spec(faults=("panic",))]) as (board,):
        argv = ("-C", lamp, "run", "--lang", "zh_CN", "--release", build, "--port", board.url)
        said = terminal(*argv, "--unit-url", board.provisioning_url)
        told = terminal(*argv, "--unit-url", board.provisioning_url, "--json")
    assert (said.code, told.code) == (1, 1)
    assert said.err.splitlines()[-1].startswith("rmfab: 1 件中有 1 件不合格；见 `rmfab trace ")
    assert "1 of 1 units failed" in told.err


@pytest.mark.parametrize(("language", "told"), [("en", "interrupted; run the"), ("zh_CN", "已中断；再次运行")])
def test_an_interrupted_line_says_so_in_the_operators_language(
    terminal: Terminal, lamp: Path, build: Path, monkeypatch: pytest.MonkeyPatch, language: str, told: str
) -> None:
    """What is said after ^C is in the operator's language."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rmfab.commands.show_line._show", interrupted)
    argv = ("-C", lamp, "run", "--lang", language, "--release", build, "--port", "/dev/nowhere")
    said = terminal(*argv, "--unit-url", "http://127.0.0.1:9")
    assert (said.code, f"rmfab: {told}" in said.err) == (130, True)


def test_what_run_says_before_it_is_in_the_operators_language(terminal: Terminal, lamp: Path, build: Path) -> None:
    """With --lang zh_CN what a run says of its release and its proofs is Chinese, the parts of a list, too."""
    argv = ("run", "--port", "/dev/nowhere", "--release", build, "--unit-url", "http://127.0.0.1:9")
    said = terminal("-C", lamp, *argv, "--lang", "zh_CN")
    speech = speech_in(Language.CHINESE)
    assert speech.said("this release is not signed; allow_unsigned in product.toml accepts it") in said.err
    for proof in ("boot log", "console node id"):
        assert speech.tr(proof) in said.err
    assert "each unit proves" not in said.err
    assert "each unit proves: boot log, " in terminal("-C", lamp, *argv).err
