"""kill -9 and full disks, at every line of what makes a handover, a receipt, a return or a merge durable."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rmfab import files
from rmfab.errors import StationError
from rmfab.exchange import parcel, pending
from rmfab.ledger import host_receipts, host_record
from rmfab.ledger.sql import sqlite
from rmfab.operations import give_back, hand_over, merge_return, receive
from tests.exchange.sides import BATCH, Side
from tests.killed import killed

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")]

PLACES = {
    str(module.__file__)
    for module in (
        files,
        parcel,
        pending,
        host_receipts,
        host_record,
        sqlite,
        give_back,
        hand_over,
        merge_return,
        receive,
    )
}
STRIDE = 37
"""Every so many lines: a prime, so that loops do not hide any of them."""


def turns(work: Callable[[], object]) -> Any:
    """Yield after each death of *work*, later each time, until it ends."""
    turn = 1
    while killed(turn, PLACES, work):
        yield turn
        turn += STRIDE


def numbers(owner: Side) -> list[int]:
    return [one["handover"] for one in owner.json("handover")]


def test_a_killed_handover(owner: Side, factory: Side) -> None:
    """A file is there only if the identities left the pool; if it is missing, it is written again by its number."""
    path, fingerprint = factory.card()
    card = ("--to", path, "--fingerprint", fingerprint)
    deaths = 0
    before = owner.states()["generated"]
    argv = ("handover", BATCH, "--count", "1", *card, "-o", "new.handover")
    for _ in turns(lambda: owner(*argv)):
        deaths += 1
        given = numbers(owner)
        there = Path("new.handover")
        taken = before - owner.states().get("generated", 0)
        assert taken == len(given)
        assert not there.exists() or given
        if given:
            there.unlink(missing_ok=True)
            owner.well(*argv)
            assert set(numbers(owner)) >= set(given)
            assert len(numbers(owner)) <= len(given) + 1
            given = numbers(owner)
            for number in given:
                owner.well("handover", "--again", str(number), *card, "-o", f"{number}.handover", "--force")
            there.unlink(missing_ok=True)
        if len(given) > 4:
            break
    assert deaths > 10
    assert not [one.name for one in Path.cwd().iterdir() if files.is_temporary(one.name)]
    received = [number for number in numbers(owner) if Path(f"{number}.handover").exists()]
    said = owner.well("handover", "--again", str(received[0]), *card, "-o", "x.handover")
    mine = said.err.split("`rmfab receive`: ")[1].strip()
    for number in received:
        factory.well("receive", f"{number}.handover", "--fingerprint", mine)
    assert factory.states()["generated"] == len(received)


def test_a_killed_receipt(owner: Side, factory: Side) -> None:
    """Killed anywhere, the same command completes it; every identity is there once."""
    fingerprint = owner.hand_over(factory, "1.handover", "--count", "3")
    argv = ("receive", "1.handover", "--fingerprint", fingerprint)
    deaths = sum(1 for _ in turns(lambda: factory(*argv)))
    assert deaths > 10
    assert factory.json(*argv)["again"] is True
    assert factory.states() == {"generated": 3}
    assert factory.work(1, 2, 3) == ["LMP-000001", "LMP-000002", "LMP-000003"]


def test_a_killed_return(owner: Side, factory: Side) -> None:
    """Killed anywhere, no event is lost: all returns that were recorded merge in order."""
    owner.give(factory, "1.handover", "--count", "4")
    factory.work(1, 2)
    deaths = 0
    for _ in turns(lambda: factory("return", "-o", "new.return", "--unused")):
        deaths += 1
        Path("new.return").unlink(missing_ok=True)
    assert deaths > 10
    made = factory.json("return", "-o", "last.return")["return"]
    for number in range(1, made):
        factory.well("return", "--again", str(number), "-o", f"{number}.return")
        owner.well("merge", f"{number}.return")
    owner.well("merge", "last.return")
    assert owner.states() == {"generated": 6, "verified": 2}


def test_a_return_without_a_file(owner: Side, factory: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between its record and its file, a return has a number: the owner asks for it, and gets it."""
    owner.give(factory, "1.handover", "--count", "4")
    factory.work(1)
    with monkeypatch.context() as dying:
        dying.setattr(parcel.ParcelWriter, "sign", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        child = os.fork()
        if child == 0:
            try:
                factory("return", "-o", "1.return")
            finally:
                os._exit(0)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert not Path("1.return").exists()
    factory.work(2)
    assert factory.json("return", "-o", "2.return")["return"] == 2
    owner("merge", "2.return").refused(5, "not merged yet: 1", "`rmfab return --again 1`")
    factory.well("return", "--again", "1", "-o", "1.return")
    assert [owner.json("merge", f"{number}.return")["units"] for number in (1, 2)] == [1, 1]
    assert owner.states() == {"generated": 4, "verified": 2, "handed-over": 2}


def test_a_killed_merge(owner: Side, factory: Side) -> None:
    """Killed anywhere, nothing or everything was merged, and the same command completes it."""
    owner.give(factory, "1.handover", "--count", "3")
    factory.work(1, 2)
    factory.well("return", "-o", "1.return")
    for _ in turns(lambda: owner("merge", "1.return")):
        assert owner.states() in ({"generated": 5, "handed-over": 3}, {"generated": 5, "verified": 2, "handed-over": 1})
    owner.well("merge", "1.return")
    assert owner.states() == {"generated": 5, "verified": 2, "handed-over": 1}


@pytest.mark.parametrize("name", ["open", "fsync", "mkdir"])
def test_a_full_disk(owner: Side, factory: Side, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whichever call finds the disk full before the record, neither the file nor the record is there; after it, the
    message says how to write the file again."""
    folder = Path("out")
    folder.mkdir()
    path, fingerprint = factory.card()
    argv = ("handover", BATCH, "--count", "1", "--to", path, "--fingerprint", fingerprint, "-o", "out/h")
    real, left = getattr(os, name), [0]

    def full(*arguments: Any, **named: Any) -> Any:
        where = arguments[0]
        ours = str(Path(f"/proc/self/fd/{where}").readlink()) if isinstance(where, int) else str(where)
        if "/out/" in ours or ours.endswith("/out") or ours.startswith("out/"):
            left[0] -= 1
            if left[0] == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(where))
        return real(*arguments, **named)

    monkeypatch.setattr(os, name, full)
    seen = set()
    for turn in range(1, 30):
        left[0] = turn
        said = owner(*argv)
        left[0] = 0
        if said.code == 0:
            break
        said.refused(4, "No space left")
        given = numbers(owner)
        seen.add(bool(given))
        assert not given or f"handover --again {given[-1]}" in said.err
        assert owner.states().get("handed-over", 0) == len(given)
        assert [one.name for one in folder.iterdir() if not files.is_temporary(one.name)] in ([], ["h"])
        (folder / "h").unlink(missing_ok=True)
    assert turn > 1
    assert False in seen


@pytest.mark.parametrize("command", ["handover", "return"])
def test_a_failure_after_the_record(owner: Side, factory: Side, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """If anything fails once the record is durable, such as this host's note of it on a full disk, the error names the
    command that writes the file, and that command works."""
    path, fingerprint = factory.card()
    side, argv, again = owner, ["handover", BATCH, "--to", path, "--fingerprint", fingerprint], ("--to", path)
    if command == "return":
        owner.give(factory, "1.handover", "--count", "2")
        factory.work(1)
        side, argv, again = factory, ["return"], ()

    def full(*_: object) -> None:
        raise StationError("cannot write the record: No space left on device", cause="disk-full")

    with monkeypatch.context() as broken:
        broken.setattr("rmfab.ledger.host_record.Hold.add", full)
        said = side(*argv, "-o", "x")
    said.refused(4, "No space left", "it is recorded; write the file again")
    assert not Path("x").exists()
    named = re.search(rf"`rmfab {command} --again (\d+) (--to \S+ )?-o FILE`", said.err)
    assert named is not None
    side.well(command, "--again", named[1], *again, "-o", "x")
    if command == "return":
        assert owner.json("merge", "x")["units"] == 1
        assert factory.json("return", "-o", "y")["return"] == 2
        owner.well("merge", "y")


def test_a_record_that_fails_has_no_hint_of_a_file(owner: Side, factory: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """A return whose transaction fails at its end names no return to write again: the same command makes it."""
    owner.give(factory, "1.handover", "--count", "2")

    def fails(*_: object) -> None:
        raise StationError("the disk failed", cause="disk-error")

    with monkeypatch.context() as broken:
        broken.setattr("rmfab.ledger.store.Ledger._answered", fails)
        said = factory("return", "-o", "x")
    said.refused(4, "the disk failed")
    assert "--again" not in said.err
    assert factory.json("return", "-o", "x")["return"] == 1


def test_a_handover_whose_note_fails(owner: Side, factory: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    """If only the note fails that the file was written, the error says that it is complete, and it is."""
    path, fingerprint = factory.card()

    def fails(*_: object) -> None:
        raise StationError("the disk is full", cause="disk-full")

    with monkeypatch.context() as broken:
        broken.setattr("rmfab.ledger.handovers.note_written", fails)
        owner("handover", BATCH, "--to", path, "--fingerprint", fingerprint, "-o", "x").refused(4, "x is complete")
    with owner.open() as workspace:
        factory.well("receive", "x", "--fingerprint", hand_over.owner_fingerprint(workspace))
