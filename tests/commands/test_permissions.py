"""Workspaces that this user may not read or not write: reading works where it can, and what is wrong has its name."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rmfab.errors import InputError, LedgerError
from rmfab.ledger.sql import read_only
from rmfab.ledger.store import Ledger
from rmfab.operations.passphrases import CA_ENVIRONMENT, Passphrases
from rmfab.product.vocabulary import Chip
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.workspace.workspace import open_workspace
from tests.operations.notebook import Notebook
from tests.patience import PATIENCE
from tests.terminal import Said, environment, words

# Root may read and write everything, unless the process lacks these two capabilities (capabilities(7)).
_AS_ANYONE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
pytestmark = pytest.mark.skipif(
    sys.platform == "win32" or bool(_AS_ANYONE and shutil.which("setpriv") is None), reason="needs POSIX modes, setpriv"
)
READING = [("status",), ("trace", "LMP-000001"), ("ledger", "check")]


def as_anyone(*argv: str, **more: str) -> Said:
    """Run rmfab as a user to whom file modes apply."""
    command = [*_AS_ANYONE, *words(*argv)]
    done = subprocess.run(
        command, env=environment(**more), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def closed(lamp: Path):
    """The workspace; its modes are restored after the test."""
    yield lamp
    for path in (lamp, *lamp.rglob("*")):
        path.chmod(0o700)


def lock(folder: Path) -> None:
    """Take the write permission from *folder* and everything in it."""
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o500 if path.is_dir() else 0o400)


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("argv", READING, ids=" ".join)
def test_reading_needs_no_write_permission(closed: Path, argv: tuple[str, ...]) -> None:
    """What only reads works in a read-only folder, says how it reads, and prints the same as the owner sees."""
    expected = as_anyone("-C", str(closed), *argv)
    lock(closed)
    before = contents(closed)
    said = as_anyone("-C", str(closed), *argv)
    assert (said.code, said.out) == (0, expected.out), said.err
    assert "read from a private copy" in said.err
    assert contents(closed) == before


@pytest.mark.parametrize("argv", READING, ids=" ".join)
def test_what_is_still_in_the_wal_is_read_too(closed: Path, argv: tuple[str, ...]) -> None:
    """Events that a killed station left in the WAL are part of the ledger in a read-only folder as well."""
    writer = sqlite3.connect(closed / "ledger.db", isolation_level=None)
    writer.execute("PRAGMA user_version = 7")  # leaves a WAL while the connection is open
    assert (closed / "ledger.db-wal").stat().st_size
    lock(closed)
    said = as_anyone("-C", str(closed), *argv)
    writer.close()
    assert said.code == 0, said.err


@pytest.mark.parametrize("argv", READING, ids=" ".join)
def test_read_only_media(closed: Path, argv: tuple[str, ...]) -> None:
    """On a read-only file system the ledger is read in place, without a copy."""
    assert as_anyone("-C", str(closed), "status").code == 0  # closes the ledger: no WAL is left
    mount = f"mount --bind {closed} {closed} && mount -o remount,bind,ro {closed}"
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no right to mount")
    command = ["unshare", "-m", "sh", "-ec", f'{mount}; exec "$@"', "sh", *words("-C", str(closed), *argv)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert "the ledger is read as it is there" in done.stderr


@pytest.mark.parametrize("argv", [("status",), ("void", "LMP-000001", "--reason", "x", "--yes")], ids=" ".join)
def test_a_full_disk(closed: Path, argv: tuple[str, ...]) -> None:
    """On a disk without a free block nothing can even be read, and the error says why, not that the disk is broken."""
    assert as_anyone("-C", str(closed), "status").code == 0  # closes the ledger: no -shm is left
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no right to mount")
    full = f"mkdir {closed}.full; mount -t tmpfs -o size=1m tmpfs {closed}.full; cp -R {closed}/. {closed}.full"
    full += f"; cat /dev/zero >{closed}.full/zero 2>/dev/null || true"
    command = ["unshare", "-m", "sh", "-ec", f'{full}; exec "$@"', "sh", *words("-C", f"{closed}.full", *argv)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 4, done.stderr
    assert "ledger.db: the disk is full; nothing was written\nrmfab: hint: free disk space" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "argv", [("void", "LMP-000001", "--reason", "x"), ("generate", "--count", "1"), ("ledger", "rebuild")], ids=" ".join
)
def test_nothing_is_written_to_a_copy(closed: Path, argv: tuple[str, ...]) -> None:
    """What must write is refused at once as `ledger-read-only`: it is not lost in a private copy."""
    lock(closed)
    said = as_anyone("-C", str(closed), *argv, "--json")
    assert said.code == 4, said.err
    assert json.loads(said.out)["errors"][0]["class"] == "ledger-read-only"


def test_a_copy_is_removed(closed: Path, tmp_path: Path) -> None:
    """The private copy is gone after the command."""
    lock(closed)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    assert as_anyone("-C", str(closed), "status", TMPDIR=str(scratch)).code == 0
    assert list(scratch.iterdir()) == []


def test_a_ledger_that_changes_all_the_time_is_not_copied(lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that a writer may have torn is not read."""
    states = iter(range(100))
    monkeypatch.setattr(read_only, "_state", lambda _: [(next(states), 0)])
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(read_only, "_opens", lambda _: False)
    with pytest.raises(LedgerError, match="faster than it can be copied") as caught:
        Ledger.open(lamp / "ledger.db", create=False)
    assert caught.value.cause == "ledger-read-only"


def causes(said: Said) -> list[str]:
    return [one["class"] for one in json.loads(said.out)["errors"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "mode", "argv", "cause"),
    [
        ("ledger.db", 0o000, ("status",), "ledger-denied"),
        ("ledger.db", 0o000, ("generate", "--count", "1"), "ledger-denied"),
        ("product.toml", 0o000, ("status",), "no-permission"),
        (".", 0o000, ("status",), "no-permission"),
        (".", 0o600, ("status",), "no-permission"),
        ("keys", 0o000, ("station", "show"), "no-permission"),
        ("keys/station.key", 0o000, ("station", "show"), "no-permission"),
        ("keys", 0o000, ("generate", "--count", "1"), "no-permission"),
        ("ca", 0o000, ("generate", "--count", "1"), "no-permission"),
    ],
)
def test_permission_has_its_own_cause(closed: Path, what: str, mode: int, argv: tuple[str, ...], cause: str) -> None:
    """What this user may not read is reported as that, not as missing, and not as a bug."""
    (closed / what).chmod(mode)
    said = as_anyone("-C", str(closed), *argv, "--json")
    assert said.code in (3, 4), said.err
    assert causes(said) == [cause], said.err
    assert "bug" not in said.err


def test_a_ledger_that_is_missing_is_still_missing(lamp: Path) -> None:
    """Without a ledger the cause is `ledger-missing`."""
    (lamp / "ledger.db").unlink()
    with pytest.raises(LedgerError) as caught:
        _ = open_workspace(lamp).ledger
    assert caught.value.cause == "ledger-missing"


def diagnosis(folder: Path) -> tuple[int, list[str], str]:
    """Return the exit code of `doctor`, what it finds wrong, and its stderr."""
    said = as_anyone("-C", str(folder), "doctor", "--json")
    return said.code, [one["what"] for one in json.loads(said.out) if not one["good"]], said.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "mode", "told"),
    [
        ("ledger.db", 0o000, ["the ledger: ", "no permission to open the ledger"]),
        ("product.toml", 0o000, ["product.toml: ", "Permission denied"]),
        ("keys", 0o000, ["this station's key: ", "Permission denied"]),
        ("keys/station.key", 0o000, ["this station's key: ", "Permission denied"]),
        (".", 0o500, ["no permission to write to "]),
        (".", 0o500, ["the ledger: ", "you may not write to"]),
        (".", 0o000, ["product.toml: ", "Permission denied"]),
    ],
)
def test_doctor_lists_what_is_wrong(closed: Path, what: str, mode: int, told: list[str]) -> None:
    """`doctor` lists what it may not read or write, with everything else, and ends with exit code 4."""
    (closed / what).chmod(mode)
    code, wrong, err = diagnosis(closed)
    assert code == 4, err
    assert any(all(word in one for word in told) for one in wrong), wrong


def test_doctor_lists_everything_at_once(closed: Path) -> None:
    """Several faults are all listed."""
    (closed / "station.toml").write_text("[station]\nname = 7\n")
    (closed / "keys" / "trust.json").write_text("{}")
    (closed / "keys" / "station.key").chmod(0o000)
    (closed / "ledger.db").chmod(0o000)
    _, wrong, _ = diagnosis(closed)
    for word in ("station.toml: ", "the trust file: ", "this station's key: ", "the ledger: "):
        assert any(one.startswith(word) for one in wrong), (word, wrong)


def test_a_ledger_that_is_a_device(lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device named as the ledger is rejected, and no journal is left beside it."""
    device = lamp.parent / "null"
    device.symlink_to("/dev/null")
    monkeypatch.setenv("RMFAB_LEDGER", str(device))
    before = sorted(path.name for path in (*lamp.parent.iterdir(), *Path("/dev").glob("null*")))
    with pytest.raises(LedgerError, match="not a file"):
        open_workspace(lamp).make_ledger()
    assert sorted(path.name for path in (*lamp.parent.iterdir(), *Path("/dev").glob("null*"))) == before


def test_a_passphrase_from_a_device(lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The advice to change the mode is for files: a device or pipe gets none."""
    notebook = Notebook()
    monkeypatch.setenv("RMFAB_CA_PASSPHRASE_FILE", "/dev/null")
    with pytest.raises(InputError, match="the passphrase file is empty"):
        Passphrases(notebook, CA_ENVIRONMENT).ask("the CA")
    assert notebook.warnings == []
    secret = lamp / "pass"
    secret.write_text("word")
    secret.chmod(0o644)
    Passphrases(notebook, CA_ENVIRONMENT, secret).ask("the CA")
    assert "chmod 600" in notebook.warnings[0]


def test_a_logs_folder_that_is_not_writable(closed: Path) -> None:
    """The line does not start if it could not keep the console logs: one error, before any port is opened."""
    make_build_folder(closed / "build", FirmwareRecipe(Chip.ESP32C3, app_size=128 * 1024))
    (closed / "logs").mkdir()
    (closed / "logs").chmod(0o500)
    argv = ("-C", str(closed), "flash", "--release", str(closed / "build"), "--port", "/dev/no", "--port", "/dev/nil")
    as_anyone(*argv).refused(4, "logs: no permission to write console logs")
