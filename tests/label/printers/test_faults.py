"""Every fault of every printer: its cause, whether the label is in doubt, and that nothing is printed twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rmfab.causes import Cause
from rmfab.label.printers.printer import Delivery, PrinterFault
from rmfab.virtual.printers.faults import PrinterTrouble
from rmfab.virtual.printers.spec import PrinterKind
from tests.label.printers.bench import KINDS, PATIENT, QUICK, noise, printed, printer_at, printing
from tests.patience import until

ZPL, QL, TSPL = PrinterKind.ZPL, PrinterKind.QL, PrinterKind.TSPL
BEFORE = {
    "paper-out": {ZPL: "printer-paper", QL: "printer-paper", TSPL: "printer-paper"},
    "ribbon-out": {ZPL: "printer-ribbon", TSPL: "printer-ribbon"},
    "head-open": {ZPL: "printer-head-open", QL: "printer-cover-open", TSPL: "printer-head-open"},
    "cover-open": {ZPL: "printer-head-open", QL: "printer-cover-open", TSPL: "printer-head-open"},
    "paused": {ZPL: "printer-paused", TSPL: "printer-paused"},
    "hot": {ZPL: "printer-hot", QL: "printer-hot", TSPL: "printer-hardware"},
    "cold": {ZPL: "printer-cold"},
    "cutter": {ZPL: "printer-cutter", QL: "printer-cutter", TSPL: "printer-hardware"},
    "jam": {ZPL: "printer-paper", QL: "printer-jam", TSPL: "printer-jam"},
    "broken": {ZPL: "printer-hardware", QL: "printer-hardware", TSPL: "printer-hardware"},
    "second-client": {ZPL: "printer-busy", QL: "printer-busy", TSPL: "printer-busy"},
}
"""Faults that are there before the label is sent."""
DURING = {
    "paper-out=1": BEFORE["paper-out"],
    "ribbon-out=1": BEFORE["ribbon-out"],
    "head-open=1": BEFORE["head-open"],
    "cover-open=1": BEFORE["cover-open"],
    "paused=1": BEFORE["paused"],
    "hot=1": BEFORE["hot"],
    "cold=1": BEFORE["cold"],
    "cutter=1": BEFORE["cutter"],
    "jam=1": BEFORE["jam"],
    "broken=1": BEFORE["broken"],
    "half-label": BEFORE["paper-out"],
    "stuck": {ZPL: "printer-unfinished", QL: "printer-unfinished", TSPL: "printer-unfinished"},
    "vanish": {ZPL: "printer-gone", QL: "printer-gone", TSPL: "printer-gone"},
}
"""Faults that come in the middle of a label: with =1, at the second copy."""


def rows(table):
    """Return a table as parameters."""
    return [pytest.param(kind, fault, cause, id=f"{kind}-{fault}") for fault, causes in table.items()
            for kind, cause in causes.items()]  # fmt: skip


def fault_of(printer, label, copies=1):
    """Print and return the fault."""
    with pytest.raises(PrinterFault) as caught:
        printer.print_label(label, copies)
    return caught.value


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fault", "cause"), rows(BEFORE))
def test_fault_before_a_label(tmp_path, kind, fault, cause):
    """A printer with a fault is not sent a label; once the fault is fixed, the label is printed once."""
    with printing(kind, tmp_path) as handle:
        printer = printer_at(handle, QUICK if cause == "printer-busy" else PATIENT)
        handle.control(f"fault {fault}")
        error = fault_of(printer, noise(1))
        assert (error.cause, error.in_doubt, error.where) == (cause, False, handle.address)
        assert error.hint == Cause(cause).remedy.removesuffix(".")
        handle.control("fix")
        assert printer.print_label(noise(2)) is Delivery.PRINTED
        assert [printed(path) for path in handle.labels] == [noise(2)]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fault", "cause"), rows(DURING))
def test_fault_in_the_middle(tmp_path, kind, fault, cause):
    """A fault after the label was sent leaves it in doubt; it never comes out later, nor again."""
    with printing(kind, tmp_path) as handle:
        printer = printer_at(handle, replace(PATIENT, label=QUICK.label) if fault == "stuck" else PATIENT)
        handle.control(f"fault {fault}")
        error = fault_of(printer, noise(1), 2 if "=" in fault else 1)
        assert (error.cause, error.in_doubt) == (cause, True)
        came_out = len(handle.labels)
        assert came_out == (1 if "=" in fault or fault == "half-label" else 0)
        handle.control("fix")
        assert printer_at(handle).print_label(noise(2)) is Delivery.PRINTED
        assert [printed(path) for path in handle.labels[came_out:]] == [noise(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_fault_at_rest(tmp_path, kind):
    """The status has each fault without a label being sent, and none when it is fixed."""
    with printing(kind, tmp_path) as handle:
        printer = printer_at(handle)
        handle.control("fault head-open")
        assert printer.status().faults[0] in (Cause.PRINTER_HEAD_OPEN, Cause.PRINTER_COVER_OPEN)
        handle.control("fix head-open")
        assert printer.status().faults == ()
        assert handle.labels == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_one_way(tmp_path, kind):
    """A printer that never answers prints, and the label is only sent."""
    with printing(kind, tmp_path) as handle:
        handle.control("fault no-answer")
        printer = printer_at(handle, QUICK, media=_media(kind))
        assert not printer.status().answers
        assert printer.print_label(noise(1)) is Delivery.SENT
        until(lambda: len(handle.labels) == 1)
        assert printed(handle.labels[0]) == noise(1)
        handle.control("fix")
        printer._patience = PATIENT
        assert printer.print_label(noise(2)) is Delivery.PRINTED


@pytest.mark.parametrize("kind", [ZPL, QL])
def test_garbage(tmp_path, kind):
    """Bytes that mean nothing are no answer."""
    with printing(kind, tmp_path) as handle:
        handle.control("fault garbage")
        assert not printer_at(handle, QUICK).status().answers


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_falls_silent(tmp_path, kind):
    """A printer that has answered before and does not now is sent nothing."""
    with printing(kind, tmp_path) as handle:
        printer = printer_at(handle)
        printer.status()
        printer._patience = QUICK
        handle.control("fault no-answer")
        error = fault_of(printer, noise(1))
        assert (error.cause, error.in_doubt, handle.labels) == ("printer-silent", False, [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_client_that_waits_for_its_turn(tmp_path, kind):
    """A label that waits behind a different client's connection is not taken for sent."""
    with printing(kind, tmp_path) as handle:
        handle.control("fault waiting-client")
        error = fault_of(printer_at(handle, QUICK, media=_media(kind)), noise(1))
        assert (error.cause, error.in_doubt, handle.labels) == ("printer-busy", True, [])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_full_buffer(tmp_path, kind):
    """A printer that stops reading is an error of its own, and never blocks for long."""
    with printing(kind, tmp_path) as handle:
        printer = printer_at(handle)
        printer.status()
        printer._patience = QUICK
        handle.control("fault buffer-full")
        error = fault_of(printer, noise(1))
        assert (error.cause, error.in_doubt, handle.labels) == ("printer-silent", False, [])
        handle.control("fix")
        assert printer_at(handle).print_label(noise(2)) is Delivery.PRINTED


@pytest.mark.parametrize("kind", KINDS)
def test_switched_off(tmp_path, kind):
    """A printer that is off refuses the connection, and prints when it is back."""
    with printing(kind, tmp_path) as handle:
        printer = printer_at(handle, QUICK)
        handle.control("vanish")
        error = fault_of(printer, noise(1))
        assert (error.cause, error.in_doubt) == ("printer-refused", False)
        handle.control("return")
        printer._patience = PATIENT
        assert printer.print_label(noise(2)) is Delivery.PRINTED
        assert len(handle.labels) == 1


def test_wrong_roll(tmp_path):
    """A Brother QL reports its roll: a label that is too large for it is not sent, nor one for a configured roll."""
    with printing(QL, tmp_path) as handle:
        printer = printer_at(handle, media=_media(QL))
        handle.control("fault wrong-roll")
        error = fault_of(printer, noise(1))
        assert (error.cause, error.in_doubt) == ("printer-media", False)
        assert "62 x 29 mm, the printer has 62 mm" in error.what
        handle.control("fix")
        error = fault_of(printer_at(handle), noise(1, 740, 200))
        assert (error.cause, handle.labels) == ("printer-label-size", [])


def test_wrong_roll_meanwhile(tmp_path):
    """A Brother QL refuses a job for a different roll than it has by then."""
    from rmfab.label.printers.links import open_link
    from rmfab.label.printers.ql import STATUS_REQUEST, ql_job
    from rmfab.label.printers.ql_media import MODELS, roll_of
    from rmfab.label.printers.ql_status import take_packets

    with printing(QL, tmp_path) as handle:
        job = ql_job(noise(1), 1, roll_of(29, 90), MODELS[0x34, 0x41])
        place = printer_at(handle)._place
        with open_link(place, "", PATIENT) as link:
            link.send(job + STATUS_REQUEST, 30)
            packets, _ = take_packets(link.receive(30))
        assert packets[0].faults == (Cause.PRINTER_MEDIA,)
        assert handle.labels == []


@pytest.mark.parametrize("kind", [ZPL, QL])
def test_wrong_resolution(tmp_path, kind):
    """A label of a different resolution is not sent."""
    with printing(kind, tmp_path) as handle:
        error = fault_of(printer_at(handle, dpi=600), noise(1))
        assert (error.cause, error.in_doubt, handle.labels) == ("printer-dpi", False, [])


@pytest.mark.parametrize("kind", KINDS)
def test_label_too_large(tmp_path, kind):
    """A label that is larger than the labels in the printer is not sent."""
    with printing(kind, tmp_path) as handle:
        error = fault_of(printer_at(handle, media=_media(kind)), noise(1, 200, 700))
        assert (error.cause, handle.labels) == ("printer-label-size", [])


def test_label_waits_to_be_taken(tmp_path):
    """With a peeler, a label is printed when it waits to be taken, and the next one waits for that."""
    with printing(ZPL, tmp_path) as handle:
        handle.control("fault peel")
        printer = printer_at(handle, replace(PATIENT, busy=QUICK.busy))
        assert printer.print_label(noise(1)) is Delivery.PRINTED
        error = fault_of(printer, noise(2))
        assert (error.cause, error.in_doubt) == ("printer-take-label", False)
        handle.control("take")
        assert printer.print_label(noise(2)) is Delivery.PRINTED
        assert [printed(path) for path in handle.labels] == [noise(1), noise(2)]


@pytest.mark.parametrize("kind", KINDS)
def test_slow(tmp_path, kind):
    """A printer that takes its time is waited for."""
    with printing(kind, tmp_path, pace=0.05) as handle:
        handle.control("fault slow")
        assert printer_at(handle).print_label(noise(1), 2) is Delivery.PRINTED
        assert len(handle.labels) == 2


@pytest.mark.parametrize("trouble", PrinterTrouble)
def test_every_fault_is_tried(trouble):
    """Each fault of the virtual printers is in a table or a test of this file."""
    apart = {"second-client", "waiting-client", "no-answer", "garbage", "wrong-roll", "buffer-full", "peel", "slow"}
    assert trouble.value in {name.partition("=")[0] for name in (*BEFORE, *DURING)} | apart


def _media(kind):
    from rmfab.label.printers.media import Media

    return Media(62, 29) if kind is QL else Media(40, 30)
