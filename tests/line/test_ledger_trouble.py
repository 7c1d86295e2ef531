"""A ledger, or a disk, that fails during a run."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path

import pytest

from rmfab.errors import InputError, LedgerError
from rmfab.ledger.store import Ledger
from rmfab.product.vocabulary import Chip
from rmfab.virtual.spec import BoardSpec
from tests.ledger.tampering import OTHER_HOLDER, change, damage
from tests.line.floor import copied, interrupting, serve, spec

pytestmark = pytest.mark.slow


class TestLedgerTrouble:
    """If the ledger fails during a run, the unit ends with ERROR and a clear reason, and nothing is lost."""

    def trouble(self, founded, tmp_path, method, number, cause):
        """Run with a ledger that fails from the *number*-th call of *method* on."""

        factory = copied(founded, tmp_path / "ws")
        original = getattr(Ledger, method)
        calls = 0

        def failing(*args, **options):
            nonlocal calls
            calls += 1
            if calls >= number:
                raise LedgerError("the disk is full; nothing was written", cause=cause, hint="make room")
            return original(*args, **options)

        with serve([spec()]) as (board,):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Ledger, method, failing)
                said = factory.run(board.url)
            bound = factory.bindings()
            again = factory.run(board.url)
        return factory, said, bound, again

    @pytest.mark.parametrize(
        ("method", "number"),
        [("claim", 1), ("identity_by_mac", 1), *(("record", n) for n in (1, 2, 4, 5, 6, 8))],
    )
    def test_full_disk(self, founded, tmp_path, method, number):
        """At whichever call it fails, the verdict is ERROR ledger-full; the next run passes with the same identity."""
        factory, said, bound, again = self.trouble(founded, tmp_path, method, number, "ledger-full")
        assert (said.code, said.verdict) == (4, ("ERROR", "ledger-full"))
        assert "make room" in said.unit["reason"]
        if (method, number) == ("record", 8):
            assert any("cannot record the verdict in the ledger" in word for word in said.logs)
        assert again.code == 0
        assert len(bound) == (0 if method in ("claim", "identity_by_mac") else 1)
        assert set(bound.items()) <= set(factory.bindings().items())
        assert len(factory.bindings()) == 1
        factory.check()

    def test_read_only(self, founded, tmp_path):
        """A ledger that becomes read-only gives the verdict ERROR ledger-read-only."""
        factory, said, _, again = self.trouble(founded, tmp_path, "claim", 1, "ledger-read-only")
        assert (said.code, said.verdict) == (4, ("ERROR", "ledger-read-only"))
        assert again.code == 0
        factory.check()

    def test_end_of_batch_cannot_be_asked(self, factory, monkeypatch):
        """A unit keeps its verdict if the number of free identities cannot be read."""

        original = Ledger.claim

        def free(*_: object, **__: object) -> int:
            raise LedgerError("locked", cause="ledger-locked")

        def claim(*args, **options):
            monkeypatch.setattr(Ledger, "free", free)
            return original(*args, **options)

        monkeypatch.setattr(Ledger, "claim", claim)
        monkeypatch.setattr("rmfab.line.floor._POLL_SECONDS", 0.05)
        with serve([spec()]) as (board,), interrupting(lambda: factory.wait_for(lambda e: e["event"] == "unit")):
            said = factory.run(board.url, extra=("--loop",))
        assert [unit["outcome"] for unit in said.units] == ["PASS"]
        assert said.code == 130

    def test_locked(self, founded, tmp_path):
        """A run waits for a ledger that a different program has locked, then fails; nothing is assigned."""
        factory = copied(founded, tmp_path / "ws")
        with serve([spec()]) as (board,):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("rmfab.ledger.store.PATIENCE", 0.2)
                patch.setattr("rmfab.ledger.store.Ledger.open.__func__.__kwdefaults__", {"patience": 0.2, "host": None})
                workspace = factory.workspace
                assert workspace.ledger.free("Lamp") == 8
                holder = sqlite3.connect(factory.root / "ledger.db")
                holder.execute("BEGIN IMMEDIATE")
                said = factory.run(board.url)
                holder.rollback()
                holder.close()
                assert said.code == 4
                assert factory.bindings() == {}
            assert factory.run(board.url).code == 0


def _damage(path: Path) -> None:
    """Change bytes in the table of identities."""
    damage(path, "identity")


def _replace_with_a_copy(path: Path) -> None:
    """Put a copy of the ledger in its place."""
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    copy.replace(path)


def _adopt_elsewhere(path: Path) -> None:
    """Let the pool be held by another copy of the ledger, as its holder says."""
    change(path, OTHER_HOLDER)


TROUBLES = {
    "ledger-corrupt": _damage,
    "ledger-replaced": _replace_with_a_copy,
    "not-pool-holder": _adopt_elsewhere,
}


@pytest.mark.parametrize(("method", "number"), [("claim", 1), ("record", 1), ("record", 8)])
@pytest.mark.parametrize("cause", TROUBLES)
def test_a_ledger_that_goes_bad_under_a_line(founded, tmp_path, monkeypatch, cause, method, number):
    """A ledger damaged, replaced or adopted elsewhere at a claim, a step or the verdict: ERROR, exit 5, never FAIL."""
    factory = copied(founded, tmp_path / "ws")
    original = getattr(Ledger, method)
    calls = 0

    def bad_from_now_on(*args, **options):
        nonlocal calls
        calls += 1
        if calls == number:
            TROUBLES[cause](factory.root / "ledger.db")
        return original(*args, **options)

    monkeypatch.setattr(Ledger, method, bad_from_now_on)
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert calls >= number
    assert said.verdict == ("ERROR", cause)
    assert said.code == 5
    assert "FAIL" not in {event.get("outcome") for event in said.events}


def test_damage_found_in_the_background(factory, monkeypatch):
    """Damage that no write of the line touches is found in the background, and stops the line before its next claim."""
    damage(factory.root / "ledger.db", "ix_event_trust")
    original = Ledger.claim

    def claim(ledger, *args, **options):
        while ledger._database._check.finding is None:
            time.sleep(0.01)
        return original(ledger, *args, **options)

    monkeypatch.setattr(Ledger, "claim", claim)
    with serve([spec()]) as (board,):
        said = factory.run(board.url, extra=("--loop",))
    assert said.code == 5
    assert said.verdict == ("ERROR", "ledger-corrupt")
    assert factory.bindings() == {}


def test_logs_folder_that_cannot_be_written(factory, monkeypatch):
    """A console log that cannot be written is a warning; the unit passes."""

    def full(path: Path, *_: object, **__: object) -> bool:
        raise InputError("cannot write this file: No space left on device", where=str(path))

    monkeypatch.setattr("rmfab.line.console_log.write_file", full)
    with serve([BoardSpec(Chip.ESP32C3)]) as (board,):
        said = factory.run(board.url)
    assert said.code == 0
    assert said.unit["log"] is None
    assert any("No space left" in word for word in said.logs)
