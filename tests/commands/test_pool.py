"""`rmfab ledger move`, `adopt` and `restore`, as the people on both hosts see them."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.ledger.tampering import begin_again, change
from tests.terminal import Terminal, dialogue


@pytest.fixture
def other(terminal: Terminal, lamp: Path, tmp_path: Path) -> Path:
    """A workspace of a different station, which was admitted and got the ledger after a move."""
    return moved(terminal, lamp, tmp_path / "other", without="keys")


def moved(terminal: Terminal, lamp: Path, folder: Path, *, without: str) -> Path:
    """Move the pool to a new workspace of a different station, which gets a copy of everything except *without*."""
    shutil.copytree(lamp, folder, ignore=shutil.ignore_patterns(without, "ledger*", "state"))
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
    refused = "this host will give the 3 free identities, which a host that adopted this ledger before would give, too"
    terminal("-C", other, "ledger", "adopt").refused(
        3, refused, 'no host has adopted it since it was moved, pass --name "lamp"'
    )
    done = json.loads(terminal.well("-C", other, "ledger", "adopt", "--name", "lamp", "--json"))
    assert done == {"adopted": True, "reason": "move", "quarantined": 0}
    assert json.loads(terminal.well("-C", other, "ledger", "adopt", "--json"))["adopted"] is False
    terminal.well("-C", other, *void)
    terminal("-C", lamp, *void).refused(5, "was moved to the host with age1", "on that host")
    for argv in (["status"], ["trace", "LMP-000001"], ["ledger", "check"]):
        terminal.well("-C", lamp, *argv)


def test_a_moved_ledger_is_not_lost(terminal: Terminal, lamp: Path, other: Path) -> None:
    """`adopt` where it was before says that a different host has it; only --name adopts it, after a loss."""
    terminal("-C", lamp, "ledger", "adopt").refused(5, "was moved to the host with age1")
    terminal("-C", lamp, "ledger", "adopt", "--only-copy").refused(2, "nobody has held yet")
    terminal("-C", lamp, "ledger", "adopt", "--name", "fan").refused(3, "not the name of the product")
    done = json.loads(terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp", "--json"))
    assert done == {"adopted": True, "reason": "loss", "quarantined": 3}
    assert other.is_dir()


def test_a_moved_ledger_that_was_lost_with_its_host(terminal: Terminal, other: Path) -> None:
    """The file that was moved is the only backup, and the record of the host is gone, too: nothing shows that it gave
    identities. The question names --lost, which gives none of them again."""
    terminal.well("-C", other, "ledger", "backup", "moved.db")
    terminal.well("-C", other, "ledger", "adopt", "--name", "lamp")
    terminal.well("-C", other, "void", "LMP-000001", "--reason", "lost")
    shutil.rmtree(other / "state")
    terminal.well("-C", other, "ledger", "restore", "moved.db")
    terminal("-C", other, "ledger", "adopt").refused(3, "this host will give the 3 free", "if one did, use --lost")
    terminal("-C", other, "ledger", "adopt", "--lost").refused(3, "3 free identities will be put in quarantine")
    terminal("-C", other, "ledger", "adopt", "--lost", "--only-copy").refused(2, "exclude each other")
    done = json.loads(terminal.well("-C", other, "ledger", "adopt", "--lost", "--name", "lamp", "--json"))
    assert done == {"adopted": True, "reason": "loss", "quarantined": 3}


def test_a_rollback_that_only_a_person_knows_of(terminal: Terminal, lamp: Path) -> None:
    """A host that holds the pool as far as it knows puts what is free in quarantine if a person says it is lost."""
    done = json.loads(terminal.well("-C", lamp, "ledger", "adopt", "--lost", "--name", "lamp", "--json"))
    assert done == {"adopted": True, "reason": "loss", "quarantined": 3}
    terminal.well("-C", lamp, "generate", "--count", "1")
    terminal.well("-C", lamp, "ledger", "check")


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
    terminal("-C", lamp, "ledger", "adopt").refused(3, "3 free identities will be put in quarantine", '--name "lamp"')
    terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp")
    terminal("-C", lamp, "label", "LMP-000001", "-o", "l.png").refused(3, "in quarantine")
    assert "quarantined" in terminal.well("-C", lamp, "status")
    terminal.well("-C", lamp, "generate", "--count", "1")


def _first(terminal: Terminal, folder: Path, *argv: str | Path) -> tuple[str, int]:
    """Make a batch of two; return its first serial and its size in the ledger."""
    name = terminal.well("-C", folder, "generate", "--count", "2", *argv).strip()
    with closing(sqlite3.connect(folder / "ledger.db")) as ledger:
        query = "SELECT serial FROM identity JOIN batch ON batch.id = batch_id WHERE name = ? ORDER BY serial"
        serials = [serial for (serial,) in ledger.execute(query, (name,))]
    return serials[0], len(serials)


def test_no_serial_is_given_again_after_a_loss(terminal: Terminal, lamp: Path) -> None:
    """A host with the record of the lost ledger counts on after its last serial, not after the backup's."""
    terminal.well("-C", lamp, "ledger", "backup", "b.db")
    assert _first(terminal, lamp) == ("LMP-000004", 2)
    (lamp / "ledger.db").unlink()
    terminal.well("-C", lamp, "ledger", "restore", "b.db")
    terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp")
    too_low = terminal("-C", lamp, "generate", "--count", "1", "--first-serial", "4")
    too_low.refused(3, "LMP-000004 may be given already", "--first-serial N", "6 or higher")
    assert _first(terminal, lamp) == ("LMP-000006", 2)


def test_a_host_without_the_record_asks_for_a_number(terminal: Terminal, lamp: Path) -> None:
    """After a loss, a host that does not know the last serial makes none before the operator names an unused number."""
    terminal.well("-C", lamp, "ledger", "backup", "b.db")
    _first(terminal, lamp)
    shutil.rmtree(lamp / "state")  # a different host
    (lamp / "ledger.db").unlink()
    terminal.well("-C", lamp, "ledger", "restore", "b.db")
    terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp")
    refused = terminal("-C", lamp, "generate", "--count", "2")
    refused.refused(3, "lost", "LMP-000004", "last labels", "--first-serial N", "4 or higher")
    assert _first(terminal, lamp, "--first-serial", "101") == ("LMP-000101", 2)
    assert _first(terminal, lamp) == ("LMP-000103", 2), "said once"


@pytest.mark.parametrize("before", [True, False], ids=["a backup of before the move", "a backup of after it"])
def test_a_record_of_before_a_move_is_not_trusted(terminal: Terminal, lamp: Path, tmp_path: Path, before: bool) -> None:
    """The ledger moved away and went on there; if it is lost, the first host does not know the last serial."""
    if before:
        terminal.well("-C", lamp, "ledger", "backup", tmp_path / "b.db")
    folder = moved(terminal, lamp, tmp_path / "other", without="station.key")
    terminal.well("-C", folder, "ledger", "adopt", "--name", "lamp")
    if not before:
        terminal.well("-C", folder, "ledger", "backup", tmp_path / "b.db")
    assert _first(terminal, folder) == ("LMP-000004", 2)
    terminal.well("-C", lamp, "ledger", "restore", tmp_path / "b.db", "--force")
    terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp")
    terminal("-C", lamp, "generate", "--count", "2").refused(3, "LMP-000004", "--first-serial N")
    terminal.well("-C", lamp, "ledger", "restore", tmp_path / "b.db", "--force")
    terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp")
    again = terminal("-C", lamp, "generate", "--count", "2")
    again.refused(3, "LMP-000004", "--first-serial N")  # a second loss makes nothing surer


def test_a_batch_that_was_being_made_is_not_continued_after_a_loss(terminal: Terminal, lamp: Path) -> None:
    """The lost ledger may have finished it, so its missing serials may be on devices."""
    _first(terminal, lamp, "--batch", "half")
    begin_again(lamp / "ledger.db", "half")
    change(lamp / "ledger.db", "UPDATE meta SET name = 'copy' WHERE name = 'holder'")
    terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp")
    terminal("-C", lamp, "generate", "--count", "2", "--batch", "half").refused(3, "was not finished", "different name")
    change(lamp / "ledger.db", "UPDATE batch SET auto_named = 1 WHERE name = 'half'")
    assert _first(terminal, lamp) == ("LMP-000006", 2)


def test_serials_of_a_file_after_a_loss(terminal: Terminal, lamp: Path) -> None:
    """rmfab cannot know whether a file's serials were given by the lost ledger, and says so."""
    (lamp / "ledger.db").rename(lamp / "b.db")
    terminal.well("-C", lamp, "ledger", "restore", lamp / "b.db")
    terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp")
    Path("own.csv").write_text("serial\nX-1\n")
    said = terminal("-C", lamp, "generate", "--values", "own.csv")
    assert said.code == 0
    assert "make sure that no device has a serial of this file" in said.err, said.err
    both = terminal("-C", lamp, "generate", "--values", "own.csv", "--first-serial", "3", "--batch", "x")
    both.refused(2, "serials that rmfab counts")


@pytest.fixture
def unstarted(terminal: Terminal, tmp_path: Path) -> Path:
    """A workspace before its first batch, on this host."""
    terminal.well("init", tmp_path / "one", "--cloud-claim")
    return tmp_path / "one"


def test_a_copy_of_before_the_first_batch(terminal: Terminal, unstarted: Path, tmp_path: Path) -> None:
    """Two workspaces that were one before the first batch never give the same serials unasked."""
    copy = Path(shutil.copytree(unstarted, tmp_path / "two"))
    serial = _first(terminal, unstarted)[0]
    refused = terminal("-C", copy, "generate", "--count", "2")
    refused.refused(
        3, "a different ledger on this host", str(unstarted / "ledger.db"), "--first-serial N", "3 or higher"
    )
    assert _first(terminal, copy, "--first-serial", "3")[0] == serial.replace("1", "3")
    terminal("-C", unstarted, "generate", "--count", "2").refused(3, str(copy / "ledger.db"), "5 or higher")
    assert _first(terminal, unstarted, "--first-serial", "7")[0] == serial.replace("1", "7")


def test_a_second_ledger_of_a_workspace(
    terminal: Terminal, unstarted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that was moved away, or one beside it, counts all the same; a different product does not.

    The empty ledger that a refused command leaves does not stand in the way of a backup.
    """
    _first(terminal, unstarted)
    terminal.well("-C", unstarted, "ledger", "backup", tmp_path / "b.db")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("RMFAB_LEDGER", str(tmp_path / "beside.db"))
        terminal("-C", unstarted, "generate", "--count", "2").refused(3, "a different ledger on this host")
    for path in unstarted.glob("ledger.db*"):
        path.rename(tmp_path / path.name)
    terminal("-C", unstarted, "generate", "--count", "2").refused(
        3, "the ledger that was here before has given serials", "`rmfab ledger restore`", "3 or higher"
    )
    terminal.well("-C", unstarted, "ledger", "restore", tmp_path / "b.db")
    terminal.well("init", tmp_path / "new", "--cloud-claim")
    assert _first(terminal, tmp_path / "new")[1] == 2


def test_the_question_for_a_number(terminal: Terminal, unstarted: Path, tmp_path: Path) -> None:
    """On a terminal, `generate` asks for the first number instead; what is no number changes nothing."""
    copy = Path(shutil.copytree(unstarted, tmp_path / "two"))
    _first(terminal, unstarted)
    argv = ("-C", copy, "generate", "--count", "2")
    code, screen = dialogue(*argv, cwd=tmp_path, answers=[("Number of the first serial", "x")])
    assert code == 3
    assert "a different ledger" in screen
    code, screen = dialogue(*argv, cwd=tmp_path, answers=[("Number of the first serial, 3 or higher", "3")])
    assert code == 0, screen


def test_a_moved_ledger_as_it_came(terminal: Terminal, other: Path) -> None:
    """A host that gave identities since the move, and restored what it got then, is not sent to a different host."""
    shutil.copy(other / "ledger.db", "as-it-came.db")
    terminal.well("-C", other, "ledger", "adopt", "--name", "lamp")
    terminal.well("-C", other, "void", "LMP-000001", "--reason", "lost")
    terminal.well("-C", other, "ledger", "restore", "as-it-came.db", "--force")
    said = terminal("-C", other, "void", "LMP-000002", "--reason", "lost")
    said.refused(5, "`rmfab ledger adopt`")
    assert "on that host" not in said.err
    said = terminal("-C", other, "ledger", "adopt", "--name", "lamp")
    assert "ask the owner for the next batch" in said.err


def test_a_copied_station_key(terminal: Terminal, lamp: Path) -> None:
    """A copy of the workspace has this host's key: `move` says how it gets one of its own."""
    own = terminal.well("-C", lamp, "station", "key").strip()
    terminal("-C", lamp, "ledger", "move", "--to", own, "--yes").refused(3, "remove keys/station.key there")


def test_what_a_different_host_gave_meanwhile(terminal: Terminal, lamp: Path, other: Path) -> None:
    """The ledger moved away, went on there and came back: the record does not pass for the end of what was given."""
    terminal.well("-C", other, "ledger", "adopt", "--name", "lamp")
    shutil.copy(lamp / "keys" / "unique.key", other / "keys" / "unique.key")
    shutil.copytree(lamp / "ca", other / "ca", dirs_exist_ok=True)
    terminal.well("-C", other, "ledger", "backup", "before.db")
    assert _first(terminal, other) == ("LMP-000004", 2)
    here = terminal.well("-C", lamp, "station", "key").strip()
    terminal.well("-C", other, "ledger", "move", "--to", here, "--yes")
    terminal.well("-C", other, "ledger", "backup", "back.db")
    terminal.well("-C", lamp, "ledger", "restore", "back.db", "--force")
    assert json.loads(terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp", "--json"))["reason"] == "move"
    terminal.well("-C", lamp, "ledger", "restore", "before.db", "--force")
    terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp")
    terminal("-C", lamp, "generate", "--count", "2").refused(3, "LMP-000004", "--first-serial N")
