"""One label as one job: what is asked, what happens to a client that is killed, and device files."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace

import pytest

from rmfab.causes import Cause
from rmfab.label.printers.open_printer import open_printer
from rmfab.label.printers.printer import Delivery, Media, PrinterFault
from rmfab.virtual.printers.serving import serve_printer
from rmfab.virtual.printers.spec import PrinterKind
from tests.label.printers.bench import KINDS, PATIENT, QUICK, SPECS, noise, printed, printer_at, printing
from tests.patience import until

ZPL, QL, TSPL = PrinterKind.ZPL, PrinterKind.QL, PrinterKind.TSPL


@pytest.mark.parametrize("kind", KINDS)
def test_status(tmp_path, kind):
    """The status has what the language can say: model, resolution, labels."""
    with printing(kind, tmp_path) as handle:
        status = printer_at(handle).status()
        assert status.model == {ZPL: "ZD421-203dpi", QL: "QL-820NWB", TSPL: "TE200"}[kind]
        assert status.dpi == {ZPL: 203, QL: 300, TSPL: None}[kind]
        assert status.media == (Media(62, 29) if kind is QL else None)


@pytest.mark.parametrize(("kind", "dpi"), [(ZPL, 300), (QL, 300), (TSPL, 203)])
def test_dpi(tmp_path, kind, dpi):
    """The resolution is the configured one, else that of the printer, else the usual one of its language."""
    with printing(kind, tmp_path, dpi=300) as handle:
        assert printer_at(handle, dpi=600).dpi == 600
        assert printer_at(handle).dpi == dpi


@pytest.mark.parametrize("kind", KINDS)
def test_copies(tmp_path, kind):
    """Copies are one job, and all of them are the label."""
    with printing(kind, tmp_path) as handle:
        assert printer_at(handle).print_label(noise(1), 3) is Delivery.PRINTED
        assert [printed(path) for path in handle.labels] == [noise(1)] * 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_labels(tmp_path, kind):
    """Labels come out in order, each in its own connection."""
    with printing(kind, tmp_path) as handle:
        printer = printer_at(handle)
        for number in range(20):
            assert printer.print_label(noise(number)) is Delivery.PRINTED
            assert len(handle.labels) == number + 1
        assert [printed(path) for path in handle.labels] == [noise(number) for number in range(20)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_killed_client(tmp_path, kind, share):
    """After a client that was killed in the middle of a label, the next one is whole, and the half is never printed."""
    with printing(kind, tmp_path) as handle:
        job = _job(kind, noise(1))
        child = os.fork()
        if child == 0:
            try:
                connection = socket.create_connection(_place(handle))
                connection.sendall(job[: int(len(job) * share)])
                os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        patience = replace(PATIENT, answer=2) if kind is TSPL else PATIENT  # half a bitmap swallows the first question
        assert printer_at(handle, patience).print_label(noise(2)) is Delivery.PRINTED
        assert [printed(path) for path in handle.labels] == [noise(2)]


def test_killed_client_of_a_one_way_printer(tmp_path):
    """To a ZPL printer that cannot answer, the first job first ends what may be half a label of a killed client."""
    with printing(ZPL, tmp_path) as handle:
        handle.control("fault no-answer")
        job = _job(ZPL, noise(1))
        with socket.create_connection(_place(handle)) as connection:
            connection.sendall(job[: len(job) // 2])
        printer = printer_at(handle, QUICK)
        until(lambda: _sent(printer, noise(2)))
        until(lambda: len(handle.labels) == 2)
        assert printed(handle.labels[1]) == noise(2)


def test_half_a_format_that_stays(tmp_path):
    """A printer that stays in the middle of a format is not sent a label."""
    from rmfab.label.printers.direct_printer import PrinterAnswer
    from rmfab.label.printers.printer import PrinterStatus

    with printing(ZPL, tmp_path) as handle:
        printer = printer_at(handle, QUICK)
        printer._dialect.ask = lambda *_: PrinterAnswer(PrinterStatus(answers=True), half_job=True)
        with pytest.raises(PrinterFault) as caught:
            printer.print_label(noise(1))
        assert (caught.value.cause, caught.value.in_doubt) == (Cause.PRINTER_HALF_JOB, False)


@pytest.mark.parametrize("kind", KINDS)
def test_device_file(tmp_path, kind):
    """A device file is a printer as well; while it is used or gone, nothing is sent."""
    device = tmp_path / "lp0"
    with serve_printer(SPECS[kind], tmp_path / "out", device=device) as handle:
        assert handle.address == f"{kind}+usb://{device}"
        printer = printer_at(handle)
        assert printer.print_label(noise(1)) is Delivery.PRINTED
        assert printed(handle.labels[0]) == noise(1)
        with _locked(device):
            assert _fault(printer_at(handle, QUICK)).cause == Cause.PRINTER_BUSY
        handle.control("fault vanish")
        error = _fault(printer)
        assert (error.cause, error.in_doubt) == (Cause.PRINTER_GONE, True)
        assert _fault(printer).cause == Cause.PRINTER_ABSENT
        handle.control("fix")
        assert printer.print_label(noise(2)) is Delivery.PRINTED


@pytest.mark.parametrize(
    ("address", "cause"),
    [
        ("zpl+usb:///dev/usb/no-such-printer", Cause.PRINTER_ABSENT),
        ("zpl+usb:///etc/passwd", Cause.PRINTER_ABSENT),
        ("zpl+tcp://no-such-printer.invalid", Cause.PRINTER_DNS),
        ("zpl+tcp://127.0.0.1:9", Cause.PRINTER_REFUSED),
        ("cups://127.0.0.1:9/LABELS", Cause.PRINTER_UNREACHABLE),
    ],
)
def test_no_printer(address, cause):
    """Where no printer is, its own cause says why."""
    with pytest.raises(PrinterFault) as caught:
        open_printer(address, QUICK).print_label(noise(1))
    assert (caught.value.cause, caught.value.in_doubt, caught.value.where) == (cause, False, address)


def _fault(printer):
    with pytest.raises(PrinterFault) as caught:
        printer.print_label(noise(9))
    return caught.value


def _sent(printer, label):
    """Print; return False while the connection of the client before still counts."""
    try:
        return printer.print_label(label) is Delivery.SENT
    except PrinterFault as fault:
        if fault.cause != Cause.PRINTER_BUSY:
            raise
        return False


def _locked(device):
    import fcntl
    from contextlib import closing

    stream = device.open("rb", buffering=0)
    fcntl.flock(stream, fcntl.LOCK_EX)
    return closing(stream)


def _place(handle):
    host, _, port = handle.address.partition("://")[2].rpartition(":")
    return host, int(port)


def _job(kind, label):
    from tests.label.printers.test_round_trip import _job

    return _job(kind, label)
