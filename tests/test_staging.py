"""Files and the record of them: both or neither, on a full disk, with a locked ledger, and after kill -9."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from rmfab import files, staging
from rmfab.errors import InputError, LedgerError, StationError
from rmfab.ledger.events import EventKind
from rmfab.ledger.sql import sqlite
from rmfab.ledger.store import Ledger
from rmfab.operations.print_labels import LabelForm, LabelRequest, print_labels
from rmfab.staging import StagedFiles, staged_files
from rmfab.workspace.workspace import open_workspace
from tests.commands.conftest import lamp, workshop
from tests.killed import killer
from tests.terminal import environment, words
from tests.terminal import files as contents

__all__ = ["lamp", "workshop"]
UNIT = "LMP-000001"


def recorded(folder: Path) -> int:
    """Return how often the unit's label was printed, as the ledger records it."""
    with open_workspace(folder).ledger as ledger:
        return sum(stored.event.kind is EventKind.LABEL for stored in ledger.history(UNIT))


def label(folder: Path, output: Path, *, force: bool = False) -> None:
    workspace = open_workspace(folder)
    try:
        print_labels(workspace, LabelRequest((UNIT,), LabelForm.SVG, output, force=force))
    finally:
        workspace.ledger.close()


def made(where: Path, names: dict[str, bytes], *, force: bool = False) -> Callable[[Any], None]:
    """Return a function that publishes *names* in the folder *where* with a record."""

    def publish(record: Any) -> None:
        with staged_files(where / next(iter(names)), force=force) as staged:
            for name, data in names.items():
                staged.add(where / name, data)
            staged.publish(record)

    return publish


@contextmanager
def a_record_that_fails(where: Path, seen: list[dict[str, bytes]]) -> Iterator[None]:
    """A transaction that cannot be committed: it notes the files that were in place just before."""
    yield
    seen.append({name: data for name, data in contents(where).items() if not name.startswith(".")})
    raise LedgerError("the disk is full", cause="ledger-full")


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("force", [False, True])
def test_a_record_that_fails_takes_the_files_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, force: bool, links: bool
) -> None:
    """New files are gone, replaced ones are as they were, and one that was there with the same content stays."""
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    (tmp_path / "same").write_bytes(b"same")
    before = {"same": b"same"}
    if force:
        (tmp_path / "old").write_bytes(b"before")
        before["old"] = b"before"
    wanted = {"new": b"1", "old": b"2", "same": b"same"}
    seen: list[dict[str, bytes]] = []
    with pytest.raises(LedgerError):
        made(tmp_path, wanted, force=force)(a_record_that_fails(tmp_path, seen))
    assert seen == [wanted]
    assert contents(tmp_path) == before


def _no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_files_are_private_and_synced(tmp_path: Path) -> None:
    """What is published is 0600, whatever the umask, and nothing else is left in the folder."""
    made(tmp_path, {"a": b"1", "b": b"2"})(nullcontext())
    assert contents(tmp_path) == {"a": b"1", "b": b"2"}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["open", "fsync", "mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_at_every_call(
    lamp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    """Whichever call finds the disk full, neither the files nor the record are there, and the error says so."""
    target = tmp_path / "out" / "a.svg"
    target.parent.mkdir()
    real, left = getattr(os, name), [0]

    def full(*arguments: Any, **named: Any) -> Any:
        needs_space = name != "open" or arguments[1] & os.O_CREAT
        if (needs_space and any(str(target.parent) in str(one) for one in arguments)) or name == "fsync":
            left[0] -= 1
            if left[0] == 0:
                raise OSError(number, os.strerror(number), str(target))
        return real(*arguments, **named)

    monkeypatch.setattr(os, name, full)
    for turn in range(1, 20):
        left[0] = turn
        causes = _causes(lambda: label(lamp, target))
        if not causes:
            break
        left[0] = 0
        assert (causes, contents(target.parent), recorded(lamp)) == (["disk-full"], {}, 0)
    assert turn > 1
    assert recorded(lamp) == 1
    assert list(contents(target.parent)) == ["a.svg"]


def _causes(work: Callable[[], None]) -> list[str | None]:
    try:
        work()
    except StationError as error:
        return [error.cause]
    return []


@pytest.mark.slow
def test_a_disk_that_fills_up(lamp: Path, tmp_path: Path) -> None:
    """With any limit on the size of files, `label` leaves the sheet and its record, or neither."""
    out = tmp_path / "out"
    out.mkdir()
    ends = set()
    for limit in (0, 4096, 12_000, 20_000, 40_000, 80_000, 400_000):
        before = recorded(lamp)
        command = words("-C", lamp, "label", "lamp-0001", "-o", out / "labels.pdf")
        limited = f'ulimit -f {limit // 512}; exec "$@"'
        done = subprocess.run(
            ["sh", "-c", limited, "sh", *command], env=environment(), capture_output=True, text=True, check=False
        )
        ends.add(done.returncode)
        assert "bug" not in done.stderr
        both = (list(contents(out)), recorded(lamp) - before)
        assert both == ((["labels.pdf"], 1) if done.returncode == 0 else ([], 0)), (limit, done.stderr)
        (out / "labels.pdf").unlink(missing_ok=True)
    assert ends == {0, 4}


def test_a_locked_ledger(lamp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a different process holds the ledger, no file appears; when the patience ends, none is there."""
    monkeypatch.setattr("rmfab.ledger.store.PATIENCE", 0.2)
    monkeypatch.setattr(Ledger.open.__func__, "__kwdefaults__", {"patience": 0.2, "host": None})
    with Ledger.open(lamp / "ledger.db", create=False) as other, other._database.writing():
        with pytest.raises(LedgerError) as caught:
            label(lamp, tmp_path / "a.svg")
        assert caught.value.cause == "ledger-locked"
    assert not (tmp_path / "a.svg").exists()
    assert recorded(lamp) == 0


def test_a_folder_of_pictures(lamp: Path, tmp_path: Path) -> None:
    """One picture that cannot be written keeps all others of the folder away, and a new folder too."""
    workspace = open_workspace(lamp)
    request = LabelRequest(("lamp-0001",), LabelForm.SVG, tmp_path / "pictures")
    seen: list[dict[str, bytes]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "labelling", lambda *_, **__: a_record_that_fails(tmp_path / "pictures", seen))
        with pytest.raises(LedgerError):
            print_labels(workspace, request)
    assert [len(one) for one in seen] == [3]
    assert not (tmp_path / "pictures").exists()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "LMP-000002.svg").write_text("mine")
    with pytest.raises(InputError, match="already exists with different content"):
        print_labels(workspace, request)
    assert contents(tmp_path / "pictures") == {"LMP-000002.svg": b"mine"}
    workspace.ledger.close()
    assert recorded(lamp) == 0


@pytest.mark.parametrize("force", [False, True])
def test_devices_and_pipes_keep_their_place(tmp_path: Path, force: bool) -> None:
    """Neither a pipe nor a device is replaced by a file with a record, also behind a link, as /dev/stdout is."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to(os.devnull)
    for name in ("pipe", "null"):
        for names in ({name: b"1"}, {"a": b"1", name: b"2"}):
            with pytest.raises(InputError, match="is a device or a pipe, expected a file"):
                made(tmp_path, names, force=force)(nullcontext())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["null", "pipe"]
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "null").is_char_device()


def test_an_interruption_waits_for_both(tmp_path: Path) -> None:
    """^C that comes while the files are put in place or the record is committed leaves both."""
    committed = []

    @contextmanager
    def interrupted() -> Iterator[None]:
        yield
        signal.raise_signal(signal.SIGINT)
        committed.append(True)

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, {"a": b"1"})(interrupted())
    assert committed == [True]
    assert contents(tmp_path) == {"a": b"1"}


_PLACES = (str(staging.__file__), str(files.__file__), str(sqlite.__file__))
"""What puts files and record in place."""


def _killed(folder: Path, output: Path, turn: int) -> bool:
    """Make the label in a child that is killed at its *turn*-th line; return False if it ended before."""
    child = os.fork()
    if child == 0:
        workspace = open_workspace(folder)
        _ = workspace.ledger
        original = StagedFiles.publish

        def traced(self: StagedFiles, record: Any) -> None:
            sys.settrace(killer(turn, _PLACES))
            original(self, record)

        StagedFiles.publish = traced  # type: ignore[method-assign]
        print_labels(workspace, LabelRequest((UNIT,), LabelForm.SVG, output))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_is_killed(lamp: Path, tmp_path: Path) -> None:
    """Killed at any line from the first sync to the end: never a record without its file, and the same command leaves
    the complete file, its record, and nothing else."""
    out = tmp_path / "out"
    label(lamp, tmp_path / "first.svg")
    whole = (tmp_path / "first.svg").read_bytes()
    ends, turn, killed = set(), 0, True
    while killed:
        turn += 3
        out.mkdir()
        before = recorded(lamp)
        killed = _killed(lamp, out / "a.svg", turn)
        there = (out / "a.svg").exists()
        ends.add((there, recorded(lamp) - before))
        assert not there or (out / "a.svg").read_bytes() == whole
        label(lamp, out / "a.svg")
        assert contents(out) == {"a.svg": whole}
        assert [path.name for path in out.iterdir()] == ["a.svg"]
        assert recorded(lamp) - before in (1, 2)
        (out / "a.svg").unlink()
        out.rmdir()
    assert ends == {(False, 0), (True, 0), (True, 1)}
    assert turn > 50
