"""Tests of `rmfab printer`: what a person who unpacks a printer sees."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zxingcpp
from PIL import Image

from rmfab.label.printers.discovery import FoundPrinter, cups_keeps_files, usb_printers
from rmfab.label.scan import TEST_CODE
from rmfab.virtual.printers.serving import PrinterHandle, serve_printer
from rmfab.virtual.printers.spec import PrinterKind, VirtualPrinterSpec
from tests.label.printers.bench import AWAY
from tests.terminal import Terminal, environment, words

SPECS = (
    VirtualPrinterSpec(PrinterKind.ZPL, 203, 40, 30, 0),
    VirtualPrinterSpec(PrinterKind.QL, 300, 62, 29, 0),
    VirtualPrinterSpec(PrinterKind.QL, 300, 29, None, 0),
    VirtualPrinterSpec(PrinterKind.TSPL, 203, 40, 30, 0),
)


@pytest.fixture(params=SPECS, ids=lambda spec: f"{spec.kind}-{spec.width:g}")
def printer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PrinterHandle]:
    """A printer of each kind."""
    with serve_printer(request.param, tmp_path / "out") as handle:
        yield handle


def test_status(terminal: Terminal, printer: PrinterHandle) -> None:
    """A printer that is ready is exit 0; each fault is shown with its remedy, and the first one is exit 4."""
    said = terminal("printer", "status", "--printer", printer.address)
    assert (said.code, "state       ready" in said.out) == (0, True)
    printer.control("fault paper-out")
    said = terminal("printer", "status", "--printer", printer.address)
    assert said.code == 4
    assert "fault       The printer is out of labels.\n            Load labels.\n" in said.out
    assert f"rmfab: error: {printer.address}: the printer is out of labels" in said.err


def test_ruler(terminal: Terminal, printer: PrinterHandle) -> None:
    """The test label has a code of each module size, and its frame is whole."""
    said = terminal("printer", "test", "--printer", printer.address)
    assert (said.code, said.out.split(":")[0]) == (0, "printed")
    picture = Image.open(printer.labels[0]).convert("L")
    found = {code.text for code in zxingcpp.read_barcodes(picture)}
    assert found >= {"RMFAB 2", "RMFAB 3", "RMFAB 4"}
    box = picture.point([255] * 128 + [0] * 128).getbbox()
    assert box is not None
    edges = (picture.crop((box[0], box[1], box[2], box[1] + 1)), picture.crop((box[0], box[3] - 1, box[2], box[3])))
    assert all(edge.getextrema() == (0, 0) for edge in edges)


def test_test_code(terminal: Terminal, printer: PrinterHandle) -> None:
    """The test code is read back from the printed label, with each character."""
    assert terminal("printer", "test-code", "--printer", printer.address).code == 0
    (code,) = zxingcpp.read_barcodes(Image.open(printer.labels[0]).convert("L"))
    assert code.text == TEST_CODE


def test_printer_of_the_station(terminal: Terminal, printer: PrinterHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --printer it is that of station.toml; with its address, also its settings count."""
    station = terminal.folder / "station.toml"
    station.write_text(f'[printer]\naddress = "{printer.address}"\ndpi = 600\n')
    monkeypatch.setenv("RMFAB_STATION", str(station))
    for argv in ((), ("--printer", printer.address)):
        said = terminal("printer", "status", *argv, "--json")
        assert json.loads(said.out)["configured"]["dpi"] == 600
    said = terminal("printer", "list", "--json")
    assert json.loads(said.out)["configured"] == printer.address


@pytest.mark.slow
def test_doctor(terminal: Terminal, lamp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """doctor reports the printer: ready, with a fault, or one that does not answer."""
    with serve_printer(SPECS[0], tmp_path / "out") as printer:
        (lamp / "station.toml").write_text(f'[printer]\naddress = "{printer.address}"\n')
        assert _doctor(terminal, lamp) == (f"the printer {printer.address} (ZD421-203dpi, 203 dpi)", True)
        printer.control("fault ribbon-out")
        assert _doctor(terminal, lamp)[1] is False
        (lamp / "station.toml").write_text(f'[printer]\naddress = "{printer.address}"\ndpi = 300\n')
        what, good = _doctor(terminal, lamp)
        assert ("300 dpi, the printer reports 203 dpi" in what, good) == (True, False)
    monkeypatch.setattr("rmfab.operations.use_printer.PrinterPatience", lambda: AWAY)
    assert _doctor(terminal, lamp)[1] is False


def test_serve(tmp_path: Path) -> None:
    """`printer serve` prints its addresses and each label; a script mends it through its control address."""
    command = words("printer", "serve", "--tcp-port", "0", "--pace", "0", "--fault", "paper-out", "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=environment()) as serving:
        try:
            assert serving.stdout is not None
            told = json.loads(serving.stdout.readline())
            assert told["event"] == "printer"
            assert _control(told["control"], "state")["faults"] == ["paper-out"]
            assert _control(told["control"], "fault nonsense").startswith('error: "nonsense" is not a fault')
            assert _control(told["control"], "fix paper-out") == "ok"
            printing = words("printer", "test", "--printer", told["address"])
            assert subprocess.run(printing, env=environment(), capture_output=True, check=False).returncode == 0
            label = json.loads(serving.stdout.readline())
            assert Path(label["file"]).stat().st_mode & 0o777 == 0o600
        finally:
            serving.terminate()
    assert serving.returncode == 0


@pytest.mark.parametrize(
    "argv",
    [
        ("--fault", "nonsense"),
        ("--fault", "paper-out="),
        ("--media", "A4"),
        ("--language", "ql", "--media", "40x30"),
        ("--language", "ql", "--dpi", "203"),
    ],
)
def test_usage_of_serve(terminal: Terminal, argv: tuple[str, ...]) -> None:
    """A fault, a size or a roll that does not exist is a usage error."""
    assert terminal("printer", "serve", "--tcp-port", "0", *argv).code == 2


def test_an_address_that_no_host_has(terminal: Terminal) -> None:
    """A name that is none is an error of the station, with a port of one's own or a free one."""
    for port in ("9105", "0"):
        said = terminal("printer", "serve", "--tcp-port", port, "--bind", "a" * 300)
        said.refused(4, f":{port}: cannot listen: no host can have this name", "an address of this host")


def test_usb_printers(tmp_path: Path) -> None:
    """A USB printer is listed by what it says about itself; one that does not say its language leaves that open."""
    ids = {
        "lp0": "MANUFACTURER:Zebra Technologies ;COMMAND SET:ZPL;MODEL:ZTC ZD421;",
        "lp1": "MFG:Brother;CMD:PT-CBP;MDL:QL-800;CLS:PRINTER;",
        "lp2": "MFG:TSC;CMD:TSPL2;MDL:TE200;",
        "lp3": "MFG:\x1b[31mNoName;MDL:Label;",
        "input0": "",
    }
    for name, text in ids.items():
        (tmp_path / name / "device").mkdir(parents=True)
        (tmp_path / name / "device" / "ieee1284_id").write_text(text)
    (tmp_path / "lp4").mkdir()
    found = usb_printers(tmp_path, tmp_path / "dev")
    assert [one.address.partition("+")[0] for one in found] == ["zpl", "ql", "tspl", "LANGUAGE", "LANGUAGE"]
    assert found[0] == FoundPrinter(f"zpl+usb://{tmp_path}/dev/lp0", "Zebra Technologies ZTC ZD421", False)
    assert found[3].model == "\\x1b[31mNoName Label"
    assert usb_printers(tmp_path / "none", tmp_path) == []


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        ("", True),
        ("PreserveJobFiles 86400\n", True),
        ("# PreserveJobFiles No\n", True),
        ("preservejobfiles no\n", False),
        ("PreserveJobFiles Yes\n  PreserveJobFiles Off\n", False),
    ],
)
def test_what_cups_keeps(tmp_path: Path, text: str, keeps: bool) -> None:
    """CUPS keeps the files of jobs unless its configuration says otherwise."""
    (tmp_path / "conf").write_text(text)
    assert cups_keeps_files(tmp_path / "conf") is keeps
    assert cups_keeps_files(tmp_path / "none") is None


def _control(address: str, command: str) -> Any:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(command.encode() + b"\n")
        answer = connection.makefile().readline().strip()
    return json.loads(answer) if answer.startswith("{") else answer


def _doctor(terminal: Terminal, lamp: Path) -> tuple[str, bool]:
    """Return what doctor says about the printer, and whether it is good."""
    found = json.loads(terminal("-C", lamp, "doctor", "--json").out)
    (one,) = (one for one in found if one["what"].startswith("the printer "))
    return one["what"], one["good"]
