"""The host's record of a pool: what is a valid one, and what is a copy."""

import os
import shutil
import subprocess
import sys
import tarfile
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmfab.errors import StationError
from rmfab.ledger import host_record, record_files
from rmfab.ledger.host import PoolHost, this_host
from rmfab.ledger.host_record import Head, Holding, HostRecord, Unusable

LEDGER = "0" * 32


@pytest.fixture
def record(tmp_path):
    return HostRecord(PoolHost(tmp_path / "state", "machine"), LEDGER)


def write(record, holding):
    with record.hold() as hold:
        hold.replace(holding)


def some(seq=1, host=None):
    return Holding.new(host or PoolHost("", "machine"), {"c" * 32: Head(seq, "f" * 64)})


def test_what_is_written_is_read(record):
    """A record is read back as it was written, also after many writes, and only its owner can read the file."""
    for seq in range(5):
        holding = some(seq)
        write(record, holding)
        assert record.read() == holding
    assert [path.stat().st_mode & 0o777 for path in record.paths] == [0o600, 0o600]
    assert sorted(record.path.parent.iterdir()) == sorted(record.paths)


@settings(max_examples=40)
@given(
    st.dictionaries(st.uuids().map(lambda one: one.hex), st.tuples(st.integers(0, 2**40), st.text("0123456789abcdef")))
)
def test_any_heads_round_trip(tmp_path_factory, heads):
    """Heads of any chains are read back."""
    record = HostRecord(PoolHost(tmp_path_factory.mktemp("s"), "m"), LEDGER)
    holding = Holding.new(PoolHost("", "m"), {chain: Head(*head) for chain, head in heads.items()})
    write(record, holding)
    assert record.read() == holding


def test_a_record_that_is_written_while_it_is_read(record, monkeypatch):
    """Who reads the record without its lock gets what was written meanwhile: own writes never make it void."""
    write(record, some(1))
    _later(record)
    last, stored_in = some(3), host_record.stored_in

    def meanwhile(files, looks):
        monkeypatch.undo()
        write(record, some(2))
        write(record, last)
        return stored_in(files, looks)

    monkeypatch.setattr(host_record, "stored_in", meanwhile)
    assert record.read() == last


def test_a_record_that_is_made_while_it_is_read(record, monkeypatch):
    """Who has opened the first file before the second one existed reads the record once more."""
    opened = host_record.HostRecord._opened

    def meanwhile(self, at, flags):
        found = opened(self, at, flags)
        if at == 1:
            monkeypatch.undo()
            for seq in (1, 2, 3):
                write(record, some(seq))
        return found

    record.path.parent.mkdir()
    record.path.touch(0o600)
    monkeypatch.setattr(host_record.HostRecord, "_opened", meanwhile)
    assert record.read().heads["c" * 32].seq == 3


def test_it_belongs_to_a_machine():
    """A record names its machine by a salted hash: it is valid on that one alone, and does not reveal its id."""
    one, other = PoolHost("", "machine"), PoolHost("", "other")
    assert some(host=one).is_on(one)
    assert not some(host=one).is_on(other)
    assert some(host=one).machine != some(host=one).machine
    assert "machine" not in some(host=one).machine


def test_no_record(record):
    """Without a file there is no record, and nothing is created by reading."""
    assert isinstance(record.read(), Unusable)
    with record.hold() as hold:
        assert isinstance(hold.read(), Unusable)
    assert not record.path.parent.exists()


@pytest.mark.skipif(os.name != "posix", reason="folders that open as files do")
def test_a_folder_in_its_place(record):
    """A folder with the name of the record is an error of the station, for who reads, and for who writes."""
    record.path.mkdir(parents=True)
    with pytest.raises(StationError, match="cannot read the record of this pool"):
        record.read()
    with pytest.raises(StationError, match="cannot open the record of this pool"):
        write(record, some())


def _cp(source, target):
    shutil.copyfile(source, target)


def _cp_a(source, target):
    subprocess.run(["cp", "-a", source, target], check=True)


def _tar(source, target):
    archive = source.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        tar.add(source, "one")
    with tarfile.open(archive) as tar:
        tar.extraction_filter = lambda member, _: member  # as it was; Python before 3.11.4 has no parameter for it
        tar.extractall(source.parent)
    (source.parent / "one").rename(target)


@pytest.mark.slow
@pytest.mark.parametrize("copy", [_cp, _cp_a, _tar])
@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("seq", [2, 3])
def test_a_copy_is_void(record, copy, in_place, seq):
    """A record that a copy or a restore put there is void, with or without its times, in new files or in place."""
    for number in range(1, seq + 1):
        write(record, some(number))
    asides = [_aside(path, copy) for path in record.paths]
    _later(record)
    for path, aside in zip(record.paths, asides, strict=True):
        if in_place:
            copy(aside, path)
        else:
            aside.replace(path)
    assert isinstance(record.read(), Unusable)


@pytest.mark.slow
@pytest.mark.parametrize("copy", [_cp, _cp_a, _tar])
@pytest.mark.parametrize("between", [1, 2, 3])
@pytest.mark.parametrize("which", [0, 1])
def test_one_file_of_a_backup(record, copy, between, which):
    """A restore that puts back one file of the two never makes the record forget anything."""
    for number in (1, 2):
        write(record, some(number))
    aside = _aside(record.paths[which], copy)
    for number in range(3, 3 + between):
        write(record, some(number))
    _later(record)
    copy(aside, record.paths[which])
    got = record.read()
    assert isinstance(got, Unusable) or got.heads["c" * 32].seq == 2 + between


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("how", ["removed", "emptied", "replaced"])
def test_one_file_is_gone(record, which, how):
    """Without one of its files, a record never counts with less than it said."""
    for number in (1, 2, 3):
        write(record, some(number))
    path = record.paths[which]
    path.unlink() if how == "removed" else path.write_bytes(b"" if how == "emptied" else b"x" * 5000)
    assert isinstance(record.read(), Unusable)
    write(record, holding := some(4))
    assert record.read() == holding


def _aside(path, copy):
    aside = path.with_name(f"aside{path.suffix}")
    copy(path, aside)
    return aside


def _later(record):
    """Wait until a file changed now would have a time that is not the record's."""
    until = max(path.stat().st_mtime_ns for path in record.paths) + 2 * record_files.TOLERANCE_NS
    while time.time_ns() < until:
        time.sleep(0.01)


def test_a_moved_folder_is_valid(record, tmp_path):
    """Moving the state folder keeps the record."""
    holding = some()
    write(record, holding)
    _later(record)
    record.path.parent.rename(tmp_path / "moved")
    assert HostRecord(PoolHost(tmp_path / "moved", "machine"), LEDGER).read() == holding


@pytest.mark.parametrize("damage", ["newest", "cut", "empty", "garbage", "both"])
def test_damage_is_found(record, damage):
    """A damaged record is never read as a different one: it is void, or the previous one if its times say so."""
    write(record, some(1))
    write(record, some(2))
    for path in record.paths if damage == "both" else (_newest(record),):
        data = bytearray(path.read_bytes())
        data[len(data) - 9] ^= 1
        path.write_bytes({"cut": data[:40], "empty": b"", "garbage": os.urandom(len(data))}.get(damage, data))
    got = record.read()
    assert isinstance(got, Unusable) or got.heads["c" * 32].seq == 1


def _newest(record):
    return max(record.paths, key=lambda path: path.stat().st_mtime_ns)


class Killed(BaseException):
    """The process is killed here."""


@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_a_write_that_is_cut_off(record, monkeypatch, last):
    """A process that is killed in the middle of a write, long after the last one, leaves what was there before."""
    for number in range(1, last + 1):
        write(record, some(number))
    _later(record)

    def torn(descriptor, data):
        os.pwrite(descriptor, data[: len(data) // 2], 0)
        raise Killed

    for _ in range(3):  # and the next one, too
        with monkeypatch.context() as broken:
            broken.setattr(record_files, "pwrite", torn)
            with pytest.raises(Killed):
                write(record, some(99))
        assert record.read().heads["c" * 32].seq == last
    write(record, holding := some(last + 1))
    assert record.read() == holding


@pytest.mark.parametrize("last", [2, 3])
def test_a_late_write_that_is_not_repeated(record, monkeypatch, last):
    """A process that had to wait before it wrote, and is killed before it writes again, leaves what it wrote: it
    demands more of the ledger than what was there before."""
    for number in range(1, last + 1):
        write(record, some(number))
    _later(record)

    def late(descriptor, data):
        os.pwrite(descriptor, data, 0)
        raise Killed

    for number in (last + 1, last + 2):
        with monkeypatch.context() as broken:
            broken.setattr(record_files, "pwrite", late)
            broken.setattr(record_files.time, "time_ns", lambda: 1)
            with pytest.raises(Killed):
                write(record, some(number))
        assert record.read().heads["c" * 32].seq == number
    write(record, holding := some(last + 3))
    assert record.read() == holding


def test_a_write_that_reached_the_disk_without_its_times(record, monkeypatch):
    """After a power cut between content and times, what was written counts: the file before it is proven."""
    write(record, some(1))
    write(record, some(2))
    before, real, newest = _newest(record).stat(), os.fstat, some(4)
    write(record, some(3))
    _later(record)
    write(record, newest)
    inode = _newest(record).stat().st_ino
    assert inode == before.st_ino
    # No program can set a ctime.
    monkeypatch.setattr(record_files.os, "fstat", lambda one: before if real(one).st_ino == inode else real(one))
    assert record.read() == newest
    monkeypatch.undo()
    write(record, holding := some(5))
    assert record.read() == holding


def test_a_slow_machine_writes_again(record, monkeypatch):
    """If the process had to wait between the look at the clock and the write, the record is written once more."""
    real, calls = time.time_ns, []

    def slow():
        calls.append(1)
        return real() - (10**12 if len(calls) < 4 else 0)

    monkeypatch.setattr(record_files, "TOLERANCE_NS", 10**11)  # more than this machine may really have to wait
    monkeypatch.setattr(record_files.time, "time_ns", slow)
    write(record, holding := some())
    assert record.read() == holding
    assert len(calls) == 5  # four for the first file


def test_a_file_system_without_times(record, monkeypatch):
    """A folder whose file system has a different clock is refused, with the variable that selects a different one."""
    monkeypatch.setattr(record_files.time, "time_ns", lambda: 1)
    with pytest.raises(StationError, match="does not keep the time") as caught:
        write(record, some())
    assert (caught.value.cause, "RMFAB_STATE" in caught.value.hint) == ("no-state-folder", True)


def test_one_process_at_a_time(record):
    """A record that a different process holds is waited for, and then reported as locked; threads share a hold."""
    write(record, some())
    other = HostRecord(PoolHost(record.path.parent, "machine"), LEDGER)  # its own descriptor, as in a different process
    with record.hold() as first, record.hold() as second:
        assert first.read() == second.read()
        with pytest.raises(StationError) as caught, other.hold(patience=0.05) as third:
            third.read()
        assert caught.value.cause == "ledger-locked"
    with other.hold(patience=0.05) as third:
        assert isinstance(third.read(), Holding)


def test_a_record_that_is_made_during_a_hold(record):
    """Who found none and has locked the server since then reads a new one without its lock; a write waits for it."""
    other = HostRecord(PoolHost(record.path.parent, "machine"), LEDGER)
    made = some(3)
    with record.hold(patience=0.05) as hold:
        assert isinstance(hold.read(), Unusable)
        with other.hold() as theirs:
            theirs.replace(made)
            assert hold.read() == made
            with pytest.raises(StationError) as caught:
                hold.add({"d" * 32: Head(1, "d" * 64)})
            assert caught.value.cause == "ledger-locked"
        hold.add({"d" * 32: Head(1, "d" * 64)})
    assert set(record.read().heads) == {"c" * 32, "d" * 32}


def test_heads_never_go_back(record):
    """Of changes that share a commit, each adds its heads; an older one does not replace a newer one."""
    write(record, some(5))
    with record.hold() as hold:
        for seq in (7, 6, 4):
            hold.add({"c" * 32: Head(seq, f"{seq}" * 64), "d" * 32: Head(seq, "d" * 64)})
    assert {chain[0]: head.seq for chain, head in record.read().heads.items()} == {"c": 7, "d": 7}


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX resource limits")
def test_a_full_disk(record):
    """If the record cannot be written, the error says so, and the old record is not replaced by a part of the new."""
    code = (
        "import resource, sys; from rmfab.errors import StationError; from tests.ledger.test_host_record import *;"
        f"record = HostRecord(PoolHost(__import__('pathlib').Path({str(record.path.parent)!r}), 'machine'), LEDGER);"
        "write(record, some(1)); resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0));\n"
        "try: write(record, some(2))\n"
        "except StationError as error: print(error.cause)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "disk-full"
    assert record.read().heads["c" * 32].seq == 1


def test_the_state_folder(monkeypatch, tmp_path):
    """RMFAB_STATE selects the folder; else it is /var/lib/rmfab if that can be written, else the user's."""
    monkeypatch.setenv("RMFAB_STATE", str(tmp_path / "given"))
    assert this_host().state == tmp_path / "given"
    monkeypatch.delenv("RMFAB_STATE")
    monkeypatch.setattr("rmfab.ledger.host._SYSTEM_STATE", tmp_path)
    assert this_host().state == tmp_path
    monkeypatch.setattr("rmfab.ledger.host._SYSTEM_STATE", tmp_path / "none")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert this_host().state == tmp_path / "xdg" / "rmfab"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert this_host().state == tmp_path / "home/.local/state/rmfab"
