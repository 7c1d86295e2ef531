"""SLIP frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rmfab.virtual.chip import slip
from tests.virtual.rig import frame, frames


@given(st.lists(st.binary(min_size=1, max_size=60), max_size=5), st.integers(1, 40))
def test_frames_survive_any_cutting(payloads, cut):
    """The decoder reads the output of an independent byte-by-byte encoder, however the stream is cut."""
    stream = b"".join(map(frame, payloads))
    decoder = slip.Decoder(1000)
    found = [found for at in range(0, len(stream), cut) for found in decoder.feed(stream[at : at + cut])]
    assert payloads == found


@given(st.binary(min_size=1, max_size=300))
def test_encoding_is_what_a_host_decodes(payload):
    """An independent byte-by-byte decoder reads the output of `encode`."""
    assert [payload] == frames(slip.encode(payload))


def test_noise_is_lost():
    """Bytes outside frames and doubled ENDs are ignored; a broken or overlong frame does not damage the next one."""
    decoder = slip.Decoder(8)
    assert decoder.feed(b"noise\xc0\xc0ab\xc0") == [b"ab"]
    assert decoder.feed(b"\xc0a\xdbz\xc0\xc0ok\xc0") == [slip.BrokenFrame.ESCAPE, b"ok"]
    assert decoder.feed(b"\xc0" + b"x" * 9 + b"\xc0\xc0ok\xc0") == [slip.BrokenFrame.LENGTH, b"ok"]
    assert decoder.feed(b"\xc0" + b"\xdb" * 100 + b"\xc0\xc0ok\xc0") == [slip.BrokenFrame.LENGTH, b"ok"]
