"""Tests of files: they appear complete or not at all, and replace only equal files."""

from __future__ import annotations

import dis
import errno
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab import files
from rmfab.errors import InputError, RmfabError, StationError
from rmfab.files import (
    FolderWriter,
    changing,
    file_error,
    is_safe_name,
    make_folder,
    output_file,
    output_path,
    read_input,
    refuse_output,
    shipped,
    sweep,
    temporary_folder,
    write_file,
    writer_in,
)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@given(st.text(max_size=70))
def test_safe_names(name: str) -> None:
    """A safe name is one path component of 1 to 64 plain characters, never hidden."""
    if is_safe_name(name):
        assert 1 <= len(name) <= 64
        assert Path("a", name).parts == ("a", name)
        assert not name.startswith(".")
        assert name.isascii()
        assert name.isprintable()


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "a\\b", "a b", "a\n", "a\0", "é", "x" * 65, "../a", "/a"])
def test_unsafe_names(name: str) -> None:
    """A name that leaves the folder, is hidden, or is not a portable file name is rejected."""
    assert not is_safe_name(name)


def test_a_file_is_written_once(tmp_path: Path) -> None:
    """An absent file is written, an equal one kept, a different one kept with an error; force replaces it."""
    path = tmp_path / "a"
    assert write_file(path, b"one")
    before = path.stat()
    assert not write_file(path, b"one")
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with pytest.raises(InputError, match="different content") as caught:
        write_file(path, b"two")
    assert (caught.value.where, caught.value.cause) == (str(path), "exists")
    assert path.read_bytes() == b"one"
    assert write_file(path, b"two", force=True)
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["a"]


def test_modes(tmp_path: Path) -> None:
    """A secret file is 0600 and a secret folder 0700 whatever the umask, even if a file is replaced."""
    before = os.umask(0)
    try:
        folder = make_folder(tmp_path / "a" / "b", secret=True)
        write_file(folder / "s", b"x", secret=True)
        write_file(folder / "s", b"y", secret=True, force=True)
        write_file(folder / "p", b"x")
    finally:
        os.umask(before)
    assert (mode(folder), mode(folder / "s"), mode(folder / "p")) == (0o700, 0o600, 0o666)


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """If the block raises, neither the target nor the temporary file stays; an old target is unchanged."""
    path = tmp_path / "a"

    def cut_short(error: BaseException, force: bool) -> None:
        with output_file(path, force=force) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(KeyboardInterrupt):
        cut_short(KeyboardInterrupt(), force=False)
    assert names(tmp_path) == []
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="mid"):
        cut_short(ValueError("mid"), force=True)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """A write that fails on a full disk is a StationError with the path; nothing is left half-written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(StationError, match="cannot write") as caught:
            write_file(tmp_path / "a", b"x" * 10000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert caught.value.where == str(tmp_path / "a")
    assert names(tmp_path) == []


@pytest.mark.parametrize("force", [False, True])
def test_targets_that_cannot_be(tmp_path: Path, force: bool) -> None:
    """A folder in the way, and a parent that is missing or a file, are errors with the path."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for target in (tmp_path / "folder", tmp_path / "nowhere" / "a", tmp_path / "file" / "a"):
        with pytest.raises(InputError) as caught:
            write_file(target, b"x", force=force)
        assert caught.value.where == str(target)
    with pytest.raises(InputError):
        make_folder(tmp_path / "file")
    with pytest.raises(InputError):
        make_folder(tmp_path / "file" / "a")
    assert names(tmp_path) == ["file", "folder"]


@pytest.mark.skipif(os.name != "posix", reason="pipes with names")
@pytest.mark.parametrize("force", [False, True])
def test_devices_and_pipes_keep_their_place(tmp_path: Path, force: bool) -> None:
    """Neither a pipe nor a device is replaced by a file, also behind a link, as /dev/stdout is."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to(os.devnull)
    for target in (tmp_path / "pipe", tmp_path / "null"):
        with pytest.raises(InputError, match="is a device or a pipe, expected a file"):
            write_file(target, b"x", force=force)
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "null").is_char_device()


def test_a_place_is_tried_before_the_work(tmp_path: Path) -> None:
    """A place that cannot be written is an error before there is anything to write; one that can is left as it is."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"x")
    for target in (tmp_path / "folder", tmp_path / "nowhere" / "a", tmp_path / "file" / "a"):
        with pytest.raises(InputError) as caught:
            refuse_output(target)
        assert caught.value.where == str(target)
    refuse_output(tmp_path / "file")
    refuse_output(tmp_path / "new")
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"x"


def test_the_second_of_two_writers_does_not_win(tmp_path: Path) -> None:
    """Of several concurrent writers exactly one writes its content; the others get an error."""
    told: list[InputError] = []
    gate = threading.Barrier(8)

    def write(data: bytes) -> None:
        try:
            with output_file(tmp_path / "a") as stream:
                stream.write(data)
                gate.wait()
        except InputError as error:
            told.append(error)

    threads = [threading.Thread(target=write, args=(b"%d" % number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 7
    assert names(tmp_path) == ["a"]


def test_nobody_loses_what_another_adds_to_a_file(tmp_path: Path) -> None:
    """Concurrent processes that read and replace a file find each other's changes; no lock file is left behind."""
    path = tmp_path / "a"
    path.write_bytes(b"")

    def add() -> None:
        for _ in range(25):
            with changing(path):
                write_file(path, path.read_bytes() + b"x", force=True, sync=False)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == b"x" * 100
    assert names(tmp_path) == ["a"]


def test_changing_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A file that cannot be opened is not locked; reading it reports the error."""
    with changing(tmp_path / "a"), pytest.raises(InputError, match="cannot read"):
        read_input(tmp_path / "a")
    assert names(tmp_path) == []


def test_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system without hard links the same rules apply."""

    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(self))

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    assert write_file(tmp_path / "a", b"one")
    with pytest.raises(InputError, match="different content"):
        write_file(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert names(tmp_path) == ["a"]


def test_reading(tmp_path: Path) -> None:
    """A file that cannot be read is an InputError with its path and kind."""
    with pytest.raises(InputError, match="cannot read this config: No such file"):
        read_input(tmp_path / "a", "config")
    with pytest.raises(InputError, match="Is a directory"):
        read_input(tmp_path)


def test_what_is_too_large_to_read(tmp_path: Path) -> None:
    """A file beyond the limit, or without end, is rejected; an impossible file name is an error, not a crash."""
    (tmp_path / "a").write_bytes(b"x" * 10)
    assert read_input(tmp_path / "a", most=10) == b"x" * 10
    for path in (tmp_path / "a", Path("/dev/zero")):
        with pytest.raises(InputError, match="too large for a key"):
            read_input(path, "key", most=9)
    for name in ("a\0b", "n" * 300):
        with pytest.raises(InputError, match="cannot read"):
            read_input(tmp_path / name)


def test_shipped_files() -> None:
    """Templates and samples are found; the error for a missing one names the places searched."""
    assert shipped("templates", "product.toml").is_file()
    assert shipped("csv", "config.csv").is_file()
    with pytest.raises(FileNotFoundError, match="searched"):
        shipped("templates", "nothing.toml")


_KILLED = """
import os, signal, sys
from pathlib import Path
from rmfab.files import output_file
with output_file(Path(sys.argv[1]), secret=True) as stream:
    stream.write(b"half")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    """A temporary file of a killed process goes with the next file that is written in its folder."""
    subprocess.run([sys.executable, "-c", _KILLED, tmp_path / "values.csv"], check=False)
    (left,) = names(tmp_path)
    assert left.startswith(".values.csv.")
    (tmp_path / f"{left}-journal").touch()
    write_file(tmp_path / "other", b"x")
    assert names(tmp_path) == ["other"]


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX systems")
def test_only_leftovers_are_swept(tmp_path: Path) -> None:
    """Files that are being written stay, and so do all other hidden files; a folder that does not exist is fine."""
    (tmp_path / ".draft.0123abcd.tmp").touch()
    (tmp_path / ".dead.0123abcd.rmfab-tmp").touch()
    with output_file(tmp_path / "a") as stream:
        stream.write(b"one")
        (at_work,) = (name for name in names(tmp_path) if name.startswith(".a."))
        assert names(tmp_path) == [at_work, ".draft.0123abcd.tmp"]
        sweep(tmp_path)
        sweep(tmp_path / "nowhere")
        assert names(tmp_path) == [at_work, ".draft.0123abcd.tmp"]
    assert names(tmp_path) == [".draft.0123abcd.tmp", "a"]


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_sweep_follows_no_link(tmp_path: Path) -> None:
    """A link with the name of a leftover does not remove what it refers to."""
    (tmp_path / "precious").write_bytes(b"x")
    (tmp_path / ".a.0123abcd.rmfab-tmp").symlink_to(tmp_path / "precious")
    sweep(tmp_path)
    assert (tmp_path / "precious").read_bytes() == b"x"


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX systems")
def test_a_name_that_is_used_again_is_not_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a different process swept the file first and its writer began again, the new file of that name stays."""
    name = tmp_path / ".a.0123abcd.rmfab-tmp"
    name.touch()

    def replaced(_: int, *, wait: bool) -> bool:
        name.unlink()
        name.write_bytes(b"at work")
        return not wait

    monkeypatch.setattr("rmfab.files._try_lock", replaced)
    sweep(tmp_path)
    assert name.read_bytes() == b"at work"


@pytest.mark.skipif(os.name != "posix", reason="nothing is swept on Windows")
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_folder_that_is_swept_as_it_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """If a process sweeps while a temporary folder is made, before or after it is opened, a new one is made."""
    lock, swept = files._lock_folder, []

    def swept_meanwhile(folder: Path) -> int | None:
        if swept:
            return lock(folder)
        swept.append(folder)
        descriptor = lock(folder) if when == "after" else None
        folder.rmdir()
        return lock(folder) if when == "before" else descriptor

    monkeypatch.setattr(files, "_lock_folder", swept_meanwhile)
    with files.temporary_folder(tmp_path / "target") as folder:
        assert folder.is_dir()
        assert folder not in swept
    assert list(tmp_path.iterdir()) == []


def test_writers_and_sweepers_at_once(tmp_path: Path) -> None:
    """Many writers that sweep the same folder all complete their files."""

    def write(number: int) -> None:
        for turn in range(20):
            write_file(tmp_path / f"{number}-{turn}", b"x" * 1000)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(tmp_path)) == 160


@pytest.mark.parametrize(
    ("number", "kind", "cause"),
    [
        (errno.ENOSPC, StationError, "disk-full"),
        (errno.EDQUOT, StationError, "disk-full"),
        (errno.EMFILE, StationError, "too-many-files"),
        (errno.ENFILE, StationError, "too-many-files"),
        (errno.EIO, StationError, "disk-error"),
        (errno.EACCES, InputError, "no-permission"),
        (errno.ENOENT, InputError, "bad-input"),
    ],
)
def test_who_must_act(number: int, kind: type[RmfabError], cause: str) -> None:
    """What this host is short of is the station's fault (exit code 4), a wrong path or mode the caller's (3).

    Each has a hint.
    """
    error = file_error("cannot write this file", OSError(number, os.strerror(number)), "a")
    assert (type(error), error.cause, error.where) == (kind, cause, "a")
    assert error.hint


@pytest.mark.skipif(os.name != "posix", reason="resource limits")
def test_a_read_only_disk_has_a_hint(tmp_path: Path) -> None:
    """Where nothing can be written, the hint says to go elsewhere."""
    told = file_error("cannot write this file", OSError(errno.EROFS, "Read-only file system"), str(tmp_path / "a"))
    assert told.hint == "its disk is read-only: choose a different place"


def test_too_many_open_files(tmp_path: Path) -> None:
    """A process that may open no more files gets that said, and nothing half-written."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(StationError) as caught:
            write_file(tmp_path / "a", b"x", sync=False)
        with pytest.raises(StationError) as read:
            read_input(Path(__file__))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (caught.value.cause, read.value.cause) == ("too-many-files", "too-many-files")
    assert names(tmp_path) == []


def test_a_path_for_other_writers(tmp_path: Path) -> None:
    """A file that is written by its name appears with the block's success, and not at all with its failure."""
    with output_path(tmp_path / "a", secret=True) as path:
        path.write_bytes(b"one")
        assert not (tmp_path / "a").exists()
    assert ((tmp_path / "a").read_bytes(), mode(tmp_path / "a")) == (b"one", 0o600)

    def fails() -> None:
        with output_path(tmp_path / "b") as path:
            path.write_bytes(b"half")
            raise ValueError("mid")

    with pytest.raises(ValueError, match="mid"):
        fails()
    assert names(tmp_path) == ["a"]


def test_many_files(tmp_path: Path) -> None:
    """A FolderWriter writes whole files with their mode, keeps equal ones, and replaces others only with force."""
    writer = FolderWriter(tmp_path, secret=True)
    big = bytes(range(256)) * 4096
    assert writer.write("a.bin", big)
    assert writer.write("b", b"")
    assert (tmp_path / "a.bin").read_bytes() == big
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    again = FolderWriter(tmp_path, secret=True)
    assert not again.write("a.bin", big)
    for late in (writer, again):
        with pytest.raises(InputError, match="different content") as caught:
            late.write("a.bin", b"other")
        assert caught.value.where == str(tmp_path / "a.bin")
    assert FolderWriter(tmp_path, force=True).write("a.bin", b"other")
    assert (tmp_path / "a.bin").read_bytes() == b"other"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "b"]


def test_many_files_that_cannot_be_written(tmp_path: Path) -> None:
    """A name that is a folder, or not possible, is an input error, and leaves no temporary file."""
    (tmp_path / "folder").mkdir()
    for force in (False, True):
        with pytest.raises(InputError):
            FolderWriter(tmp_path, force=force).write("folder", b"x")
        with pytest.raises(InputError, match="cannot write"):
            FolderWriter(tmp_path, force=force).write("n" * 300, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def _in_folder(folder: Path) -> None:
    with temporary_folder(folder / "batch") as own:
        (own / "values.csv").write_bytes(b"secret")


def _as_writer(folder: Path) -> None:
    with writer_in(folder):
        pass


_NOP = dis.opmap["NOP"]  # at the start of a `try`; Python looks for signals after calls, at jumps and in new frames


def interrupted(action: Callable[[], object], moment: int) -> bool:
    """Run *action*, with ^C before the instruction number *moment* of rmfab.files; return whether it has so many."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if frame.f_code.co_filename != files.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and frame.f_code.co_code[frame.f_lasti] != _NOP:
            count += 1
            if count == moment:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize(
    "action",
    [
        lambda folder: FolderWriter(folder).write("LMP-000061.bin", b"image"),
        lambda folder: write_file(folder / "batch.csv", b"id,key", sync=False),
        _in_folder,
        _as_writer,
    ],
    ids=["FolderWriter", "write_file", "temporary_folder", "writer_in"],
)
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_no_interrupt_leaves_a_temporary_file(tmp_path: Path, action: Callable[[Path], object]) -> None:
    """Whatever the moment of ^C, what a command wrote aside is removed before it ends."""
    moment, more = 0, True
    gc.freeze()  # each collection looks only at what the interrupted writer left
    try:
        while more:
            moment += 1
            folder = make_folder(tmp_path / str(moment))
            more = interrupted(lambda folder=folder: action(folder), moment)
            gc.collect()
            assert not [name for name in names(folder) if "rmfab-tmp" in name], moment
    finally:
        gc.unfreeze()
    assert moment > 50
