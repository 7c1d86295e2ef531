"""A board survives any input and any flash content: it rejects, stays silent or restarts."""

from __future__ import annotations

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from rmfab.product.vocabulary import Chip
from rmfab.virtual.chip.command import Op, checksum
from tests.virtual.rig import APP, FCTRY, NVS, OTADATA, TABLE, Rig, frame, parts

_WORD = st.one_of(st.sampled_from([0, 1, 16, 0x400, 0x1000, 0x4000, 1 << 22, 0xFFFFFFFF]), st.integers(0, 0xFFFFFFFF))
_BODY = st.one_of(
    st.binary(max_size=64),
    st.lists(_WORD, min_size=1, max_size=6).map(lambda words: struct.pack(f"<{len(words)}I", *words)),
    st.binary(max_size=64).map(lambda block: struct.pack("<IIII", len(block), 0, 0, 0) + block),
)
_OP = st.one_of(st.sampled_from([int(op) for op in Op]), st.integers(0, 255))
_REQUESTS = st.lists(st.tuples(_OP, _BODY), min_size=1, max_size=12)


def _frame(op, body):
    return frame(struct.pack("<BBHI", 0, op, len(body), checksum(body[16:])) + body)


@settings(max_examples=150, deadline=None)
@given(_REQUESTS, st.booleans(), st.sampled_from([Chip.ESP32, Chip.ESP32S3, Chip.ESP32C3]))
def test_any_request_is_survived(requests, stub, chip):
    """No request to the ROM or the stub raises an exception; after a restart the board answers again."""
    rig = Rig(chip, flash_size=1 << 20)
    rig.sync()
    if stub:
        rig.start_stub()
    for op, body in requests:
        rig.send(_frame(op, body))
    rig.timeline.run(0.2)
    rig.board.uart.host_baud = 115200
    rig.board.restart()
    assert len(rig.sync()) == 8


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, TABLE, NVS, OTADATA, APP, FCTRY]),
            st.integers(0, 0x300),
            st.binary(min_size=1, max_size=40),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_flash_boots_or_says_why(changes):
    """Flipped bits anywhere in the images end in a running app or a restart loop, never in an exception."""
    rig = Rig(parts=parts())
    for offset, at, data in changes:
        rig.board.flash.program(offset + at, data)
    text = rig.boot(2.0)
    assert "app_main()" in text or text.count("rst:0x") > 1
    rig.type("get-node-id\r\nsign-data x\r\n")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from(
                [b"help\r\n", b"sign-data \r\n", b"sign-data \xff\n", b'wifi-prov "\xff\n', b"wifi-prov a b\n"]
            ),
        )
    )
)
def test_any_typing_is_survived(pieces):
    """After any console input, the console still answers with the node id."""
    rig = Rig(parts=parts())
    rig.boot()
    for piece in pieces:
        rig.board.uart.from_host(piece)
    rig.timeline.run(1)
    rig.board.uart.from_host(b"\r\n")
    assert "Node ID: NodeOfThisVeryTest" in rig.type("get-node-id\r\n")
