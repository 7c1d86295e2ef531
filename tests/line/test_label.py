"""The step `label` on virtual boards: one printer for all slots, its faults, scans, and what the ledger knows."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from functools import partial

import pypdfium2
import pytest
import zxingcpp
from PIL import Image

from rmfab.cli import main
from rmfab.label.printers.open_printer import open_printer
from rmfab.label.scan import TEST_CODE
from rmfab.ledger.events import EventKind
from rmfab.operations.advance import completed
from rmfab.operations.generate import GenerateRequest, generate
from rmfab.operations.terminal import Unattended
from rmfab.virtual.printers.spec import PrinterKind
from tests.label.printers.bench import AWAY
from tests.label.printers.bench import printing as virtual_printer
from tests.label.printers.cups import add_queue, cups, ipp_printer
from tests.line.floor import Factory, beside, copied, found, ports, serve, spec
from tests.patience import PATIENCE, until
from tests.terminal import Said, environment, on_terminal
from tests.terminal import words as words_of

pytestmark = pytest.mark.slow

PRINTS = (('print = "off"', 'print = "pass"'), ("wait = 300", "wait = 0.0"))


@pytest.fixture(scope="module")
def printing(tmp_path_factory):
    """A factory whose product prints labels, with four identities."""
    return found(tmp_path_factory.mktemp("printing") / "ws", units=4, edits=PRINTS)


@pytest.fixture
def factory(printing, tmp_path):
    factory = copied(printing, tmp_path / "ws")
    (factory.root / "station.toml").write_text(f'[printer]\naddress = "file://{tmp_path}/printer"\n')
    return factory


@pytest.fixture
def scanners(monkeypatch):
    """Return a function that makes stdin a new scanner, which types a line: an earlier run may still read its own."""
    with contextlib.ExitStack() as stack:

        def new():
            read, write = os.pipe()
            monkeypatch.setattr(sys, "stdin", stack.enter_context(os.fdopen(read)))
            typed = stack.enter_context(os.fdopen(write, "w", buffering=1))
            return lambda line: typed.write(f"{line}\n")

        yield new


@pytest.fixture
def operator(monkeypatch):
    """A terminal at which an operator types; return the function that types a line."""
    master, slave = os.openpty()
    with os.fdopen(slave) as stdin, os.fdopen(master, "w", buffering=1) as typed:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda line: typed.write(f"{line}\n")


def words(factory, serial):
    """Return what the ledger knows of the labels of a unit, in order."""
    with factory.ledger() as ledger:
        events = [one.event for one in ledger.history(serial)]
    return [event.details["word"] for event in events if event.kind is EventKind.LABEL]


def printed(folder):
    """Return the service names on the labels that came out, in order."""
    pictures = [Image.open(path) for path in sorted(folder.glob("*.png"))]
    codes = [zxingcpp.read_barcodes(picture.convert("L")) for picture in pictures]
    return [json.loads(code.text)["name"] for found in codes for code in found]


def command(factory, *argv):
    """Run a command in this process: a process of its own would take longer to start than most of them to run."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["-C", str(factory.root), *argv])
    return Said(code, out.getvalue(), err.getvalue())


def well(factory, *argv):
    """Return stdout and stderr of a command that succeeds."""
    done = command(factory, *argv)
    assert done.code == 0, done.err
    return done.out, done.err


def test_units_that_pass_get_their_labels(factory, tmp_path):
    """One label for each, readable and in the order in which they finished; the unit is finished then."""
    with serve([spec(index=index) for index in range(2)]) as boards:
        said = factory.run(*(board.url for board in boards))
        assert (said.code, said.summary["labels"]) == (0, {"printed": 2}), said.words
        order = [unit["serial"] for unit in said.units]
        assert printed(tmp_path / "printer") == [factory.identity(serial).service_name for serial in order]
        assert {unit["label"] for unit in said.units} == {"printed"}
        assert words(factory, "LMP-000001") == ["sending", "printed"]
        again = factory.run(boards[0].url, extra=("--again",))
        assert again.step("label")["outcome"] == "SKIP"
        assert factory.run(boards[1].url).verdict == ("SEEN", None)
    assert len(printed(tmp_path / "printer")) == 2
    assert "printed" in command(factory, "status").out.splitlines()[0]
    trace = command(factory, "trace", "LMP-000001").out
    assert "printed       once" in trace
    assert "label      sending" in trace
    factory.check()


def test_a_printer_that_fails_is_no_fault_of_the_unit(factory, tmp_path):
    """The unit keeps its PASS and lacks its label; the exit code is the station's. The label is printed later, once."""
    (tmp_path / "printer").write_text("in the way")
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert (said.code, said.unit["outcome"], said.unit["label"]) == (4, "PASS", "missing")
    assert said.step("label")["outcome"] == "ERROR"
    assert (said.step("label")["class"], said.unit["class"]) == ("printer-folder", "printer-folder")
    assert "LMP-000001 has no label" in said.words
    assert "rmfab label LMP-000001 --print" in said.words
    assert factory.states() == {"LMP-000001": "verified"}
    assert words(factory, "LMP-000001") == []
    command(factory, "label", "LMP-000001", "--print").refused(4, "LMP-000001 is not sent")
    (tmp_path / "printer").unlink()
    assert well(factory, "label", "LMP-000001", "--print")[0] == "LMP-000001  printed\n"
    command(factory, "label", "LMP-000001", "--print").refused(3, "printed before", "--reason")
    assert len(printed(tmp_path / "printer")) == 1
    _, warned = well(factory, "label", "LMP-000001", "--print", "--reason", "torn", "--copies", "2")
    assert "two keys to one device" in warned
    assert words(factory, "LMP-000001") == ["sending", "printed"] * 2
    with factory.ledger() as ledger:
        assert ledger.identity_by_serial("LMP-000001").standing.printed_count == 3


def test_a_required_label(factory, tmp_path):
    """Without its label the unit is an ERROR of the station; without a printer the line does not start."""
    factory.edit("required = false", "required = true")
    (tmp_path / "printer").write_text("in the way")
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
        assert (said.code, said.verdict) == (4, ("ERROR", "printer-folder"))
        (factory.root / "station.toml").unlink()
        assert factory.run(board.url).refusal == (3, ["no-printer"])


def test_a_run_says_at_its_start_what_labels_lack(factory, monkeypatch):
    """Small modules are warned of once, for the dots of this printer; a style that does not fit ends the run before a
    board is touched. A printer that is away is a warning: its labels can wait."""
    factory.edit('print = "pass"', 'print = "pass"\nstyle = "module-15"')
    with serve([spec(), spec(index=1)]) as (board, other):
        said = factory.run(board.url, other.url)
        assert said.code == 0
        assert said.words.count("labels (module-15, 203 dpi): the QR code has modules of 2 dots") == 1
        factory.edit('"module-15"', '"minimal-10"')
        assert factory.run(board.url).refusal == (3, ["qr-form"])
        factory.edit('"minimal-10"', '"module-15"')
        away = '[printer]\naddress = "zpl+tcp://127.0.0.1:1"\n'
        monkeypatch.setattr("rmfab.operations.line_labels.open_printer", partial(open_printer, patience=AWAY))
        for lines, what in ((away, "connection refused"), (f'{away}dpi = 300\nmedia = "10"', "a label of 15.0 x 15.0")):
            (factory.root / "station.toml").write_text(lines)
            said = factory.run(board.url, extra=("--again",))
            assert f"warning: printer zpl+tcp://127.0.0.1:1: {what}" in said.words


def scans(event):
    return event["event"] == "log" and event["text"].startswith("scan the label on the board of")


def payload(factory, serial):
    from rmfab.label.content import label_of

    return label_of(factory.identity(serial), factory.workspace.product).payload.reveal()


def test_labels_are_scanned_on_their_boards(factory, scanners, tmp_path):
    """A swapped pair is found at the first scan and stops both units; put right, each is proven, and nothing is leaked.

    The scanner is proven first, once per shift.
    """
    factory.edit("scan_back = false", "scan_back = true")
    scanner = scanners()
    scanner(TEST_CODE)

    def asked():
        return [event["serial"] for event in factory.events() if scans(event)]

    def swap():
        factory.wait_for(lambda event: event["event"] == "step" and event["step"] == "reset", 2)
        factory.wait_for(scans)
        (first,) = asked()
        scanner(payload(factory, "LMP-000002" if first == "LMP-000001" else "LMP-000001"))

    with serve([spec(index=index) for index in range(2)]) as boards:
        with beside(swap):
            said = factory.run(*(board.url for board in boards))
        assert (said.code, {(one["outcome"], one["class"]) for one in said.units}) == (4, {("ERROR", "label-swapped")})
        assert all("LMP-000001" in one["reason"] and "LMP-000002" in one["reason"] for one in said.units)
        assert len(printed(tmp_path / "printer")) == 2
        scan = words_of("-C", factory.root, "scan")
        typed = f"]Q1{payload(factory, 'LMP-000002')}\n"
        whose = subprocess.run(scan, input=typed, env=environment(), capture_output=True, text=True, timeout=PATIENCE)
        assert whose.stdout.startswith("LMP-000002  verified  batch lamp-0001")

        later, scanner = Factory(factory.root), scanners()  # without the events of the earlier run

        def right():
            later.wait_for(scans)
            (asked,) = [event["serial"] for event in later.events() if scans(event)]
            scanner(payload(factory, asked))

        with beside(right):
            said = later.run(boards[0].url)
        serial = said.unit["serial"]
        assert (said.code, said.unit["label"], said.steps()["label"]) == (0, "scanned", "PASS"), said.words
        assert len(printed(tmp_path / "printer")) == 2
    assert words(factory, serial) == ["sending", "printed", "scanned"]
    secret = factory.identity(serial).pop.reveal()
    assert secret not in said.words + json.dumps(said.events)
    assert secret not in (factory.root / "ledger.db").read_bytes().decode("latin-1")


def test_a_label_that_is_scanned_for_reidentify_is_not_shown(factory):
    """The terminal shows the answer to a question, but not the label that was scanned: it contains the PoP."""
    with serve([spec()]) as (board,):
        factory.run(board.url)
    factory.edit("scan_back = false", "scan_back = true")
    label = payload(factory, "LMP-000001")
    argv = words_of("-C", factory.root, "reidentify", "LMP-000001", *ports(board.url), "--reason", "returned")
    answers = [("a different identity?", "y"), *(("rmfab", label) for _ in range(5))]
    code, screen = on_terminal(argv, factory.root.parent, answers)
    assert code == 4, screen
    assert "[y/N]: y" in screen
    assert factory.identity("LMP-000001").pop.reveal() not in screen
    assert factory.states() == {"LMP-000001": "verified"}


@pytest.fixture
def eight(printing, tmp_path):
    """A factory whose product prints labels, with eight identities; units wait for its printer."""
    factory = copied(printing, tmp_path / "ws")
    with contextlib.redirect_stderr(io.StringIO()):
        completed(generate(factory.workspace, GenerateRequest(4, jobs=1), Unattended()))
    factory.edit("wait = 0.0", "wait = 600.0")
    return factory


def said(*texts):
    return lambda event: event["event"] == "log" and any(text in event["text"] for text in texts)


def on_eight_slots(factory, address, meanwhile):
    """Run eight boards that share the printer at *address*; all pass."""
    (factory.root / "station.toml").write_text(f'[printer]\naddress = "{address}"\n')
    with serve([spec(index=index) for index in range(8)]) as boards, beside(meanwhile):
        run = factory.run(*(board.url for board in boards))
    assert (run.code, run.summary["passed"]) == (0, 8), run.words
    return run


def judge_labels(factory, run, pictures):
    """Assert that each unit has one whole label; return what the ledger knows of each."""
    serials = [unit["serial"] for unit in run.units]
    codes = [code.text for picture in pictures for code in zxingcpp.read_barcodes(picture.convert("L"))]
    found = [json.loads(code)["name"] for code in codes]
    assert sorted(found) == sorted(factory.identity(serial).service_name for serial in serials)
    factory.check()
    return [words(factory, serial) for serial in serials]


@pytest.mark.parametrize("kind", list(PrinterKind))
def test_eight_slots_share_a_printer_that_runs_out_of_labels(eight, operator, tmp_path, kind):
    """In mid-batch half a label comes out. The operator is told once, loads labels, and looks; no label is lost or
    doubled, and the ledger has what is known of each."""

    def mend():
        eight.wait_for(said(f"printer {kind.value}+tcp"))
        printer.control("fix")
        eight.wait_for(said("is there a whole label"))
        operator("what?")
        operator("n")

    with virtual_printer(kind, tmp_path) as printer:
        printer.control("fault half-label=3")
        run = on_eight_slots(eight, printer.address, mend)
        known = judge_labels(eight, run, [Image.open(path) for path in printer.labels])
    assert run.summary["labels"] == {"printed": 8}
    assert len([event for event in run.events if said(f"printer {kind.value}+tcp")(event)]) == 1
    assert known.count(["sending", "printed"]) == 7
    assert ["sending", "not-printed", "sending", "printed"] in known


@pytest.mark.peers
@pytest.mark.parametrize(("half", "answer", "word"), [(True, "n", "not-printed"), (False, "y", "printed")])
def test_eight_slots_share_a_queue_of_cups(eight, operator, tmp_path, half, answer, word):
    """CUPS prints by IPP, and reports that the labels are used up. The label of that moment is in doubt until the
    operator has looked. CUPS keeps the reason after the job, and the line goes on all the same."""
    folder = tmp_path / "ipp"
    folder.mkdir()
    (folder / "paper").write_text("3")
    if half:
        (folder / "half").touch()

    def mend():
        eight.wait_for(said("is there a whole label"))
        (folder / "paper").unlink()
        operator(answer)

    with ipp_printer(folder) as device, cups() as (server, _):
        add_queue(server, "LABELS", device, "everywhere")
        run = on_eight_slots(eight, f"cups://{server}/LABELS", mend)
    known = judge_labels(eight, run, [page_of(path) for path in folder.glob("got-*")])
    assert len(list(folder.glob("half-*"))) == half
    assert run.summary["labels"] == {"printed": 8}
    told = [event["text"] for event in run.events if said("out of labels", "ready again", "whole label")(event)]
    assert [text.partition(" LMP")[0].partition("; ")[0] for text in told] == [
        f"printer cups://{server}/LABELS: the printer is out of labels", "is there a whole label for"
    ]  # fmt: skip
    assert known.count(["sending", "printed"]) == 8 - half
    assert not half or ["sending", word, "sending", "printed"] in known


@pytest.mark.peers
def test_eight_slots_share_a_queue_that_knows_nothing(eight, operator, tmp_path):
    """A queue to a raw port takes the labels while the printer is out of paper: they are sent, and nobody is told. They
    come out, each once, when labels are loaded."""
    with virtual_printer(PrinterKind.ZPL, tmp_path) as printer, cups() as (server, _):
        printer.control("fault half-label=3")
        add_queue(server, "RAW", f"socket://{printer.address.partition('//')[2]}", "raw")
        run = on_eight_slots(eight, f"zpl+cups://{server}/RAW", lambda: None)
        assert len(printer.labels) == 4
        printer.control("fix")
        until(lambda: len(printer.labels) == 9, "labels are missing")
        known = judge_labels(eight, run, [Image.open(path) for path in printer.labels])
    assert run.summary["labels"] == {"sent": 8}
    assert known == [["sending", "sent"]] * 8
    assert not list(filter(said("printer zpl"), run.events))


def page_of(path):
    """Return the first page of a PDF as a picture."""
    return pypdfium2.PdfDocument(path)[0].render(scale=200 / 72).to_pil()


def test_a_kill_in_the_middle_of_a_label_leaves_it_in_doubt(factory, tmp_path):
    """The ledger never has a label that may not have come out. The next run names it; nobody prints it by himself."""
    with virtual_printer(PrinterKind.ZPL, tmp_path) as printer:
        printer.control("fault stuck")
        (factory.root / "station.toml").write_text(f'[printer]\naddress = "{printer.address}"\n')
        with serve([spec(), spec(index=1)]) as (board, other):
            argv = words_of("-C", factory.root, "run", *ports(board.url), "--json")
            with subprocess.Popen(argv, env=environment(), stdout=subprocess.DEVNULL) as line:
                until(lambda: printer.state()["waiting"])
                line.kill()
            assert words(factory, "LMP-000001") == ["sending"]
            printer.control("fix")
            until(lambda: printer.labels)  # it did come out, after all
            run = factory.run(other.url)
            assert (run.code, run.unit["label"]) == (0, "printed")
            assert "1 label is in doubt: LMP-000001" in run.words
            again = factory.run(board.url, extra=("--again",))
        assert (again.code, again.unit["outcome"], again.unit["label"]) == (4, "PASS", "in doubt")
        assert again.unit["class"] == "label-doubt"
        command(factory, "label", "LMP-000001", "--print").refused(3, "in doubt", "--came-out")
        assert "in doubt" in command(factory, "status").out
        well(factory, "label", "LMP-000001", "--came-out", "yes")
        command(factory, "label", "LMP-000001", "--print").refused(3, "--reason")
        assert len(printer.labels) == 2
    assert words(factory, "LMP-000001") == ["sending", "printed"]
    factory.check()
