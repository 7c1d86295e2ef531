"""Tests of the warning that git would commit a file with secrets."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.terminal import Terminal

CSV = Path(__file__).parents[2] / "csv"
COMMANDS = {
    "labels as a sheet": (("label", "lamp-0001", "-o", "some/l.pdf"), "some/l.pdf", "l.pdf"),
    "a label": (("label", "LMP-000001", "-o", "some/l.png"), "some/l.png", "l.png"),
    "a folder of labels": (("label", "lamp-0001", "-o", "some/pngs", "--format", "png"), "some/pngs", "pngs/"),
    "factory images": (("build", "lamp-0001", "-o", "some/out2"), "some/out2", "out2/"),
    "a backup": (("ledger", "backup", "some/copy.db"), "some/copy.db", "copy.db"),
    "an NVS image": (("nvs", "pack", "some/one.csv", "some/one.bin", "0x6000"), "some/one.bin", "one.bin"),
    "a release key": (("release", "keygen", "-o", "some/r.pem", "--no-passphrase"), "some/r.pem", "r.pem"),
}


def git(*argv: str) -> str:
    return subprocess.run(["git", *argv], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def tree(terminal: Terminal, lamp: Path) -> Path:
    """A git work tree, with a folder `some` and a workspace beside it."""
    git("init", "-q", str(terminal.folder))
    (terminal.folder / "some").mkdir()
    (terminal.folder / "some" / "one.csv").write_text("key,type,encoding,value\nns,namespace,,\nk,data,string,v\n")
    return terminal.folder


@pytest.mark.parametrize(("argv", "shown", "pattern"), COMMANDS.values(), ids=COMMANDS.keys())
def test_what_git_would_take(
    terminal: Terminal, tree: Path, lamp: Path, argv: tuple[str, ...], shown: str, pattern: str
) -> None:
    """One warning names the path and the pattern that keeps it out of git; with that pattern, there is none."""
    said = terminal("-C", lamp, *argv)
    assert said.code == 0, said.err
    (line,) = [line for line in said.err.splitlines() if "git" in line and "warning" in line]
    assert line.startswith(f"rmfab: warning: {shown} is in a git work tree and not ignored")
    assert f"rmfab: hint: add {pattern} to .gitignore" in said.err
    assert any(name.startswith(shown) for name in git("add", "-A", "-n").replace("add '", "").splitlines())
    (tree / ".gitignore").write_text(f"{pattern}\n*.pub\n")
    git("clean", "-qfdX", "some")
    said = terminal("-C", lamp, *argv)
    assert said.code == 0, said.err
    assert "git" not in said.err


def test_many_nvs_images(terminal: Terminal, tree: Path) -> None:
    """`nvs generate` warns once for each of its two folders that git would take."""
    argv = ("nvs", "generate", CSV / "config.csv", CSV / "values.csv", "lamp", "0x6000", "--outdir", "some")
    said = terminal(*argv)
    assert said.code == 0, said.err
    assert [line.split()[2] for line in said.err.splitlines() if "git add" in line] == ["some/bin", "some/csv"]
    (tree / ".gitignore").write_text("*.bin\n/some/csv/\n")
    assert "git" not in terminal(*argv).err


def test_a_workspace_without_its_gitignore(terminal: Terminal, tree: Path) -> None:
    """The CA's key, the station's key and the ledger are warned of if the workspace's .gitignore has gone."""
    terminal.well("init", "w", "--mqtt-host", "mqtt.example.org")
    terminal.well("-C", "w", "ca", "create", "--no-passphrase")
    Path("w/.gitignore").unlink()
    for argv, shown in (
        (("generate", "--count", "1"), "ledger.db"),
        (("station", "key"), "keys/station.key"),
        (("ca", "create", "--no-passphrase"), "ca/ca.key"),
    ):
        for name in ("ca.key", "ca.crt"):
            if argv[0] == "ca":
                Path("w/ca", name).unlink()
        if argv[0] == "station":
            Path("w/keys/station.key").unlink()
        said = terminal("-C", "w", *argv)
        assert said.code == 0, said.err
        assert f"w/{shown} is in a git work tree and not ignored" in said.err


@pytest.mark.parametrize("why", ["no work tree", "no git", "tracked, but ignored"])
def test_when_it_is_silent(terminal: Terminal, lamp: Path, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """Outside a work tree and without git nothing is said; a file that git tracks already is warned of all the same."""
    if why != "no work tree":
        git("init", "-q", str(terminal.folder))
    if why == "no git":
        monkeypatch.setenv("PATH", str(terminal.folder))
    if why == "tracked, but ignored":
        Path("l.pdf").write_text("old")
        git("add", "-f", "l.pdf")
        Path(".gitignore").write_text("*.pdf\n")
    said = terminal("-C", lamp, "label", "lamp-0001", "-o", "l.pdf", "--force")
    assert said.code == 0, said.err
    assert ("git" in said.err) == (why == "tracked, but ignored")


def test_a_program_of_the_work_tree(terminal: Terminal, tree: Path, lamp: Path) -> None:
    """A work tree from elsewhere names a program that git runs when it reads the index: it is not run for a warning."""
    program, mark = tree / "program", tree / "mark"
    program.write_text(f"#!/bin/sh\ntouch '{mark}'\nexit 1\n")
    program.chmod(0o700)
    git("-C", str(tree), "config", "core.fsmonitor", str(program))
    said = terminal("-C", lamp, "label", "lamp-0001", "-o", "some/l.pdf")
    assert "some/l.pdf is in a git work tree" in said.err
    assert not mark.exists()
