"""Tests of the options that every command has, in any position, and of the former names of renamed options."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from rmfab.cli import COMMANDS, load_command
from rmfab.commands.leaf import Leaf
from tests.terminal import Terminal


def leaves() -> list[tuple[str, click.Command]]:
    """Yield every leaf command with its words."""
    found = []
    for name in COMMANDS:
        command = load_command(name)
        if isinstance(command, click.Group):
            found += [(f"{name} {sub}", leaf) for sub, leaf in command.commands.items()]
        else:
            found.append((name, command))
    return found


@pytest.mark.parametrize(("words", "leaf"), leaves(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_leaf_takes_json_and_quiet(words: str, leaf: click.Command) -> None:
    """Every leaf command has --json and -q, once each, and every option has a help text."""
    names = [option for param in leaf.params for option in (*param.opts, *param.secondary_opts)]
    assert isinstance(leaf, Leaf), words
    assert names.count("--json") == names.count("--quiet") == names.count("-q") == 1
    assert len(names) == len(set(names))


def test_meanings_of_options() -> None:
    """--port is a serial port, --tcp-port a TCP port, --unit-url a URL; no visible option has two meanings."""
    shown: dict[str, set[str]] = {}
    for words, leaf in leaves():
        for param in leaf.params:
            if isinstance(param, click.Option) and not param.hidden:
                for name in param.opts:
                    shown.setdefault(name, set()).add(words)
    assert shown["--port"] == {"run", "flash", "verify", "reset", "reconcile", "reidentify", "nvs read", "ota try"}
    assert shown["--tcp-port"] == {"board", "ota serve", "ota try", "cloud check", "cloud serve", "printer serve"}
    assert "--unit" not in shown
    assert "--version" not in shown


@pytest.mark.parametrize("place", ["before", "after"])
def test_quiet_anywhere(terminal: Terminal, lamp: Path, place: str) -> None:
    """-q before or after the command leaves only errors and warnings on stderr; data stays."""
    words = ["-C", lamp, "generate", "--count", "1"]
    said = terminal(*(["-q", *words] if place == "before" else [*words, "-q"]))
    assert said.code == 0
    assert said.err == ""
    assert said.out.strip()


def test_documents_of_commands_that_only_spoke(terminal: Terminal, lamp: Path, tmp_path: Path) -> None:
    """With --json the result of a command is one document on stdout, even if it prints nothing else."""
    (tmp_path / "wifi.pem").write_text("")
    calls = {
        ("generate", "--count", "2"): {"size": 2},
        ("build", "lamp-0001", "-o", str(tmp_path / "out")): {"images": 3, "void": 0},
        ("ledger", "check"): {"sound": True, "findings": []},
        ("ledger", "rebuild"): {"mended": 0},
        ("ledger", "backup", str(tmp_path / "copy.db")): {"backup": str(tmp_path / "copy.db")},
        ("station", "show"): {"slots": []},
        ("station", "key"): {},
        ("label", "LMP-000001", "-o", "one.png"): {"form": "png", "output": "one.png"},
    }
    for words, expected in calls.items():
        document = json.loads(terminal.well("-C", lamp, *words, "--json"))
        assert expected.items() <= document.items(), words


def test_no_pop_in_json(terminal: Terminal, lamp: Path) -> None:
    """`label --json` lists units without the secrets of their labels."""
    document = json.loads(terminal.well("-C", lamp, "label", "LMP-000001", "-o", "two.png", "--json"))
    assert {key for label in document["labels"] for key in label} == {"serial", "service_name"}


def test_a_code_that_nobody_sees(terminal: Terminal, lamp: Path) -> None:
    """`label --json` without a file is refused: it would record a label that was never printed."""
    terminal("-C", lamp, "label", "LMP-000001", "--json").refused(2, "pass -o FILE")
    assert "labelled" not in terminal.well("-C", lamp, "trace", "LMP-000001")


def test_a_key_by_its_path(terminal: Terminal, tmp_path: Path) -> None:
    """--key accepts the path of a key file as well as a URI; an error does not repeat what is not a file name."""
    terminal.well("release", "keygen", "-o", "a.key", "--no-passphrase")
    by_path = terminal.well("release", "pubkey", "--key", "a.key", "-o", "path.pub")
    assert by_path == terminal.well("release", "pubkey", "--key", "file:a.key", "-o", "uri.pub")
    said = terminal("release", "pubkey", "--key", "hunter2", "-o", "no.pub")
    said.refused(3, "not the location of a key")
    assert "hunter2" not in said.err


@pytest.mark.parametrize(
    ("words", "option"),
    [
        ("release sign x --key a --key b --passphrase-file a.pass --passphrase-file b.pass", "--passphrase-file"),
        ("release verify x --trust a --trust a", "--trust"),
        ("release build x -o a --output b", "--output"),
        ("run --release a --release=b", "--release"),
    ],
)
def test_a_value_that_would_be_ignored(terminal: Terminal, words: str, option: str) -> None:
    """An option with one value is an error if it is given twice: the last one does not silently win."""
    terminal(*words.split()).refused(2, f"{option} is given twice")


def test_what_may_be_repeated(terminal: Terminal) -> None:
    """Flags and repeatable options may be given twice."""
    terminal("release", "sign", "x", "--key", "a", "--key", "b", "--replace", "--replace").refused(3, "x")


@pytest.mark.parametrize("command", ["demo", "board"])
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("nonsense", "use one of drop-bytes"),
        ("panik", "did you mean panic?"),
        ("", "use one of drop-bytes"),
        ("panic=3", "use panic without a number"),
        ("panic@x", "panic@2 is for the third board"),
        ("panic@", "panic@2 is for the third board"),
        ("stall-at", "use stall-at=N"),
        ("stall-at=0", "use stall-at=N"),
        ("stall-at=-1", "use stall-at=N"),
        ("stall-at=x", "use stall-at=N"),
        (f"stall-at={'9' * 5000}", "use stall-at=N"),
        ("panic@7", "names a board that does not exist"),
        ("kill-at=3", "--kill-pid"),
    ],
    ids=lambda value: value[:12],
)
def test_faults_that_are_none(terminal: Terminal, command: str, fault: str, told: str) -> None:
    """A fault that is unknown, malformed or for no board is a usage error; an unknown one gets the list of faults."""
    said = terminal(command, "--fault", fault)
    said.refused(2, told)
    assert ("wrong-verifier" in said.err) is ("@" not in fault and "=" not in fault and fault != "stall-at")
    assert len(said.err) < 2000
