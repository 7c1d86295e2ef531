"""The file in which a host remembers the rates of its slots."""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager

import pytest

from rmfab.board.rate_book import RateBook
from rmfab.board.rates import RateRecord, after_pass

_NOBODY = 65534
KEY = ("/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0", "10c4:ea60")


def test_what_was_learned_is_read_again(tmp_path):
    """A record is there for the next process; another slot or bridge has its own."""
    path = tmp_path / "state" / "rates.json"
    RateBook(path).change(KEY, lambda _: RateRecord(2_000_000, 3, {3_000_000: 1}))
    assert RateBook(path).read(KEY) == RateRecord(2_000_000, 3, {3_000_000: 1})
    assert RateBook(path).read((KEY[0], "1a86:7523")) is None
    assert RateBook(path).read(("COM7", KEY[1])) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"slots": 3}',
        '{"slots": [3, null, {}]}',
        '{"slots": [{"port": "COM7", "bridge": "x", "baud": "fast", "passed": 0, "errors": {}}]}',
        '{"slots": [{"port": "COM7", "bridge": "x", "baud": 1000000, "passed": -1, "errors": {}}]}',
        '{"slots": [{"port": "COM7", "bridge": "x", "baud": 1000000, "passed": 1, "errors": {"2": true}}]}',
        '{"slots": [{"port": "COM7", "bridge": "x", "baud": 1e99, "passed": 1, "errors": {}}]}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_as_none(tmp_path, text):
    """A file that a person or a crash has damaged costs the climb; the next board writes a good one."""
    path = tmp_path / "rates.json"
    path.write_text(text)
    book = RateBook(path)
    assert book.read(("COM7", "x")) is None
    book.change(KEY, lambda record: after_pass(record, 921600))
    assert book.read(KEY) == RateRecord(921600)


def test_one_bad_row_does_not_hide_the_others(tmp_path):
    """The rows that can be read are kept."""
    path = tmp_path / "rates.json"
    RateBook(path).change(KEY, lambda _: RateRecord(1_500_000))
    rows = json.loads(path.read_text())["slots"]
    path.write_text(json.dumps({"slots": [{"port": 3}, *rows]}))
    assert RateBook(path).read(KEY) == RateRecord(1_500_000)


def test_slots_at_once(tmp_path):
    """Many slots of two processes learn at once, and nothing is lost."""
    path = tmp_path / "rates.json"
    books = [RateBook(path) for _ in range(2)]
    keys = [(f"COM{n}", "10c4:ea60") for n in range(8)]

    def learn(book, key):
        for _ in range(10):
            book.change(key, lambda record: after_pass(record, 921600))

    threads = [threading.Thread(target=learn, args=(books[n % 2], key)) for n, key in enumerate(keys)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(RateBook(path).read(key) == RateRecord(921600, 9) for key in keys)


def test_the_book_stays_small(tmp_path):
    """The slots that were used last are kept."""
    path = tmp_path / "rates.json"
    book = RateBook(path)
    for number in range(600):
        if number in (0, 599) or number % 100 == 0:
            book.change((f"port-{number}", "x"), lambda _: RateRecord(921600))
    rows = [{"port": f"p{n}", "bridge": "x", "baud": 1, "passed": 0, "errors": {}} for n in range(2000)]
    path.write_text(json.dumps({"slots": rows}))
    book.change(KEY, lambda _: RateRecord(921600))
    assert len(json.loads(path.read_text())["slots"]) == 512
    assert book.read(KEY) is not None
    assert book.read(("p1999", "x")) is not None
    assert book.read(("p0", "x")) is None


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_a_folder_that_cannot_be_written(tmp_path):
    """A state folder that this user may not write is no error of a board."""
    tmp_path.chmod(0o500)
    book = RateBook(tmp_path / "rates.json")
    with _without_privileges():
        book.change(KEY, lambda _: RateRecord(921600))
        assert book.read(KEY) is None
    assert list(tmp_path.iterdir()) == []


@contextmanager
def _without_privileges():
    """Give up root, who may write everywhere, within the block."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_folder_that_is_a_file(tmp_path):
    """A state folder that cannot be there is no error of a board."""
    (tmp_path / "state").write_text("a file")
    book = RateBook(tmp_path / "state" / "rates.json")
    book.change(KEY, lambda _: RateRecord(921600))
    assert book.read(KEY) is None
