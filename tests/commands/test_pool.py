"""`rmfab ledger move`, `adopt` and `restore`, as the people on both hosts see them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.terminal import Terminal


@pytest.fixture
def other(terminal: Terminal, lamp: Path, tmp_path: Path) -> Path:
    """A workspace of a different station, which was admitted and got the ledger after a move."""
    folder = Path(shutil.copytree(lamp, tmp_path / "other", ignore=shutil.ignore_patterns("keys", "ledger*", "state")))
    recipient = terminal.well("-C", folder, "station", "key").strip()
    terminal.well("-C", lamp, "station", "admit", recipient)
    terminal.well("-C", lamp, "ledger", "move", "--to", recipient, "--yes")
    terminal.well("-C", lamp, "ledger", "backup", folder / "ledger.db")
    shutil.copy(lamp / "product.toml", folder / "product.toml")
    return folder


def test_a_ledger_moves(terminal: Terminal, lamp: Path, other: Path) -> None:
    """The new host is told to adopt it here, and then goes on; the old host gives nothing and is told where it is."""
    void = ("void", "LMP-000001", "--reason", "lost")
    terminal("-C", other, *void).refused(5, "moved to this host, and is not adopted yet", "`rmfab ledger adopt`")
    done = json.loads(terminal.well("-C", other, "ledger", "adopt", "--json"))
    assert done == {"adopted": True, "reason": "move", "quarantined": 0}
    assert json.loads(terminal.well("-C", other, "ledger", "adopt", "--json"))["adopted"] is False
    terminal.well("-C", other, *void)
    terminal("-C", lamp, *void).refused(5, "was moved to the host with age1", "on that host")
    for argv in (["status"], ["trace", "LMP-000001"], ["ledger", "check"]):
        terminal.well("-C", lamp, *argv)


def test_a_moved_ledger_is_not_lost(terminal: Terminal, lamp: Path, other: Path) -> None:
    """`adopt` where it was before says that a different host has it; only --name adopts it, after a loss."""
    terminal("-C", lamp, "ledger", "adopt").refused(5, "was moved to the host with age1")
    terminal("-C", lamp, "ledger", "adopt", "--only-copy").refused(2, "no host has held yet")
    terminal("-C", lamp, "ledger", "adopt", "--name", "fan").refused(3, "not the name of the product")
    done = json.loads(terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp", "--json"))
    assert done == {"adopted": True, "reason": "loss", "quarantined": 3}
    assert other.is_dir()


def test_what_is_not_moved(terminal: Terminal, lamp: Path) -> None:
    """A move wants the recipient of a different, admitted host, and a yes."""
    own = terminal.well("-C", lamp, "station", "key").strip()
    stranger = "age1nty7pcg5wch3letv7jghwhyldds86tm7zyyg5vnanfdzv25k6axqsjql0n"
    terminal("-C", lamp, "ledger", "move", "--to", "age1x", "--yes").refused(3, "age1x")
    terminal("-C", lamp, "ledger", "move", "--to", own, "--yes").refused(3, "recipient of this host")
    terminal("-C", lamp, "ledger", "move", "--to", stranger, "--yes").refused(3, "cannot open", "station admit")
    terminal.well("-C", lamp, "station", "admit", stranger)
    terminal("-C", lamp, "ledger", "move", "--to", stranger).refused(3, "nothing was changed", "--yes")
    terminal.well("-C", lamp, "void", "LMP-000001", "--reason", "lost")


def test_a_backup_is_restored(terminal: Terminal, lamp: Path) -> None:
    """A working ledger is replaced only if that is confirmed; the backup gives nothing before it is adopted."""
    terminal.well("-C", lamp, "ledger", "backup", "b.db")
    terminal("-C", lamp, "ledger", "restore", "b.db").refused(3, "the present ledger works", "--force")
    terminal("-C", lamp, "ledger", "restore", lamp / "product.toml", "--force").refused(5, "not a ledger")
    terminal.well("-C", lamp, "ledger", "restore", "b.db", "--force")
    terminal("-C", lamp, "generate", "--count", "1").refused(5, "is a copy", "`rmfab ledger adopt`")
    terminal("-C", lamp, "doctor").refused(5, "is a copy, made at")
    terminal("-C", lamp, "label", "LMP-000001", "-o", "l.png").refused(5, "is a copy")
    assert not Path("l.png").exists()
    terminal("-C", lamp, "ledger", "adopt").refused(3, "3 free identities in quarantine", '--name "lamp"')
    terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp")
    terminal("-C", lamp, "label", "LMP-000001", "-o", "l.png").refused(3, "in quarantine")
    assert "quarantined" in terminal.well("-C", lamp, "status")
    terminal.well("-C", lamp, "generate", "--count", "1")
