"""The book of a host's slots: shared by processes, whole after a kill, and never silently empty."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from rmfab.board.esp.loader import SlotLink
from rmfab.board.restart import Auto
from rmfab.errors import InputError
from rmfab.ledger.events import Outcome
from rmfab.line.slot_book import SlotBook
from rmfab.line.slot_judge import SeenBoard
from rmfab.line.station import Slot
from rmfab.operations import closed_slots
from tests.patience import until

SLOTS = tuple(Slot(f"A{n}", SlotLink(f"/dev/a{n}", 921600, Auto())) for n in (1, 2, 3))
A1, A2, A3 = SLOTS
FAIL = Outcome.FAIL


def book(folder, slots=SLOTS):
    """Return the book in *folder*, as a process of its own would have it."""
    return SlotBook(folder / "slots.json", slots, lambda own, others: False, lambda: "2026-11-29T10:00:00.000Z")


def test_three_boards_lock_a_slot_for_all(tmp_path):
    """A slot that one process locks is locked for the others, until a supervisor unlocks it; its boards then count
    anew."""
    one, other = book(tmp_path), book(tmp_path)
    said = [one.count(A1, SeenBoard(f"mac-{n}", FAIL, "silent")) for n in range(3)]
    assert said == [None, None, "3 boards in a row ended with FAIL (silent): a worn pin?"]
    why = other.out_of_service(A1)
    assert why is not None
    assert (why.locked, "worn pin" in why.reason) == (True, True)
    assert other.out_of_service(A2) is None
    assert one.count(A1, SeenBoard("mac-9", FAIL, "silent")) is None, "it is locked already"
    assert other.unlock(A1, "pin replaced", "wei")
    assert not other.unlock(A1, "again", None)
    assert one.out_of_service(A1) is None
    assert one.count(A1, SeenBoard("mac-4", FAIL, "silent")) is None
    assert [(each["what"], each["reason"][:7], each.get("operator")) for each in one.changes(A1)] == [
        ("locked", "3 board", None),
        ("unlocked", "pin rep", "wei"),
    ]


def test_disabled(tmp_path):
    """A disabled slot is out of service until it is enabled; one of station.toml and one that is locked stay so."""
    one = book(tmp_path)
    one.disable(A2, "cable\nis loose\x1b[2J", "wei")
    why = one.out_of_service(A2)
    assert why is not None
    assert (why.locked, why.reason, why.operator) == (False, "cable\\nis loose\\x1b[2J", "wei")
    assert str(why).endswith("(since 2026-11-29T10:00:00.000Z, by wei)")
    assert [one.enable(A2, None), one.enable(A2, None)] == [True, False]
    off = Slot("A4", A1.link, enabled=False)
    assert "station.toml" in str(book(tmp_path, (off,)).out_of_service(off))
    for empty in ("", "  "):
        with pytest.raises(InputError):
            one.disable(A2, empty, None)


def test_lone_ports_are_not_in_it(tmp_path):
    """A port that is in no station.toml is never locked: nobody could unlock it."""
    one, lone = book(tmp_path), Slot("/dev/x", SlotLink("/dev/x", 921600, Auto()))
    for number in range(5):
        assert one.count(lone, SeenBoard(f"mac-{number}", FAIL, "silent")) is None
    assert not one.is_slots_fault(lone, "mac", "brownout")
    assert not (tmp_path / "slots.json").exists()


BAD = {
    "no JSON": b"{", "a list": b"[]", "no slots": b"{}",
    "a slot without boards": b'{"slots": [{"port": "x"}], "changes": []}',
    "an unknown outcome": b'{"slots": [{"port": "/dev/a1", "slot": "A1", "disabled": null, "locked": null, '
    b'"boards": [["m", "GOOD", null, null]]}], "changes": []}',
    "huge": b" " * (5 << 20),
}  # fmt: skip


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_damaged_book_starts_no_board(tmp_path, content):
    """What was locked is not known if the book is damaged: no slot starts a board, and the reason names the file."""
    (tmp_path / "slots.json").write_bytes(content)
    why = book(tmp_path).out_of_service(A1)
    assert why is not None
    assert (why.locked, "slots.json" in why.reason) == (True, True)
    with pytest.raises(InputError):
        book(tmp_path).count(A1, SeenBoard("mac", FAIL, "silent"))


def test_two_writers_lose_nothing(tmp_path):
    """Threads and processes that count at once lose no board."""
    books = [book(tmp_path) for _ in range(4)]

    def count(number):
        books[number % 4].count(SLOTS[number % 3], SeenBoard(f"mac-{number}", Outcome.PASS))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(60)))
    assert [len(book(tmp_path).state(slot).recent) for slot in SLOTS] == [20, 20, 20]


WRITER = """
import sys
from pathlib import Path
from tests.line.test_slot_book import SLOTS, book
from rmfab.ledger.events import Outcome
from rmfab.line.slot_judge import SeenBoard
one, number = book(Path(sys.argv[1])), 0
while True:
    one.count(SLOTS[number % 3], SeenBoard(f"mac-{number}", Outcome.PASS))
    number += 1
"""


@pytest.mark.slow
def test_a_killed_writer(tmp_path):
    """A process that is killed while it writes leaves a whole book, and holds no lock."""
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)])
        path = tmp_path / "slots.json"
        before = path.stat().st_mtime_ns if path.exists() else 0
        until(lambda path=path, before=before: path.exists() and path.stat().st_mtime_ns > before)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        json.loads(path.read_bytes())
        book(tmp_path).count(A1, SeenBoard("mine", Outcome.PASS))
        assert book(tmp_path).state(A1).recent[-1].board == "mine"


def test_what_status_looks_for(tmp_path):
    """`status`, which loads nothing of the line, finds the marks of slots that are out of service."""
    path = tmp_path / closed_slots._BOOK
    one = book(tmp_path)
    one.count(A1, SeenBoard("mac", Outcome.PASS))
    assert closed_slots._MARK not in path.read_bytes()
    one.disable(A1, "loose", None)
    assert closed_slots._MARK in path.read_bytes()
