"""The console of a hostile board: bounded lines, bounded memory, linear time."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.board.bootlog import BootLog
from rmfab.board.unit_console import _LONGEST_LINE, Transcript
from rmfab.secret import Secret, redact
from tests.board.feed import console
from tests.patience import PATIENCE


@pytest.mark.parametrize("end", [b"", b"\n"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_a_line_has_a_largest_size(end: bytes, pieces: int) -> None:
    """A line of 60,000 bytes arrives in pieces of bounded length, whether it ends or not, and nothing of it is lost."""
    data = b"x" * 60_000 + end
    size = len(data) // pieces + 1
    reader = console(*(data[start : start + size] for start in range(0, len(data), size)))
    lines = list(reader.everything())
    assert max(map(len, lines)) <= _LONGEST_LINE
    assert len("".join(lines)) > 60_000 - _LONGEST_LINE - 1
    assert reader.text.count("x") == 60_000


def test_memory_is_bounded() -> None:
    """32 MB of console need no more than a few MB, and the beginning and the end are kept."""
    block = b"I (1) app: a line of the log\n" * 2000
    tracemalloc.start()
    kept = Transcript()
    kept.add(b"the beginning\n")
    for _ in range(32_000_000 // len(block)):
        kept.add(block)
    kept.add(b"\n" * 100_000)
    kept.add(b"the end\n")
    text, (_, peak) = kept.text, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert text.startswith("the beginning\n")
    assert text.endswith("the end\n")
    assert "bytes left out]" in text
    assert peak < 8_000_000


@given(st.integers(1, 400), st.lists(st.integers(0, 40), min_size=1, max_size=40))
def test_a_secret_is_not_cut_in_two(kept: int, sizes: list[int]) -> None:
    """Whatever is left out, no half of a PoP is left in the log: it is left out by lines."""
    transcript = Transcript(kept)
    for size in sizes:
        transcript.add(b"." * size + b'{"pop":"deadbeef"}\n')
    text = redact(transcript.text, Secret("deadbeef"))
    assert "dead" not in text
    assert "beef" not in text


def test_a_death_between_questions_is_seen() -> None:
    """What is read after the boot, also while a command is answered, is still added to the boot log."""
    reader, log = console(b"assert failed: tim_start main.c:81 (handle != NULL)\nNode ID: Abc\n"), BootLog()
    reader.follow(log.feed)
    assert [line for line in reader.everything() if "Node ID" in line]
    assert log.symptom is not None
    assert log.symptom.cause == "panic"


def test_no_line_is_lost_between_two_readers() -> None:
    """Lines that arrived together with the one that ended a reading are read next, and heard by the log."""
    reader, log = console(b"first\nsecond\nCPU halted.\nlast\n"), BootLog()
    assert next(reader.lines(PATIENCE)) == "first"
    reader.follow(log.feed)
    assert next(reader.lines(PATIENCE)) == "second"
    reader.hear()
    assert log.symptom is not None
    assert list(reader.lines(0.0)) == []


def test_hearing_does_not_wait() -> None:
    """What has arrived is read at once; a board that never stops printing does not keep the reader."""
    reader, log = console(*[b"I (1) app: chatter\n"] * 500), BootLog()
    reader.follow(log.feed)
    reader.hear()
    assert 0 < log.lines < 500


ATTACKS = {
    "blanks": "boot:  1 a" + " " * 600_000,
    "blanks in the app's name": "app_init: Project name: " + " " * 600_000,
    "secure boot": "secure boot" * 60_000,
    "panics": "Guru Meditation Error: Core  0 panic'ed (" * 15_000,
    "partitions": "partition 1 invalid" * 30_000,
    "factory": "esp_rmaker_fctry" * 40_000,
    "digits": "partition " + "1" * 600_000,
    "words": "boot:" * 120_000,
    "escapes": "\x1b[" * 300_000,
    "escape digits": "\x1b[" + "1" * 600_000,
    "resets": "rst:0x" + "1" * 600_000,
    "payloads": "NP:" * 200_000,
    "pop": '"pop"' + " " * 600_000,
    "passwords": "Password " * 70_000,
    "blank passwords": "PoP:" + " " * 600_000,
}


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_line_takes_long(attack: str) -> None:
    """A hostile line of 600 kB is read and redacted: with patterns that are not linear, this test takes hours."""
    BootLog().feed(attack)
    redact(attack, Secret("abcd1234"))
