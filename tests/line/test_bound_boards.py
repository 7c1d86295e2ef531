"""What a station remembers of bound boards, across processes and crashes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from rmfab.errors import IntegrityError
from rmfab.line.bound_boards import BoardMemory

ONE, TWO, LONG = "24:0a:c4:00:00:01", "24:0a:c4:00:00:02", "24:0a:c4:ff:fe:00:00:01"


@pytest.fixture
def memory(tmp_path: Path) -> BoardMemory:
    """A memory of nothing: the ledger said that no board is bound."""
    memory = new(tmp_path)
    memory.refresh([], [])
    return memory


def new(folder: Path) -> BoardMemory:
    """Return the memory in *folder*, as a new process reads it."""
    return BoardMemory(folder / "lease.macs", folder / "spool")


def test_what_the_ledger_said(memory: BoardMemory, tmp_path: Path) -> None:
    """MACs of both lengths, serials and units are the same in the next process; a later answer replaces all of it."""
    memory.refresh([(ONE, None), (LONG, "SN 7")], ["LMP-000001"])
    for one in (memory, new(tmp_path)):
        assert [one.bound(mac) for mac in (ONE, TWO, LONG)] == [True, False, True]
        assert (one.is_serial("SN 7"), one.is_serial("SN 8")) == (True, False)
        assert (one.otherwise("LMP-000001"), one.otherwise("LMP-000002")) == (True, False)
    memory.refresh([(TWO, None)], [])
    assert [new(tmp_path).bound(mac) for mac in (ONE, TWO, LONG)] == [False, True, False]
    assert (tmp_path / "lease.macs").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("bound", [True, None])
def test_a_claim_that_may_have_been_written(memory: BoardMemory, tmp_path: Path, bound: bool | None) -> None:
    """From its begin on the board is bound, also for the next process; whatever became of it."""
    memory.begin(ONE)
    if bound:
        memory.end(ONE, bound=True)
    assert memory.bound(ONE)
    assert new(tmp_path).bound(ONE)
    memory.refresh([], [])  # if it was still open, this answer may be too early for it
    assert new(tmp_path).bound(ONE) is (bound is None)
    memory.refresh([(ONE, None)], [])
    assert new(tmp_path).bound(ONE)


def test_a_list_that_is_missing(memory: BoardMemory, tmp_path: Path) -> None:
    """Without what the ledger said, every board may be bound; a process that has heard it does not need the file."""
    (tmp_path / "lease.macs").unlink()
    assert not memory.bound(ONE)
    assert new(tmp_path).bound(ONE)


def test_two_processes(memory: BoardMemory, tmp_path: Path) -> None:
    """A board stays bound here when a different process has asked the ledger and removed the file of its claim; and an
    answer to one process that is older does not replace that to the other one."""
    assert not memory.bound(ONE)
    memory.begin(ONE)
    memory.end(ONE, bound=True)
    other = new(tmp_path)
    other.refresh([(ONE, None)], ["LMP-000001"])
    assert list((tmp_path / "spool").iterdir()) == []
    assert memory.bound(ONE)
    assert memory.otherwise("LMP-000001")
    later = threading.Thread(target=other.refresh, args=([(ONE, None), (TWO, None)], []))

    def asked() -> Iterator[tuple[str, str | None]]:
        yield ONE, None
        later.start()
        later.join(0.3)  # it waits for us

    memory.refresh(asked(), [])
    later.join()
    assert memory.bound(TWO)
    assert new(tmp_path).bound(TWO)


def test_a_claim_that_was_not_written(memory: BoardMemory, tmp_path: Path) -> None:
    """It leaves nothing."""
    memory.begin(ONE)
    memory.end(ONE, bound=False)
    assert not memory.bound(ONE)
    assert not new(tmp_path).bound(ONE)
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_claim_during_the_answer(memory: BoardMemory, tmp_path: Path) -> None:
    """A claim that ends while the ledger is asked is not forgotten: the answer may be older."""

    def answer():
        memory.begin(ONE)
        memory.end(ONE, bound=True)
        yield TWO, None

    memory.refresh(answer(), [])
    assert memory.bound(ONE)
    assert new(tmp_path).bound(ONE)
    memory.refresh([(ONE, None)], [])
    assert list((tmp_path / "spool").iterdir()) == []


def test_what_a_killed_process_began(memory: BoardMemory, tmp_path: Path) -> None:
    """Its claims are remembered until the ledger says that they are bound."""
    memory.begin(ONE)
    later = new(tmp_path)
    later.refresh([(TWO, None)], [])
    assert later.bound(ONE)
    later.refresh([(ONE, None)], [])
    assert list((tmp_path / "spool").iterdir()) == []


def test_seen(memory: BoardMemory, tmp_path: Path) -> None:
    """A board that the ledger has answered for is bound until the next answer."""
    memory.see(ONE)
    assert memory.bound(ONE)
    memory.refresh([], [])
    assert not memory.bound(ONE)


@pytest.mark.parametrize("text", ["", "x", "rmfab bound boards 1\nm 1\n", "rmfab bound boards 1\nq 1\nend"])
def test_a_damaged_list(memory: BoardMemory, tmp_path: Path, text: str) -> None:
    """A list that is not whole lets no board through."""
    (tmp_path / "lease.macs").write_text(text)
    with pytest.raises(IntegrityError, match="damaged") as refused:
        memory.bound(ONE)
    assert refused.value.cause == "spool-damaged"
