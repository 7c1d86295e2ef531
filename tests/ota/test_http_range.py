"""Replies to ranges and conditions by RFC 9110, as tables."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.ota.http_range import RangeReply, joined, judge

TAG = '"abc"'
WHOLE = RangeReply(HTTPStatus.OK, 0, 1000)
NOT_THERE = RangeReply(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
RANGES = {
    "the first bytes": ("bytes=0-99", (0, 100)),
    "in the middle": ("bytes=100-199", (100, 100)),
    "one byte": ("bytes=999-999", (999, 1)),
    "to the end": ("bytes=990-", (990, 10)),
    "beyond the end": ("bytes=990-5000", (990, 10)),
    "the last bytes": ("bytes=-10", (990, 10)),
    "more last bytes than there are": ("bytes=-5000", (0, 1000)),
    "in capitals, with blanks": ("Bytes= 1-2 ", (1, 2)),
    "after the end": ("bytes=1000-", None),
    "no last bytes": ("bytes=-0", None),
}
OVERLOOKED = {
    "last before first": "bytes=5-2",
    "several ranges": "bytes=0-1,5-6",
    "one range and an empty one": "bytes=0-1,",
    "an unknown range unit": "lines=0-1",
    "no number": "bytes=-",
    "a number that never ends": "bytes=" + "9" * 5000 + "-",
    "digits of a different script": "bytes=\N{ARABIC-INDIC DIGIT ONE}-\N{ARABIC-INDIC DIGIT NINE}",
    "a sign": "bytes=+1-2",
    "nothing": "",
}


@pytest.mark.parametrize(("field", "wanted"), RANGES.values(), ids=RANGES.keys())
def test_one_range(field: str, wanted: tuple[int, int] | None):
    """One range is answered with its bytes, or with 416 if the file has none of them."""
    reply = judge("GET", {"range": field}, TAG, 1000)
    assert reply == (NOT_THERE if wanted is None else RangeReply(HTTPStatus.PARTIAL_CONTENT, *wanted))


@pytest.mark.parametrize("field", OVERLOOKED.values(), ids=OVERLOOKED.keys())
def test_what_is_no_range_is_overlooked(field: str):
    """An invalid range, and several ranges, return the whole file."""
    assert judge("GET", {"range": field}, TAG, 1000) == WHOLE


def test_an_empty_file_has_no_range():
    """Every range of an empty file is answered with 416."""
    for field in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        assert judge("GET", {"range": field}, TAG, 0) == NOT_THERE


@given(st.integers(0, 50), st.one_of(st.none(), st.integers(0, 50)), st.integers(0, 50))
def test_ranges_as_python_slices(first: int, last: int | None, size: int):
    """A range returns the bytes of the Python slice, and Content-Range matches them."""
    data = bytes(range(size))
    reply = judge("GET", {"range": f"bytes={first}-{'' if last is None else last}"}, TAG, size)
    sent = data[reply.first : reply.first + reply.length]
    if last is not None and last < first:
        assert (reply.status, sent) == (HTTPStatus.OK, data)
    elif first >= size:
        assert (reply.status, reply.content_range(size)) == (416, f"bytes */{size}")
    else:
        assert sent == data[first : None if last is None else last + 1]
        assert reply.content_range(size) == f"bytes {first}-{first + len(sent) - 1}/{size}"


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", {"if-none-match": TAG}, 304),
        ("HEAD", {"if-none-match": TAG}, 304),
        ("GET", {"if-none-match": f'"x", W/{TAG}'}, 304),
        ("GET", {"if-none-match": "*"}, 304),
        ("GET", {"if-none-match": '"x"'}, 200),
        ("GET", {"if-none-match": "abc"}, 200),
        ("GET", {"if-match": f'"x",{TAG}'}, 200),
        ("GET", {"if-match": "*"}, 200),
        ("GET", {"if-match": f"W/{TAG}"}, 412),
        ("GET", {"if-match": '"x"', "range": "bytes=0-1"}, 412),
        ("GET", {"if-match": '"x"', "if-none-match": TAG}, 412),
        ("GET", {"if-none-match": TAG, "range": "bytes=0-1"}, 304),
        ("GET", {"if-range": TAG, "range": "bytes=0-1"}, 206),
        ("GET", {"if-range": '"x"', "range": "bytes=0-1"}, 200),
        ("GET", {"if-range": f"W/{TAG}", "range": "bytes=0-1"}, 200),
        ("GET", {"if-range": "Wed, 21 Oct 2015 07:28:00 GMT", "range": "bytes=0-1"}, 200),
        ("GET", {"if-range": '"x"', "range": "bytes=5000-"}, 200),
        ("HEAD", {"range": "bytes=0-1"}, 200),
    ],
)
def test_conditions(method: str, headers: dict[str, str], status: int):
    """If-Match is strong and comes first, then If-None-Match, weak; If-Range is strong; Range is for GET only."""
    assert judge(method, headers, TAG, 1000).status == status


def test_fields_that_stand_twice_are_joined():
    """Two Range fields are several ranges; header names are case-insensitive."""
    headers = joined([("Range", "bytes=0-1"), ("RANGE", "bytes=2-3"), ("ETag", "x")])
    assert headers == {"range": "bytes=0-1, bytes=2-3", "etag": "x"}
    assert judge("GET", headers, TAG, 1000) == WHOLE
