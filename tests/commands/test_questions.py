"""Questions on a terminal: nothing draws over them; wrong and weak passphrases."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from rmfab.operations.passphrases import CA_ENVIRONMENT, KEY_ENVIRONMENT, Passphrases
from rmfab.operations.signing_keys import KeyChoice, opened_keys
from rmfab.product.vocabulary import Chip
from rmfab.secret import Secret
from rmfab.signing.keyfile import load_private_key, write_private_key
from rmfab.signing.signer import SigningKeyKind, make_key
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.commands.test_options import leaves
from tests.operations.notebook import Notebook
from tests.terminal import Terminal, dialogue, on_terminal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")

RIGHT, WRONG = "correct horse", "battery staple"
SHOW_CURSOR = "\x1b[?25h"
ASKING_BAR = """
import click
from rmfab.commands import terminal
from rmfab.operations.advance import Advance

def work():
    yield Advance(1, 2)
    terminal.TERMINAL.ask("First")
    yield Advance(2, 2)
    terminal.TERMINAL.passphrase("Second")
    yield Advance(2, 2)
    terminal.TERMINAL.confirm("Third")
    yield 5

with click.Context(click.Command("x"), obj=terminal.Globals()):
    print("value", terminal.followed("pieces", work()))
"""


@pytest.fixture
def locked(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace whose CA key is encrypted under RIGHT."""
    for file in (lamp / "ca").iterdir():
        file.unlink()
    _passphrase_file(lamp, RIGHT, monkeypatch)
    terminal.well("-C", lamp, "ca", "create")
    monkeypatch.delenv(CA_ENVIRONMENT)
    return lamp


def _passphrase_file(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / "passphrase"
    path.write_text(text)
    path.chmod(0o600)
    monkeypatch.setenv(CA_ENVIRONMENT, str(path))
    return path


def test_generate_asks_before_it_draws(locked: Path) -> None:
    """On a terminal `generate` asks for the CA's passphrase before its progress bar appears."""
    code, screen = dialogue("generate", "--count", "2", cwd=locked, answers=[("Passphrase of", RIGHT)])
    assert code == 0, screen
    assert "identities" not in screen[: screen.index("Passphrase of")]
    assert "lamp-0002" in screen


def test_a_bar_is_down_while_something_is_asked(tmp_path: Path) -> None:
    """A question of any kind takes the progress bar off the terminal: the cursor is back before it is asked."""
    answers = [("First", "x"), ("Second", "y"), ("Third", "y")]
    code, screen = on_terminal([sys.executable, "-c", ASKING_BAR], tmp_path, answers)
    assert code == 0, screen
    assert "value 5" in screen
    parts = [screen[: screen.index(question)] for question, _ in answers]
    assert [part.count(SHOW_CURSOR) for part in parts] == [1, 2, 3]


def test_a_wrong_passphrase_is_asked_for_again(locked: Path) -> None:
    """The right passphrase at the third try opens the CA."""
    answers = [("Passphrase of", word) for word in (WRONG, WRONG, RIGHT)]
    code, screen = dialogue("generate", "--count", "2", cwd=locked, answers=answers)
    assert code == 0, screen
    assert [line for line in screen.splitlines() if "left" in line] == [
        "rmfab: warning: wrong passphrase; 2 tries left",
        "rmfab: warning: wrong passphrase; 1 try left",
    ]


def test_three_wrong_passphrases(locked: Path) -> None:
    """After three wrong passphrases the command ends, and the hint says what is left to do."""
    code, screen = dialogue("generate", "--count", "2", cwd=locked, answers=[("Passphrase of", WRONG)] * 3)
    assert code == 3
    assert "cannot be recovered" in screen
    assert "create a new CA" in screen


def test_a_wrong_passphrase_file(terminal: Terminal, locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal, the error names the key and the file with the wrong passphrase."""
    path = _passphrase_file(locked, WRONG, monkeypatch)
    terminal("-C", locked, "generate", "--count", "2").refused(
        3, "ca.key: cannot decrypt the key", str(path), "cannot be recovered", "keep working", "register it"
    )


@pytest.mark.parametrize(
    ("text", "weak"), [("1234567", True), ("aaaaaaaaaaaa", True), ("12345678", False), (RIGHT, False)]
)
def test_a_weak_passphrase(text: str, weak: bool) -> None:
    """A new passphrase of fewer than 8 characters, or of one repeated character, is accepted with a warning."""
    notebook = Notebook(text, False)
    assert Passphrases(notebook, KEY_ENVIRONMENT).ask_new("release.key").reveal() == text
    assert ["easy to guess" in one for one in notebook.warnings] == [True] * weak
    assert text not in "".join(notebook.warnings)


def test_a_weak_passphrase_is_asked_again(locked: Path) -> None:
    """On a terminal a different one can be typed, before the CA is written."""
    shutil.rmtree(locked / "ca")
    new = [("New passphrase", "1234"), ("Repeat", "1234")]
    answers = [*new, ("Type a different one?", "y"), ("New passphrase", RIGHT), ("Repeat", RIGHT)]
    code, screen = dialogue("ca", "create", cwd=locked, answers=answers)
    assert code == 0
    assert screen.index("easy to guess") < screen.index("created CA")
    code, screen = dialogue("generate", "--count", "2", cwd=locked, answers=[("Passphrase of", RIGHT)])
    assert code == 0, screen


def test_signing_asks_again(tmp_path: Path) -> None:
    """A signing key gets the three tries, too."""
    asked = Notebook(WRONG, RIGHT)
    write_private_key(tmp_path / "a.key", make_key(SigningKeyKind.ED25519).key, Secret(RIGHT))
    with opened_keys(KeyChoice((str(tmp_path / "a.key"),)), asked) as (signer,):
        assert signer.public.id
    assert asked.warnings == ["wrong passphrase; 2 tries left"]


ROOM_FOR_KEYS = (
    "release keygen -o plain.key --no-passphrase",
    "release build build -o r.rmfab --seq 1 --no-sbom",
    "trust add locked.pub --role trust",
    "trust add plain.pub --role release --key locked.key",
    "trust add plain.pub --role ca -o change.json --key locked.key",
)
ASKING = {
    "ca import": "ca import locked.crt locked.key",
    "generate": "generate --count 1",
    "release sign": "release sign r.rmfab --key locked.key",
    "release pubkey": "release pubkey --key locked.key -o again.pub",
    "trust add": "trust add plain.pub --role station --key locked.key",
    "trust remove": "trust remove plain --key locked.key",
    "trust sign": "trust sign change.json --key locked.key",
    "ota serve": "ota serve no-shelf --cert locked.crt --key locked.key",
    "ota try": "ota try LMP-000001 --port /dev/no --to r.rmfab --cert locked.crt --key locked.key",
}
"""A command line of each command that opens a private key; locked.key and the CA's key are encrypted under RIGHT."""

MAKING = {
    "ca create": "ca create",
    "ca import": "ca import locked.crt bare.key",
    "release keygen": "release keygen -o new.key",
}
"""A command line of each command that encrypts a new private key."""


@pytest.fixture
def keyed(terminal: Terminal, locked: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a locked key, its certificate, and what the commands of ASKING sign; the current folder."""
    monkeypatch.chdir(locked)
    make_build_folder(Path("build"), FirmwareRecipe(Chip.ESP32C3, app_size=128 * 1024))
    for source, target in (("ca.key", "locked.key"), ("ca.crt", "locked.crt")):
        Path(target).write_bytes((locked / "ca" / source).read_bytes())
        Path(target).chmod(0o600)
    key = load_private_key(Path("locked.key"), lambda _: Secret(RIGHT))
    write_private_key(Path("bare.key"), key, None)
    monkeypatch.setattr("rmfab.commands.terminal.TERMINAL", Notebook(*[RIGHT] * len(ROOM_FOR_KEYS)))
    terminal.well("release", "pubkey", "--key", "locked.key", "-o", "locked.pub")
    for command in ROOM_FOR_KEYS:
        terminal.well(*command.split())
    return locked


def test_every_command_that_asks_is_in_the_table() -> None:
    """The tables have every command with --passphrase-file, and those that use the CA's key."""
    with_option = {name for name, leaf in leaves() if any(one.name == "passphrase_file" for one in leaf.params)}
    assert with_option | {"ca create", "ca import", "generate"} == set(ASKING) | set(MAKING)


@pytest.mark.parametrize("name", ASKING)
def test_every_command_asks_again(terminal: Terminal, keyed: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """After a wrong passphrase, each command that opens a key asks again, three times in all; then it ends with 3."""
    if name == "ca import":
        shutil.rmtree(keyed / "ca")
    for answers in ((WRONG, WRONG, WRONG), (WRONG, RIGHT)):
        asked = Notebook(*answers)
        monkeypatch.setattr("rmfab.commands.terminal.TERMINAL", asked)
        said = terminal(*ASKING[name].split())
        assert len(asked.questions) == len(answers)
        assert [one for one in asked.warnings if "wrong passphrase" in one] == [
            "wrong passphrase; 2 tries left",
            "wrong passphrase; 1 try left",
        ][: len(answers) - 1]
        if answers[-1] == WRONG:
            said.refused(3, "locked.key: cannot decrypt" if name != "generate" else "ca.key: cannot decrypt")
        elif name in ("ota serve", "ota try"):
            assert "decrypt" not in said.err
        else:
            assert said.code == 0, said.err


@pytest.mark.parametrize("name", MAKING)
@pytest.mark.parametrize(("passphrase", "weak"), [("1234", True), (RIGHT, False)])
def test_every_command_warns_of_a_weak_passphrase(
    terminal: Terminal, keyed: Path, monkeypatch: pytest.MonkeyPatch, name: str, passphrase: str, weak: bool
) -> None:
    """Each command that encrypts a new key accepts a weak passphrase with a warning, from a terminal or a file."""
    for form in ("terminal", "file"):
        shutil.rmtree(keyed / "ca", ignore_errors=True)
        for path in Path().glob("new.*"):
            path.unlink()
        asked = Notebook(passphrase, False)
        if form == "file":
            monkeypatch.setenv(KEY_ENVIRONMENT, str(_passphrase_file(keyed, passphrase, monkeypatch)))
        monkeypatch.setattr("rmfab.commands.terminal.TERMINAL", asked)
        assert terminal(*MAKING[name].split()).code == 0
        assert sum("easy to guess" in one for one in asked.warnings) == weak
        assert passphrase not in "".join(asked.warnings)


def test_a_new_passphrase_is_asked_until_it_is_one(lamp: Path) -> None:
    """An empty passphrase, and two that differ, are told in rmfab's way, and asked for again."""
    answers = [
        ("New passphrase", ""),
        ("this is empty; ^C ends the command\r\nNew passphrase", RIGHT),
        ("Repeat for confirmation", WRONG),
        ("the two are not the same\r\nNew passphrase", RIGHT),
        ("Repeat for confirmation", RIGHT),
    ]
    code, screen = dialogue("release", "keygen", "-o", "release.key", cwd=lamp, answers=answers)
    assert (code, screen.count("rmfab: warning: this is empty")) == (0, 1), screen
    assert "Error" not in screen
    load_private_key(lamp / "release.key", lambda _: Secret(RIGHT))
