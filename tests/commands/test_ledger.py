"""Tests of a ledger that is locked, read-only, full, newer, damaged or absent; of status, trace, void and backup."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rmfab.ledger.claim_terms import Wish
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.store import Ledger
from rmfab.workspace.workspace import open_workspace
from tests.ledger.tampering import change, page_of
from tests.patience import PATIENCE
from tests.terminal import Terminal, copied, environment, files, words

LOCK = (
    "import sqlite3, sys\n"
    "c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE')\n"
    "print('locked', flush=True); sys.stdin.read()"
)


@contextmanager
def locked(ledger: Path) -> Iterator[None]:
    """Hold the write lock of the ledger in a different process."""
    other = subprocess.Popen(
        [sys.executable, "-c", LOCK, str(ledger)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    try:
        yield
    finally:
        other.communicate(timeout=PATIENCE)


WRITES = (
    ("generate", "--count", "1"),
    ("void", "LMP-000001", "--reason", "x"),
    ("label", "LMP-000001"),
)


@pytest.mark.parametrize("argv", WRITES, ids=lambda argv: argv[0])
def test_locked(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...]) -> None:
    """If a different program keeps the ledger locked, writing reports it after a timeout; reading works."""
    monkeypatch.setitem(Ledger.open.__func__.__kwdefaults__, "patience", 0.2)  # type: ignore[attr-defined]
    with locked(lamp / "ledger.db"):
        terminal("-C", lamp, *argv).refused(4, "ledger.db", "locked by another program", "hint")
        assert "lamp-0001" in terminal.well("-C", lamp, "status")
        assert "generated" in terminal.well("-C", lamp, "trace", "LMP-000001")
    assert terminal("-C", lamp, *argv).code == 0


def test_read_only(lamp: Path) -> None:
    """A ledger that this user may not write is an error, and stays unchanged."""
    command = words("-C", lamp, "void", "LMP-000001", "--reason", "x")
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("no setpriv to give up capabilities with")
        # The folders above are this user's alone, and pytest makes them so again at each start of a different run.
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    before = files(lamp)["ledger.db"]
    (lamp / "ledger.db").chmod(0o444)
    lamp.chmod(0o555)
    done = subprocess.run(command, cwd="/", env=environment(HOME="/"), capture_output=True, text=True, timeout=PATIENCE)
    lamp.chmod(0o755)
    assert done.returncode == 4, done.stderr
    assert "rmfab: error:" in done.stderr
    assert "ledger.db" in done.stderr
    assert files(lamp)["ledger.db"] == before


@pytest.mark.slow
@pytest.mark.parametrize("limit", [60, 130, 200, 400])
def test_a_full_disk(terminal: Terminal, lamp: Path, limit: int) -> None:
    """Wherever the disk fills up while a batch is made, the error is reported, and the same command ends it later."""
    argv = ("-C", str(lamp), "generate", "--count", "1500", "--batch", "big", "--jobs", "1")
    shell = f'ulimit -f {limit}; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", shell, "-", *words(*argv)], cwd=lamp, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 4, done.stderr
    assert "the disk" in done.stderr
    assert terminal.well(*argv) == "big\n"
    terminal.well("-C", lamp, "ledger", "check")


def test_newer(terminal: Terminal, lamp: Path) -> None:
    """A ledger of a newer rmfab is neither read nor changed."""
    change(lamp / "ledger.db", "UPDATE alembic_version SET version_num = '9999'")
    before = files(lamp)["ledger.db"]
    for argv in (("status",), *WRITES):
        terminal("-C", lamp, *argv).refused(4, "newer rmfab", "update rmfab")
    assert files(lamp)["ledger.db"] == before


@pytest.mark.parametrize("argv", [("status",), ("trace", "LMP-000001"), ("ledger", "check"), *WRITES[1:]], ids=" ".join)
def test_absent(terminal: Terminal, lamp: Path, argv: tuple[str, ...]) -> None:
    """A missing ledger is an error that says whether there was one, and no command that reads it creates it."""
    (lamp / "ledger.db").unlink()
    terminal("-C", lamp, *argv).refused(4, "no ledger here", "this host has given identities from it", "restore")
    shutil.rmtree(lamp / "state")
    terminal("-C", lamp, *argv).refused(4, "no ledger here", "`rmfab generate` creates one", "RMFAB_LEDGER")
    assert not (lamp / "ledger.db").exists()


def test_damaged(terminal: Terminal, lamp: Path) -> None:
    """A file that is not a ledger, or a damaged one, stops the line with exit code 5."""
    good = (lamp / "ledger.db").read_bytes()
    for bad in (b"garbage" * 100, good[: len(good) // 3], good[:4096] + bytes(8192) + good[12288:]):
        for name in ("ledger.db-wal", "ledger.db-shm"):
            (lamp / name).unlink(missing_ok=True)
        (lamp / "ledger.db").write_bytes(bad)
        said = terminal("-C", lamp, "ledger", "check")
        said.refused(5, "ledger.db")
    (lamp / "ledger.db").write_bytes(b"")
    terminal("-C", lamp, "status").refused(4, "empty")


def flipped(table: str, at: int) -> Callable[[Path], None]:
    """Return a function that flips 16 bytes of the page of *table*, at *at*: 0 is its head, the end its first row."""

    def flip(path: Path) -> None:
        start = page_of(path, table) + at
        octets = bytearray(path.read_bytes())
        octets[start : start + 16] = bytes(octet ^ 0xFF for octet in octets[start : start + 16])
        path.write_bytes(octets)

    return flip


def folder_instead(path: Path) -> None:
    """Put a folder in the place of the ledger."""
    path.unlink()
    path.mkdir()


CHANGES = ("void LMP-000002 --reason lost", "generate --count 2", "label LMP-000002", "ledger rebuild", "ledger check")
READS = ("status", "trace LMP-000001", "ledger backup b.db", "build lamp-0001 -o images")
BROKEN: dict[str, tuple[Callable[[Path], object], int, tuple[str, ...]]] = {
    "identities": (flipped("identity", 0), 5, (*CHANGES, *READS, "doctor")),
    "events": (flipped("event", 0), 5, (*CHANGES, "ledger backup b.db", "ledger adopt", "doctor")),
    "meta": (flipped("meta", 0), 5, (*CHANGES, *READS[1:], "ledger adopt", "doctor")),
    "a text of meta": (flipped("meta", 4056), 5, (*CHANGES, *READS[1:], "ledger adopt", "doctor")),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:65536]), 5, (*CHANGES, *READS, "doctor")),
    "noise": (lambda path: path.write_bytes(b"garbage" * 1000), 5, (*CHANGES, *READS, "doctor")),
    "nothing": (lambda path: path.write_bytes(b""), 4, (CHANGES[0], *CHANGES[2:], *READS, "doctor")),
    "a folder": (folder_instead, 4, (*CHANGES, *READS, "doctor")),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_every_command_on_a_broken_ledger(terminal: Terminal, lamp: Path, tmp_path: Path, kind: str) -> None:
    """A command that reads what is damaged ends with code 5, on what is no ledger with 4; never in a bug."""
    damage, code, commands = BROKEN[kind]
    for number, command in enumerate(commands):
        broken = copied(lamp, tmp_path / str(number))
        page_of(broken / "ledger.db", "meta")  # writes the WAL into the file
        for end in ("-wal", "-shm"):
            (broken / f"ledger.db{end}").unlink(missing_ok=True)
        damage(broken / "ledger.db")
        said = terminal("-C", broken, *command.split())
        assert said.code == code, (command, said)
        said.refused(code, "rmfab: error: ")


def test_elsewhere(terminal: Terminal, lamp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RMFAB_LEDGER selects a different file; an impossible path is an error."""
    shutil.move(lamp / "ledger.db", tmp_path / "elsewhere.db")
    monkeypatch.setenv("RMFAB_LEDGER", str(tmp_path / "elsewhere.db"))
    assert "lamp-0001" in terminal.well("-C", lamp, "status")
    for place, told in (("/nowhere/l.db", "no ledger here"), ("postgresql://u:pw@h/db", "a password does not belong")):
        monkeypatch.setenv("RMFAB_LEDGER", place)
        said = terminal("-C", lamp, "status")
        assert said.code in (3, 4)
        assert told in said.err
        assert "pw" not in said.err


def test_status(terminal: Terminal, lamp: Path) -> None:
    """Batches are printed as a table or a JSON document; an unknown one is an error."""
    head, row = terminal.well("-C", lamp, "status").splitlines()
    assert head.split()[:4] == ["batch", "product", "size", "generated"]
    assert row.split() == ["lamp-0001", "lamp", "3", "3", "0", "0", "0", "0", "0", "0"]
    (document,) = json.loads(terminal.well("-C", lamp, "status", "--json", "lamp-0001"))
    assert (document["batch"], document["size"], document["open"]) == ("lamp-0001", 3, False)
    terminal("-C", lamp, "status", "nope").refused(3, 'no batch "nope"')


def test_trace_and_void(terminal: Terminal, lamp: Path) -> None:
    """`trace` finds a unit by serial and node id, as text and JSON; a void identity stays void and shows the reason."""
    terminal.well("-C", lamp, "void", "LMP-000002", "--reason", "USB torn off")
    assert "already void (USB torn off)" in terminal("-C", lamp, "void", "LMP-000002", "--reason", "again").err
    text = terminal.well("-C", lamp, "trace", "LMP-000002")
    assert text.startswith("LMP-000002  void  batch lamp-0001\n")
    assert "(void: USB torn off)" in text
    assert "None" not in text
    document = json.loads(terminal.well("-C", lamp, "trace", "--json", "LMP-000002"))
    (identity,) = document["identities"]
    assert identity["state"] == "void"
    assert json.loads(terminal.well("-C", lamp, "trace", "--json", identity["node_id"]))["identities"] == [identity]
    terminal("-C", lamp, "trace", "nope").refused(3, '"nope" is not in the ledger')
    terminal("-C", lamp, "void", "nope", "--reason", "x").refused(3, "nope")
    terminal("-C", lamp, "void", "LMP-000001", "--reason", " ").refused(2, "--reason")
    terminal("-C", lamp, "label", "LMP-000002").refused(3, "void")


def test_trace_shows_the_whole_path_of_a_log(terminal: Terminal, lamp: Path) -> None:
    """A log is shown with its whole path, also after the workspace has moved; a whole path in the ledger stays."""
    ts = "2026-01-01T00:00:00.000Z"
    with open_workspace(lamp).ledger as ledger:
        ledger.claim("24:0a:c4:00:00:01", Wish("lamp"), station="t", ts=ts)
        for log in ("logs/a.log", "/var/log/b.log"):
            ledger.record("t", [Event(ts, EventKind.UNIT, serial="LMP-000001", details={"log": log})])
    moved = lamp.rename(lamp.with_name("moved"))
    text = terminal.well("-C", moved, "trace", "LMP-000001")
    document = json.loads(terminal.well("-C", moved, "trace", "LMP-000001", "--json"))
    logs = [f"{moved}/logs/a.log", "/var/log/b.log"]
    assert [event["details"]["log"] for event in document["events"] if event["kind"] == "unit"] == logs
    assert all(f"log {log} (not here)\n" in text for log in logs)
    (moved / "logs").mkdir(exist_ok=True)
    (moved / "logs" / "a.log").touch()
    assert f"log {logs[0]}\n" in terminal.well("-C", moved, "trace", "LMP-000001")


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (("trace", "lmp-000003"), "did you mean LMP-000003?"),
        (("label", "lmp-000003"), "did you mean LMP-000003?"),
        (("void", "lmp-000003", "--reason", "x"), "did you mean LMP-000003?"),
        (("label", "LMP-00003"), "did you mean LMP-000003?"),
        (("label", "lamp-001"), "did you mean lamp-0001?"),
        (("trace", "lamp-0001"), "that is a batch; use `rmfab status lamp-0001`"),
        (("trace", "LMP-000012"), "the ledger has serials from LMP-000001 to LMP-000003"),
        (("void", "LMP-3", "--reason", "x"), "did you mean LMP-000003?"),
        (("trace", "ABC-000001"), "pass a serial, a node id or a MAC"),
        (("trace", "24:0a:c4:00:00:01"), "pass a serial, a node id or a MAC"),
        (("status", "LMP-000003"), "that is a serial; use `rmfab trace LMP-000003`"),
        (("build", "LMP-000003", "-o", "out"), "that is a serial; use `rmfab trace LMP-000003`"),
        (("status", "lamp-0009"), "did you mean lamp-0001?"),
        (("status", "winter"), "list the batches with `rmfab status`"),
    ],
)
def test_hints_for_unknown_names(terminal: Terminal, lamp: Path, argv: tuple[str, ...], hint: str) -> None:
    """A name that the ledger does not know gets the name that it may mean."""
    terminal("-C", lamp, *argv).refused(3, hint)


def test_keeping(terminal: Terminal, lamp: Path) -> None:
    """`check` passes on a sound ledger and fails on an altered one; `rebuild` repairs states; a backup is a ledger."""
    assert "sound" in terminal("-C", lamp, "ledger", "check").err
    assert terminal("-C", lamp, "ledger", "rebuild").err == "rmfab: nothing to repair\n"
    terminal.well("-C", lamp, "ledger", "backup", "b.db")
    terminal("-C", lamp, "ledger", "backup", "b.db").refused(3, "b.db: this file already exists")
    assert Path("b.db").stat().st_mode & 0o777 == 0o600
    change(lamp / "ledger.db", "UPDATE identity SET state = 'void' WHERE serial = 'LMP-000001'")
    said = terminal("-C", lamp, "ledger", "check")
    said.refused(5, "found 1 problem", "`rmfab ledger rebuild`")
    assert "LMP-000001" in said.out
    assert "repaired 1 units" in terminal("-C", lamp, "ledger", "rebuild").err
    terminal.well("-C", lamp, "ledger", "check")
    shutil.copy("b.db", lamp / "ledger.db")
    terminal.well("-C", lamp, "ledger", "check")
