"""What people mistype and misname: each error says what and where, and has a hint that helps."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.terminal import Terminal


@pytest.fixture
def here(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace lamp as the current folder, with a key, a folder, an empty file and binary junk."""
    monkeypatch.chdir(lamp)
    terminal.well("release", "keygen", "-o", "release.key", "--no-passphrase")
    Path("build").mkdir()
    Path("empty").touch()
    Path("junk").write_bytes(bytes(range(256)) * 16)
    return lamp


SLIPS = [
    ("release keygen -o release.key --no-passphrase", 3, "release.key: already exists", "choose a different name"),
    ("release build biuld -o x.rmfab --seq 1", 3, "biuld: cannot read this build", "did you mean build?"),
    ("release sign build --key release.key", 3, "build: a folder cannot be signed", "`rmfab release build build -o"),
    ("release sign junk --key release.key", 3, "junk: not a release bundle\n", "`rmfab release build`"),
    ("release sign junk --key relase.key", 3, "junk: ", "hint: "),
    ("release pubkey --key relase.key -o o.pub", 3, "relase.key: cannot read this key", "did you mean release.key?"),
    ("release pubkey --key keys/relase -o o.pub", 3, "keys/relase: cannot read this key", "check the name"),
    ("release pubkey --key build -o o.pub", 3, "build: cannot read this key", "name a file, not a folder"),
    ("release pubkey --key env:NOPE -o o.pub", 3, "env:NOPE", "set NOPE to the text of the PEM"),
    ("release show releas.key", 3, "releas.key: cannot read the release", "did you mean release.key?"),
    ("release verify nowhere", 3, "nowhere: cannot read the release", "give a bundle file"),
    ("trust add relase.pub --role release", 3, "relase.pub: cannot read", "did you mean release.pub?"),
    ("trust import build", 3, "build: cannot read this trust file", "name a file, not a folder"),
    ("trust export -o no/trust.json", 3, "no", "hint: "),
    ("generate --values csv/valeus.csv", 3, "csv/valeus.csv: cannot read", "did you mean csv/values.csv?"),
    ("generate --values build", 3, "build: cannot read", "name a file, not a folder"),
    ("generate --count 1 --first-serial 0", 2, "--first-serial must be 1 to", ""),
    ("logs prune", 2, "say what to remove", "`rmfab logs prune --older 30d"),
    ("nvs show nope/x.bin", 3, "nope/x.bin: cannot read", "there is no folder nope"),
    ("ledger backup build", 3, "build: is a folder", "name a file in it"),
    ("ledger restore nope.db", 3, "nope.db: cannot read this backup", "check the name"),
    ("ledger restore build", 3, "build: cannot read this backup", "name a file, not a folder"),
    ("ledger restore empty", 3, "empty: the backup is empty", "restore a different backup"),
    ("ledger restore junk --force", 5, "junk: this file is not a ledger", "hint: "),
    ("label lamp-001", 3, '"lamp-001" is neither a batch nor a serial', "did you mean lamp-0001?"),
    ("label LPM-000001", 3, '"LPM-000001" is neither', "did you mean LMP-000001?"),
    ("label lamp-0001 -o no/x.pdf", 3, "no/x.pdf: cannot write this file", "there is no folder no"),
    ("build lamp-01 -o out", 3, 'no batch "lamp-01"', "did you mean lamp-0001?"),
    ("build lamp-0001 -o junk", 3, "junk: cannot create this folder", "a file is where a folder should be"),
    ("status lamp-001", 3, 'no batch "lamp-001"', "did you mean lamp-0001?"),
    ("trace LMP-1", 3, '"LMP-1" is not in the ledger', "did you mean LMP-000001?"),
    ("trace LMP-00002", 3, '"LMP-00002" is not in the ledger', "did you mean LMP-000002?"),
    ("void LNP-000003 --reason x", 3, '"LNP-000003"', "did you mean LMP-000003?"),
    ("units --cause panick", 2, 'there is no cause "panick"', 'did you mean "panic"?'),
    ("units --cause xyzzy", 2, 'there is no cause "xyzzy"', "docs/causes.md"),
    ("-C product.toml status", 3, "product.toml: is a file", "folder of the workspace"),
    ("-C biuld status", 3, "biuld: no such folder", "did you mean build?"),
    ("-C build status", 3, "build: no product.toml in this folder", "`rmfab init DIR`"),
    ("-C elsewhere status", 3, "elsewhere: no such folder", "`rmfab init DIR`"),
    ("version", 2, "No such command 'version'. Did you mean '--version'?", "`rmfab --help`"),
    ("help", 2, "No such command 'help'. Did you mean '--help'?", "`rmfab --help`"),
    ("stauts", 2, "No such command 'stauts'. Did you mean 'status'?", "`rmfab --help`"),
    ("export", 2, "error: Missing argument 'FORM'. Choose from: rainmaker, neo,", "`rmfab export --help`"),
]


@pytest.mark.parametrize(("line", "code", "what", "hint"), SLIPS, ids=[slip[0] for slip in SLIPS])
def test_a_slip(terminal: Terminal, here: Path, line: str, code: int, what: str, hint: str) -> None:
    """The error names what was typed, and the hint says what to type instead."""
    assert here == Path.cwd()
    terminal(*line.split()).refused(code, what, hint)


def test_a_secret_for_a_key_is_not_repeated(terminal: Terminal, here: Path) -> None:
    """What looks like no path may be a secret: the error does not repeat it."""
    assert here == Path.cwd()
    said = terminal("release", "pubkey", "--key", "hunter2/Tr0ub4dor", "-o", "o.pub")
    said.refused(3, "not the location of a key", "use the path of a key file")
    assert "hunter2" not in said.err


@pytest.mark.parametrize("change", ["chmod", "rename", "link", "copy"])
def test_a_record_that_was_touched(terminal: Terminal, lamp: Path, change: str) -> None:
    """The refusal says what voids a record, and what its hint advises works until identities are given again."""
    files = sorted((lamp / "state").glob("*.pool*"))
    while time.time_ns() < max(one.stat().st_mtime_ns for one in files) + 2 * 10**8:  # more than their tolerance
        time.sleep(0.05)
    for file in files:
        if change == "chmod":
            file.chmod(0o640)
        elif change == "rename":
            file.rename(lamp / "aside").rename(file)
        elif change == "link":
            (lamp / f"beside{file.suffix}").hardlink_to(file)
        else:
            shutil.copy2(file, lamp / "copy")
            (lamp / "copy").replace(file)
    void = ("-C", lamp, "void", "LMP-000001", "--reason", "lost")
    terminal(*void).refused(5, "owner or mode changed", "`rmfab ledger adopt`", "quarantine")
    terminal("-C", lamp, "ledger", "adopt", "--only-copy").refused(2, "omit it to adopt this one")
    terminal("-C", lamp, "ledger", "adopt").refused(3, '--name "lamp"')
    terminal.well("-C", lamp, "ledger", "adopt", "--name", "lamp")
    terminal("-C", lamp, "generate", "--count", "1").refused(3, "with N 4 or higher")
    terminal.well("-C", lamp, "generate", "--count", "1", "--first-serial", "50")
    terminal.well(*void, "--yes")


def test_a_state_folder_that_cannot_be_used(
    terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in its place, or a folder that cannot be made: the hint names RMFAB_STATE; what it advises works."""
    terminal.well("init", "one", "--cloud-claim")
    (tmp_path / "file").touch()
    for state in (tmp_path / "file", tmp_path / "file" / "deeper"):
        monkeypatch.setenv("RMFAB_STATE", str(state))
        terminal("-C", "one", "generate", "--count", "1").refused(4, str(state), "set RMFAB_STATE")
    monkeypatch.setenv("RMFAB_STATE", str(tmp_path / "state"))
    terminal.well("-C", "one", "generate", "--count", "1")
    monkeypatch.setenv("RMFAB_STATE", str(tmp_path / "elsewhere"))
    gone = terminal("-C", "one", "generate", "--count", "1")
    gone.refused(5, "no record of it in", "set RMFAB_STATE", "`rmfab ledger adopt`")
    monkeypatch.setenv("RMFAB_STATE", str(tmp_path / "state"))
    terminal.well("-C", "one", "generate", "--count", "1")


def test_what_a_backup_is(terminal: Terminal, lamp: Path) -> None:
    """The message says what the file contains, that it gives no identities, and how it is put back."""
    said = terminal("-C", lamp, "ledger", "backup", "b.db")
    assert said.code == 0
    for words in ("sealed identities", "useless without keys/", "gives none", "`rmfab ledger restore`", "adopt"):
        assert words in said.err


def test_what_was_typed_does_not_break_a_message(terminal: Terminal, lamp: Path) -> None:
    """A line end in a name stays within the error that quotes it."""
    said = terminal("-C", lamp, "generate", "--count", "1", "--batch", "a\nrmfab: error: gone\x1b[2J")
    said.refused(3, '"a\\nrmfab: error: gone\\x1b[2J" is not a batch name\nrmfab: hint: ')
    assert said.err.count("\nrmfab: ") == 1
