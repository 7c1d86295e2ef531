"""Real CUPS with its own drivers, and real IPP printers: our jobs as others understand them."""

from __future__ import annotations

import socket
import subprocess
from dataclasses import replace
from functools import partial

import pypdfium2
import pytest
from PIL import Image

from rmfab.causes import Cause
from rmfab.cli import main
from rmfab.label.printers.discovery import cups_queues
from rmfab.label.printers.open_printer import open_printer
from rmfab.label.printers.printer import Delivery, PrinterFault
from rmfab.label.raster import Raster
from rmfab.listening import free_port
from rmfab.virtual.printers.spec import PrinterKind
from tests.label.printers.bench import PATIENT, QUICK, noise, printed, printing
from tests.label.printers.cups import add_queue, cups, ipp_printer
from tests.patience import until

pytestmark = pytest.mark.peers
RAW, ZEBRA = "raw", "drv:///sample.drv/zebra.ppd"


@pytest.fixture(scope="module")
def running():
    """CUPS on a port of its own, and its folder."""
    with cups() as found:
        yield found


@pytest.fixture
def server(running):
    """The address of CUPS."""
    return running[0]


def test_raw_queue(server, tmp_path):
    """A job through a queue without a driver arrives as we wrote it. CUPS does not know whether it came out: sent."""
    with printing(PrinterKind.ZPL, tmp_path) as handle:
        add_queue(server, "RAW", f"socket://{handle.address.partition('//')[2]}", RAW)
        printer = open_printer(f"zpl+cups://{server}/RAW", PATIENT)
        assert printer.print_label(noise(1)) is Delivery.SENT
        until(lambda: handle.labels)
        assert printed(handle.labels[0]) == noise(1)
        assert _fault(f"cups://{server}/RAW").cause == Cause.PRINTER_RAW_QUEUE


@pytest.mark.parametrize(("width", "height"), [(200, 150), (320, 240), (317, 237), (203, 203)])
def test_driver_of_cups(server, tmp_path, width, height):
    """A page through CUPS's filters and its driver for Zebra comes out of the virtual printer dot for dot."""
    with printing(PrinterKind.ZPL, tmp_path, width=60, height=40) as handle:
        add_queue(server, f"ZEBRA{width}", f"socket://{handle.address.partition('//')[2]}", ZEBRA)
        printer = open_printer(f"cups://{server}/ZEBRA{width}", PATIENT)
        assert printer.status().model == "Zebra ZPL Label Printer"
        assert printer.print_label(noise(1, width, height)) is Delivery.SENT
        until(lambda: handle.labels)
        picture = Image.open(handle.labels[0]).rotate(180)  # the driver prints upside down (^POI)
        assert _contains(picture, noise(1, width, height))


def test_dead_printer(server):
    """A printer that is away aborts the job, which does not come out when it is back."""
    port = free_port("127.0.0.1")
    add_queue(server, "DEAD", f"socket://127.0.0.1:{port}", RAW)
    error = _fault(f"zpl+cups://{server}/DEAD", QUICK)
    assert error.in_doubt
    assert error.cause in (Cause.PRINTER_UNFINISHED, Cause.PRINTER_JOB, Cause.PRINTER_UNREACHABLE)
    with socket.create_server(("127.0.0.1", port)) as back:
        until(lambda: not _jobs(server, "DEAD"), "the job stays in the queue")
        assert not _received(back)


def test_stopped_queue(server):
    """A queue that is stopped, or rejects jobs, is not sent a label; each is its own cause."""
    add_queue(server, "OFF", "socket://127.0.0.1:9", RAW)
    _cups(server, "cupsdisable", "OFF")
    assert _fault(f"zpl+cups://{server}/OFF").cause in (Cause.PRINTER_STOPPED, Cause.PRINTER_PAUSED)
    _cups(server, "cupsenable", "OFF")
    _cups(server, "cupsreject", "OFF")
    error = _fault(f"zpl+cups://{server}/OFF")
    assert (error.cause, error.in_doubt) == (Cause.PRINTER_REJECTS, False)


def test_no_such_queue(server):
    """A queue that is not there is an error with where to look."""
    error = _fault(f"cups://{server}/NONE")
    assert (error.cause, error.in_doubt) == (Cause.PRINTER_QUEUE, False)
    assert "lpstat -e" in error.hint


def test_ipp_printer(tmp_path):
    """An IPP printer gets a page of the label's exact size and dots; it knows that it printed it."""
    with ipp_printer(tmp_path) as address:
        printer = open_printer(address, PATIENT)
        assert printer.dpi == 600
        assert printer.print_label(noise(1, 317, 237), 2) is Delivery.PRINTED
        (picture,) = pypdfium2.PdfDocument(tmp_path / "got-0")[0].get_objects()
        assert Raster.of_image(picture.get_bitmap().to_pil()) == noise(1, 317, 237)
        assert [edge * 600 / 72 for edge in picture.get_bounds()] == pytest.approx([0, 4, 317, 241], abs=0.01)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        ("media-empty", Cause.PRINTER_PAPER),
        ("cover-open", Cause.PRINTER_COVER_OPEN),
        ("marker-supply-empty", Cause.PRINTER_RIBBON),
        ("media-jam", Cause.PRINTER_JAM),
    ],
)
def test_state_reasons(tmp_path, reason, cause):
    """A reason in the middle of a job leaves the label in doubt; before the next one nothing is sent."""
    with ipp_printer(tmp_path) as address:
        printer = open_printer(address, PATIENT)
        (tmp_path / reason).touch()
        (tmp_path / "stuck").touch()
        error = _fault(address, PATIENT)
        assert (error.cause, error.in_doubt) == (cause, True)
        (tmp_path / "stuck").unlink()
        assert printer.status().faults == (cause,)
        error = _fault(address, PATIENT)
        assert (error.cause, error.in_doubt) == (cause, False)
        assert len(list(tmp_path.glob("got-*"))) == 1


def test_reasons_stay_after_a_job(server, tmp_path, capsys):
    """CUPS keeps the reasons of the last job: they are shown, and stop no label. Those that stay are true again."""
    (tmp_path / "paper").write_text("0")
    (tmp_path / "half").touch()
    with ipp_printer(tmp_path) as device:
        add_queue(server, "STALE", device, "everywhere")
        printer = open_printer(f"cups://{server}/STALE", PATIENT)
        ended = partial(until, lambda: printer.status().stale == (Cause.PRINTER_PAPER,), "CUPS does not end the job")
        assert _fault(printer.address).cause == Cause.PRINTER_PAPER
        ended()
        assert main(["printer", "status", "--printer", printer.address]) == 0
        assert "state       ready\nlast job    The printer is out of labels." in capsys.readouterr().out
        error = _fault(printer.address, replace(PATIENT, busy=0.6))
        assert (error.cause, error.in_doubt) == (Cause.PRINTER_PAPER, True)
        ended()
        (tmp_path / "paper").unlink()
        assert printer.print_label(noise(1)) is Delivery.PRINTED
        assert printer.status().stale == ()
        assert len(list(tmp_path.glob("got-*"))) == 1


def test_aborted_job(tmp_path):
    """A job that the printer aborts leaves the label in doubt."""
    with ipp_printer(tmp_path) as address:
        (tmp_path / "abort").touch()
        error = _fault(address, PATIENT)
        assert (error.cause, error.in_doubt) == (Cause.PRINTER_JOB, True)
        (tmp_path / "abort").unlink()
        assert open_printer(address, PATIENT).print_label(noise(2)) is Delivery.PRINTED


def test_job_without_an_end(tmp_path):
    """A job that does not end in time is cancelled."""
    with ipp_printer(tmp_path) as address:
        (tmp_path / "stuck").touch()
        error = _fault(address, QUICK)
        assert (error.cause, error.in_doubt) == (Cause.PRINTER_UNFINISHED, True)
        (tmp_path / "stuck").unlink()
        assert open_printer(address, PATIENT).print_label(noise(2)) is Delivery.PRINTED


def test_cups_of_this_host(running, tmp_path, monkeypatch):
    """An address without a host is the CUPS of this host, at its socket; its queues are listed with their addresses."""
    server, root = running
    monkeypatch.setattr("rmfab.label.printers.ipp_client.LOCAL_SOCKET", root / "sock")
    with printing(PrinterKind.ZPL, tmp_path) as handle:
        add_queue(server, "HERE", f"socket://{handle.address.partition('//')[2]}", ZEBRA)
        add_queue(server, "HERE_RAW", f"socket://{handle.address.partition('//')[2]}", RAW)
        found = {one.address: one.model for one in cups_queues(PATIENT)}
        assert found["cups://HERE"] == "Zebra ZPL Label Printer"
        assert "LANGUAGE+cups://HERE_RAW" in found
        assert open_printer("zpl+cups://HERE_RAW", PATIENT).print_label(noise(1)) is Delivery.SENT


def test_no_cups_here(tmp_path, monkeypatch):
    """Without CUPS on this host no queue is found, and that is the cause."""
    monkeypatch.setattr("rmfab.label.printers.ipp_client.LOCAL_SOCKET", tmp_path)
    assert cups_queues(QUICK) == []
    error = _fault("cups://LABELS", QUICK)
    assert (error.cause, error.in_doubt) == (Cause.PRINTER_NO_CUPS, False)


def test_files_of_jobs_stay(running, tmp_path):
    """CUPS keeps what it printed, as docs/printing.md warns."""
    server, root = running
    before = set((root / "spool").glob("d*"))
    with printing(PrinterKind.ZPL, tmp_path) as handle:
        add_queue(server, "KEPT", f"socket://{handle.address.partition('//')[2]}", RAW)
        open_printer(f"zpl+cups://{server}/KEPT", PATIENT).print_label(noise(3))
        assert len(set((root / "spool").glob("d*")) - before) == 1


def _fault(address, patience=PATIENT):
    with pytest.raises(PrinterFault) as caught:
        open_printer(address, patience).print_label(noise(9))
    return caught.value


def _contains(picture, label):
    """Return whether *label* is somewhere in *picture*."""
    rows = [f"{int.from_bytes(row, 'big'):0{8 * len(row)}b}" for row in Raster.of_image(picture).rows]
    wanted = [f"{int.from_bytes(row, 'big'):0{8 * len(row)}b}"[: label.width] for row in label.rows]
    for top in range(len(rows) - len(wanted) + 1):
        left = rows[top].find(wanted[0])
        if left >= 0 and all(
            row[left : left + label.width] == want for row, want in zip(rows[top:], wanted, strict=False)
        ):
            return True
    return False


def _cups(server, *words):
    return subprocess.run([words[0], "-h", server, *words[1:]], check=True, capture_output=True, timeout=60).stdout


def _jobs(server, queue):
    return _cups(server, "lpstat", "-o", queue)


def _received(listener):
    """Return the first bytes that somebody has sent to *listener* so far; the kernel accepts for it."""
    listener.setblocking(False)
    try:
        connection = listener.accept()[0]
    except BlockingIOError:
        return b""
    with connection:
        return connection.recv(100)
