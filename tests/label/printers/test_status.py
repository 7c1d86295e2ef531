"""What printers answer: real replies, those of clones, and bytes from anyone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.causes import Cause
from rmfab.label.printers.ipp import IppAnswer, Operation, Tag, decode_answer, encode_request
from rmfab.label.printers.ipp_status import queue_state, reasons_to_faults
from rmfab.label.printers.ql_status import Report, take_packets
from rmfab.label.printers.tspl import tspl_faults
from rmfab.label.printers.zpl_status import parse_answer

GOOD = b"\x02030,0,0,0240,000,0,0,0,000,0,0,0\x03\r\n\x02000,0,0,0,0,2,6,0,00000000,1,000\x03\r\n\x021234,0\x03\r\n"
HI = b"\x02ZTC ZD421-203dpi ZPL,V93.21.26Z,8,8176KB\x03\r\n"
HQES = b"\x02\r\n  PRINTER STATUS\r\n   ERRORS:         1 00000000 00000008\r\n\x03"


def test_a_good_zpl_printer():
    """~HI has model and dots per mm; ~HS of a printer that is ready has nothing."""
    told = parse_answer(HI + GOOD)
    assert (told.model, told.dpi, told.urgent, told.idle) == ("ZTC ZD421-203dpi ZPL", 203, (), True)


@pytest.mark.parametrize(("dots", "dpi"), [("6", 152), ("8", 203), ("12", 300), ("24", 600), ("7", None), ("x", None)])
def test_dots_per_mm(dots, dpi):
    """Dots per mm are the resolution; an unknown number is none."""
    assert parse_answer(HI.replace(b",8,", f",{dots},".encode()) + GOOD).dpi == dpi


@pytest.mark.parametrize(
    ("place", "value", "cause"),
    [
        ((0, 1), "1", Cause.PRINTER_PAPER),
        ((0, 2), "1", Cause.PRINTER_PAUSED),
        ((0, 5), "1", Cause.PRINTER_BUFFER),
        ((0, 9), "1", Cause.PRINTER_SET_UP),
        ((0, 10), "1", Cause.PRINTER_COLD),
        ((0, 11), "1", Cause.PRINTER_HOT),
        ((1, 2), "1", Cause.PRINTER_HEAD_OPEN),
        ((1, 3), "1", Cause.PRINTER_RIBBON),
    ],
)
def test_flags_of_host_status(place, value, cause):
    """Each flag of ~HS is one cause."""
    assert parse_answer(_changed(place, value)).urgent == (cause,)


@pytest.mark.parametrize(
    ("place", "value"), [((0, 4), "001"), ((0, 7), "1"), ((1, 8), "00000001"), ((1, 8), "00000250")]
)
def test_not_idle(place, value):
    """A format in the buffer, half of one, and labels of a batch are something left to print."""
    assert not parse_answer(_changed(place, value)).idle


def test_a_label_that_waits_is_printed():
    """With a peeler the batch counts the label that waits to be taken."""
    lines = _lines()
    lines[1][7], lines[1][8] = "1", "00000001"
    assert parse_answer(_joined(lines)).idle


def test_extended_status():
    """~HQES names what ~HS only shows as a pause: then the pause is not a fault of its own."""
    told = parse_answer(HQES + _changed((0, 2), "1"))
    assert told.urgent == (Cause.PRINTER_CUTTER,)


@pytest.mark.parametrize(
    "answer",
    [
        b"\x02030,0,0,0240,000,0,0,0\x03\x02000,0,0,0,0,2\x03",
        b"\x0230,0,0,240,0,0,0,0,0,0,0,0\x03\n\x020,0,0,0,1,2,6,0,0,1,0\x03",
        b"junk" + GOOD + b"\x02more\x03",
    ],
)
def test_clones(answer):
    """Shorter lines, unpadded numbers and bytes around them are understood."""
    assert parse_answer(answer).urgent == ()


@pytest.mark.parametrize("answer", [b"", GOOD[:40], b"\x02OK\x03", b"HTTP/1.1 400 Bad Request\r\n\r\n", GOOD[1:]])
def test_no_zpl_status(answer):
    """Half an answer, and that of something else, is none."""
    assert parse_answer(answer) is None


def test_brother_packets():
    """Each packet has its report, its model, its faults and the roll; half a packet is kept."""
    good = _packet()
    packets, rest = take_packets(b"junk" + good + _packet(8, 0x02, 18, 0x02) + good[:20])
    assert [packet.report for packet in packets] == [Report.REPLY, Report.ERROR]
    assert (packets[0].width, packets[0].length, packets[0].faults, packets[0].model.name) == (62, 29, (), "QL-820NWB")
    assert packets[1].faults == (Cause.PRINTER_PAPER,)
    assert rest == good[:20]


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ((8, 0x01), Cause.PRINTER_PAPER),
        ((8, 0x04), Cause.PRINTER_CUTTER),
        ((8, 0x10), Cause.PRINTER_BUSY),
        ((8, 0x80), Cause.PRINTER_HARDWARE),
        ((9, 0x01), Cause.PRINTER_MEDIA),
        ((9, 0x02), Cause.PRINTER_BUFFER),
        ((9, 0x04), Cause.PRINTER_LINK),
        ((9, 0x10), Cause.PRINTER_COVER_OPEN),
        ((9, 0x20), Cause.PRINTER_HOT),
        ((9, 0x40), Cause.PRINTER_JAM),
        ((9, 0x80), Cause.PRINTER_HARDWARE),
        ((10, 0, 11, 0, 17, 0), Cause.PRINTER_PAPER),
        ((18, 5, 22, 3), Cause.PRINTER_HOT),
    ],
)
def test_brother_errors(changes, cause):
    """Each bit of the errors is one cause; no roll is no paper."""
    assert take_packets(_packet(*changes))[0][0].faults == (cause,)


def test_brother_ql_reads_the_same(caplog):
    """brother_ql understands the packets of the virtual printer as rmfab does."""
    from brother_ql.reader import interpret_response

    theirs = interpret_response(_packet(9, 0x10))
    assert (theirs["media_width"], theirs["media_length"], theirs["status_type"]) == (62, 29, "Reply to status request")
    assert theirs["errors"] == ["Cover opened while printing (Except QL-500)"]
    assert caplog.text


@pytest.mark.parametrize(
    ("status", "causes"),
    [
        (0x00, ()),
        (0x20, ()),
        (0x01, (Cause.PRINTER_HEAD_OPEN,)),
        (0x05, (Cause.PRINTER_HEAD_OPEN, Cause.PRINTER_PAPER)),
        (0x18, (Cause.PRINTER_RIBBON, Cause.PRINTER_PAUSED)),
        (0x82, (Cause.PRINTER_JAM, Cause.PRINTER_HARDWARE)),
    ],
)
def test_tspl_status(status, causes):
    """Bits combine, the most urgent first."""
    assert tspl_faults(status) == causes


@pytest.mark.parametrize("severity", ["", "-report", "-warning", "-error"])
def test_reasons_of_queues(severity):
    """A reason is a fault with any severity; what is only a note is none."""
    reasons = (f"media-empty{severity}", f"cover-open{severity}", "media-low-report", "none", "connecting-to-device")
    assert reasons_to_faults(reasons) == (Cause.PRINTER_COVER_OPEN, Cause.PRINTER_PAPER)


IDLE, PROCESSING, STOPPED = 3, 4, 5


@pytest.mark.parametrize(
    ("state", "reason", "device", "faults", "stale"),
    [
        (IDLE, "media-empty-warning", "ipp://10.0.0.9/ipp/print", (), (Cause.PRINTER_PAPER,)),
        (PROCESSING, "media-empty-warning", "ipp://10.0.0.9/ipp/print", (Cause.PRINTER_PAPER,), ()),
        (STOPPED, "media-empty-warning", "socket://10.0.0.9", (Cause.PRINTER_STOPPED,), (Cause.PRINTER_PAPER,)),
        (IDLE, "hold-new-jobs", "usb://Zebra/ZD421", (Cause.PRINTER_PAUSED,), ()),
        (IDLE, "media-empty-report", None, (Cause.PRINTER_PAPER,), ()),
        (STOPPED, "media-empty-report", None, (Cause.PRINTER_PAPER,), ()),
    ],
)
def test_a_queue_of_cups_learns_of_its_printer_during_a_job_only(state, reason, device, faults, stale):
    """What the printer reported is stale after the job; what CUPS or a printer says of itself is not."""
    attributes = {"printer-state": (state,), "printer-state-reasons": (reason,)}
    answer = IppAnswer(0, (attributes | ({} if device is None else {"device-uri": (device,)}),))
    status = queue_state(answer, None).status
    assert (status.faults, status.stale) == (faults, stale)


def test_ipp_request():
    """A request is encoded as RFC 8010 shows in its appendix A.1: groups, tags, lengths."""
    request = encode_request(Operation.PRINT_JOB, "ipp://h/p", {"job-name": (Tag.NAME, ("label",))},
                             {"copies": (Tag.INTEGER, (2,))})  # fmt: skip
    assert request.startswith(b"\x02\x00\x00\x02\x00\x00\x00\x01\x01\x47\x00\x12attributes-charset\x00\x05utf-8")
    assert request.endswith(b"\x42\x00\x08job-name\x00\x05label\x02\x21\x00\x06copies\x00\x04\x00\x00\x00\x02\x03")


@given(st.binary(max_size=400))
def test_any_bytes(data):
    """No bytes break a parser."""
    parse_answer(data)
    take_packets(data)
    tspl_faults(data[0] if data else 0)
    try:
        answer = decode_answer(data)
    except ValueError:
        return
    queue_state(answer, 203)


@given(st.lists(st.sampled_from([b"\x02", b"\x03", b"0,", b"1,", b"030,0,0,0240,", b"ERRORS: 1 ", b"\x80\x20\x42"])))
def test_shuffled_pieces(pieces):
    """Nor do pieces of answers in any order."""
    parse_answer(b"".join(pieces))
    take_packets(b"".join(pieces) * 3)


def _lines():
    return [line.strip(b"\x02\x03").decode().split(",") for line in GOOD.split(b"\r\n")[:2]]


def _joined(lines):
    return b"".join(b"\x02" + ",".join(line).encode() + b"\x03\r\n" for line in lines)


def _changed(place, value):
    lines = _lines()
    lines[place[0]][place[1]] = value
    return _joined(lines)


def _packet(*changes):
    packet = bytearray(32)
    packet[:6] = b"\x80\x20\x42\x34\x41\x30"
    packet[10], packet[11], packet[17] = 62, 0x0B, 29
    for at, value in zip(changes[::2], changes[1::2], strict=True):
        packet[at] = value
    return bytes(packet)
