"""Who may use the files with secrets: what rmfab makes is private, and what others could use is refused or mended."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from rmfab.errors import InputError
from rmfab.identity.sealing import create_station_key, load_station_key
from rmfab.line.radio.factory_network import load_network
from rmfab.operations.passphrases import KEY_ENVIRONMENT, Passphrases
from rmfab.privacy import loose_mode, refuse_loose, tighten
from rmfab.secret import Secret
from rmfab.signing.keyfile import load_private_key, write_private_key
from rmfab.signing.pkcs11_uri import Pkcs11Uri
from rmfab.signing.token import _pin
from rmfab.workspace.create import make_keys
from rmfab.workspace.workspace import open_workspace
from tests.commands.conftest import lamp, terminal, workshop
from tests.operations.notebook import Notebook
from tests.terminal import Terminal

__all__ = ["lamp", "terminal", "workshop"]
LOOSE = (0o604, 0o602, 0o640, 0o620, 0o666, 0o777)


def no_passphrase(_: str) -> Secret[str]:
    raise AssertionError("asked for a passphrase")


def a_private_key(path: Path) -> Callable[[], object]:
    write_private_key(path, ec.generate_private_key(ec.SECP256R1()), None)
    return lambda: load_private_key(path, no_passphrase)


def a_station_key(path: Path) -> Callable[[], object]:
    create_station_key(path)
    return lambda: load_station_key(path)


def a_network(path: Path) -> Callable[[], object]:
    path.write_text('ssid = "factory"\npassphrase = "12345678"\n')
    return lambda: load_network(path)


def a_pin(path: Path) -> Callable[[], object]:
    path.write_text("1234\n")
    return lambda: _pin(Pkcs11Uri.parse(f"pkcs11:token=t;object=o?pin-source=file:{path}"), no_passphrase)


REFUSED = {"a private key": a_private_key, "a station key": a_station_key, "a network": a_network, "a PIN": a_pin}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
def test_a_secret_that_others_can_use(
    tmp_path: Path, make: Callable[[Path], Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused with the chmod that fixes it, for any permission of the group or of everyone; alone it is used.

    The group of a file that belongs to somebody else may read it: that owner hands it over."""
    path = tmp_path / "secret"
    load = make(path)
    for mode in LOOSE:
        path.chmod(mode)
        with pytest.raises(InputError) as caught:
            load()
        assert (caught.value.cause, caught.value.hint) == ("key-file-open", f"chmod 600 {path}"), oct(mode)
    for mode in (0o600, 0o400, 0o700):
        path.chmod(mode)
        load()
    path.chmod(0o640)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    load()
    path.chmod(0o644)
    with pytest.raises(InputError, match="other users of this host can use this"):
        load()


@pytest.mark.parametrize("mode", LOOSE)
def test_a_passphrase_that_others_can_use(tmp_path: Path, mode: int) -> None:
    """A passphrase file, which may be there for this one run, is used with a warning."""
    path = tmp_path / "pass"
    path.write_text("four words of prose\n")
    path.chmod(mode)
    notebook = Notebook()
    assert Passphrases(notebook, KEY_ENVIRONMENT, path).ask("a key").reveal() == "four words of prose"
    (warning,) = notebook.warnings
    assert f"chmod 600 {path}" in warning


@pytest.mark.parametrize("mode", LOOSE)
@pytest.mark.parametrize(
    "name", ["ledger.db", "ledger.db-wal", "ledger.db-shm", "keys/unique.key", "keys", "ca", "logs"]
)
def test_what_is_mended(terminal: Terminal, lamp: Path, name: str, mode: int) -> None:
    """Each gets its mode back, with one warning that names the path; the next command says nothing."""
    path = lamp / name
    if name == "logs":
        path.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        path.touch()
    path.chmod(mode | 0o100 if path.is_dir() else mode)
    said = terminal("-C", lamp, "trace", "LMP-000001")
    assert said.code == 0, said.err
    assert said.err.count("warning: others could use") == 1
    assert f"others could use {path} (mode " in said.err
    if path.exists():
        assert path.stat().st_mode & 0o077 == 0
    assert "others could" not in terminal("-C", lamp, "trace", "LMP-000001").err


def test_modes_that_are_left(terminal: Terminal, lamp: Path) -> None:
    """A read-only ledger stays read-only; a trust file, a certificate and product.toml may be read by anyone."""
    (lamp / "ledger.db").chmod(0o444)
    for name in ("product.toml", "ca/ca.crt"):
        (lamp / name).chmod(0o644)
    terminal("-C", lamp, "ca", "show")
    assert (lamp / "ledger.db").stat().st_mode & 0o777 == 0o400
    assert (lamp / "product.toml").stat().st_mode & 0o777 == 0o644


def test_a_ledger_elsewhere(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger that RMFAB_LEDGER names is mended, too; a URL is left alone."""
    other = terminal.folder / "other.db"
    (lamp / "ledger.db").rename(other)
    other.chmod(0o644)
    monkeypatch.setenv("RMFAB_LEDGER", str(other))
    assert f"others could use {other} (mode 644)" in terminal("-C", lamp, "status").err
    assert other.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("RMFAB_LEDGER", "postgresql:///ledger?host=/nowhere")
    terminal("-C", lamp, "status").refused(4, "the ledger's server is away")


@pytest.mark.parametrize("kind", ["a folder", "a text", "nothing", "a different database"])
def test_what_is_no_ledger(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A file or folder that RMFAB_LEDGER names by mistake keeps its mode and its content."""
    other = terminal.folder / "other.db"
    if kind == "a folder":
        other.mkdir()
    elif kind == "a different database":
        with closing(sqlite3.connect(other)) as connection:
            connection.execute("CREATE TABLE identity (serial)")
    else:
        other.write_text("root:x:0:0\n" if kind == "a text" else "")
    other.chmod(0o755)
    before = other.read_bytes() if other.is_file() else b""
    monkeypatch.setenv("RMFAB_LEDGER", str(other))
    said = terminal("-C", lamp, "status")
    assert said.code in (4, 5), said.err
    assert "others could" not in said.err
    assert other.stat().st_mode & 0o777 == 0o755
    assert before == (other.read_bytes() if other.is_file() else b"")


def test_what_cannot_be_mended(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If this user may not change the mode, the warning says who has to, and the command continues."""
    (lamp / "ledger.db").chmod(0o644)

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "chmod", denied)
        assert not tighten(lamp / "ledger.db")
        said = terminal("-C", lamp, "trace", "LMP-000001")
    assert said.code == 0
    assert f"others can use {lamp / 'ledger.db'} (mode 644)" in said.err
    assert f"chmod go-rwx {lamp / 'ledger.db'}" in said.err


def test_the_library_refuses_a_uniqueness_key(lamp: Path) -> None:
    """Without a terminal to warn on, a uniqueness key that others can use is refused."""
    (lamp / "keys" / "unique.key").chmod(0o640)
    with pytest.raises(InputError, match="other users of this host"):
        _ = open_workspace(lamp).unique_key


PUBLIC = {
    "w/product.toml",
    "w/.gitignore",
    "w/ca/ca.crt",
    "release.pub",
}


def test_everything_that_is_made_with_any_umask(terminal: Terminal) -> None:
    """With umask 000, every file with a secret is private; the public ones are few, and known."""
    config, values = (Path(__file__).parent.parent / "csv" / name for name in ("config.csv", "values.csv"))
    before = os.umask(0)
    try:
        terminal.well("init", "w", "--mqtt-host", "mqtt.example.org")
        terminal.well("-C", "w", "ca", "create", "--no-passphrase")
        batch = terminal.well("-C", "w", "generate", "--count", "2").strip()
        terminal.well("-C", "w", "label", batch, "-o", "l.pdf")
        terminal.well("-C", "w", "label", batch, "-o", "pictures", "--format", "png")
        terminal.well("-C", "w", "build", batch, "-o", "out")
        terminal.well("-C", "w", "ledger", "backup", "backup.db")
        sheet = next(Path("out/csv").glob("*"))
        assert sheet.exists()
        terminal.well("nvs", "generate", config, values, "lamp", "0x6000", "--outdir", "nvs")
        terminal.well("nvs", "pack", next(Path("nvs/csv").iterdir()), "one.bin", "0x6000")
        terminal.well("release", "keygen", "-o", "release.key", "--no-passphrase")
    finally:
        os.umask(before)
    loose = {
        str(path.relative_to(terminal.folder))
        for path in terminal.folder.rglob("*")
        if path.is_file() and loose_mode(path)
    }
    assert {name for name in loose if not name.startswith("w/csv/")} == PUBLIC


def test_keys_are_made_private(tmp_path: Path) -> None:
    """The keys of a station are 0600 in a folder that is 0700."""
    make_keys(tmp_path / "keys")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
@pytest.mark.parametrize(
    ("user", "hint"), [(0, "chmod 600 '{}'"), (12345, "its owner runs: chmod 600 '{}'")], ids=["root", "not the owner"]
)
def test_the_hint_is_a_command_that_works(tmp_path, monkeypatch, user, hint):
    """The hint about an open key can be pasted, also if its path has spaces, and says if only the owner may run it."""
    path = tmp_path / "my keys"
    path.write_text("secret")
    path.chmod(0o666)
    monkeypatch.setattr("rmfab.privacy.os.geteuid", lambda: user)
    with pytest.raises(InputError) as caught:
        refuse_loose(path)
    assert caught.value.hint == hint.format(path)
