"""Tests of `rmfab completion`: the script, where it is installed, and what the tab key offers in bash."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rmfab.errors import StationError
from rmfab.ledger.host import state_folder
from tests.terminal import Terminal, environment, files, process

PLACES = {
    "bash": ".local/share/bash-completion/completions/rmfab",
    "zsh": ".local/share/zsh/site-functions/_rmfab",
    "fish": ".config/fish/completions/rmfab.fish",
}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of this user's shell."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "BASH_COMPLETION_USER_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("shell", PLACES)
def test_installing(terminal: Terminal, shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is written where the shell looks, once; no other file appears, and it says how to undo it."""
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    script = terminal.well("completion")
    assert script == terminal.well("completion", shell)
    said = terminal("completion", "--install")
    assert said.code == 0
    assert files(terminal.folder) == {PLACES[shell]: script.removesuffix("\n").encode()}
    assert f"installed: {terminal.folder / PLACES[shell]}; to undo it, remove this file" in said.err
    assert ("fpath=" in said.err) == (shell == "zsh")
    before = (terminal.folder / PLACES[shell]).stat()
    again = terminal("completion", "--install", "--json")
    assert json.loads(again.out)["changed"] is False
    assert "already installed" in again.err
    assert (terminal.folder / PLACES[shell]).stat() == before


def test_other_folders(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that move the shells' folders are respected."""
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "BASH_COMPLETION_USER_DIR"):
        monkeypatch.setenv(name, str(terminal.folder / name))
    for shell in PLACES:
        terminal.well("completion", shell, "--install")
    wanted = {
        "BASH_COMPLETION_USER_DIR/completions/rmfab",
        "XDG_DATA_HOME/zsh/site-functions/_rmfab",
        "XDG_CONFIG_HOME/fish/completions/rmfab.fish",
    }
    assert set(files(terminal.folder)) == wanted


@pytest.mark.skipif(os.name != "posix", reason="homes of POSIX")
@pytest.mark.parametrize("shell", PLACES)
@pytest.mark.parametrize("home", ["", None])
def test_a_user_without_a_home(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, shell: str, home: str | None
) -> None:
    """Without a home folder, or with an empty HOME, nothing is written, except to a folder that a variable names."""
    if home is None:
        monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as for a user that passwd(5) does not have
        monkeypatch.delenv("HOME")
    else:
        monkeypatch.setenv("HOME", home)
    terminal("completion", shell, "--install").refused(3, "this user has no home folder", "set HOME")
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(terminal.folder / name))
    terminal.well("completion", shell, "--install")
    monkeypatch.delenv("RMFAB_STATE")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setattr("rmfab.ledger.host._SYSTEM_STATE", terminal.folder / "nowhere")
    with pytest.raises(StationError, match="this user has no home"):
        state_folder()


def test_what_is_there(terminal: Terminal) -> None:
    """An older script of rmfab is replaced; a file of somebody else is left alone."""
    path = terminal.folder / PLACES["bash"]
    path.parent.mkdir(parents=True)
    path.write_text("# older: _RMFAB_COMPLETE=bash_complete\n")
    assert json.loads(terminal.well("completion", "bash", "--install", "--json"))["changed"] is True
    path.write_text("mine\n")
    terminal("completion", "bash", "--install").refused(3, str(path), "not written by rmfab")
    assert path.read_text() == "mine\n"


@pytest.mark.parametrize("name", ["", "/bin/csh"])
def test_a_shell_that_is_not_known(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Without a shell that rmfab knows, it asks for one of three; nothing is written."""
    monkeypatch.setenv("SHELL", name)
    terminal("completion", "--install").refused(2, "bash, zsh, fish")
    terminal("completion", "csh").refused(2, "csh")
    assert files(terminal.folder) == {}


def offered(folder: Path, words: list[str], tmp_path: Path) -> list[str]:
    """Return what bash offers after *words*, with the installed script."""
    program = tmp_path / "bin" / "rmfab"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rmfab "$@"\n')
    program.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    settings = environment(HOME=str(home), PATH=f"{program.parent}:{os.environ['PATH']}", SHELL="/bin/bash")
    subprocess.run([program, "completion", "--install"], env=settings, check=True, capture_output=True)
    line = " ".join(map(shlex.quote, words))
    code = (
        f"source {shlex.quote(str(home / PLACES['bash']))}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
        'complete -p rmfab >&2; _rmfab_completion rmfab; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", code], cwd=folder, env=settings, capture_output=True, text=True, check=True)
    assert "-F _rmfab_completion rmfab" in done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_bash(lamp: Path, tmp_path: Path) -> None:
    """bash offers commands, subcommands, options, choices and the slots of station.toml."""
    (lamp / "station.toml").write_text(
        "".join(f'[[slot]]\nname = "{name}"\nport = "/dev/tty{name}"\n' for name in ("A1", "A2", "B1"))
    )
    for words, found in (
        (["rmfab", "la"], ["label"]),
        (["rmfab", "ledger", "re"], ["rebuild", "restore"]),
        (["rmfab", "label", "--fo"], ["--format", "--force"]),
        (["rmfab", "label", "--format", "s"], ["svg"]),
        (["rmfab", "run", "--port", "A"], ["A1", "A2"]),
        (["rmfab", "-q", "completion", "z"], ["zsh"]),
        (["rmfab", "--he"], ["--help"]),
        (["rmfab", "nothing", "x"], []),
    ):
        assert sorted(offered(lamp, words, tmp_path)) == sorted(found), words


def test_completing_loads_nothing_heavy(tmp_path: Path) -> None:
    """The names of commands are completed without importing a single one, and a command's options without its tools."""
    code = (
        "import sys; from rmfab.cli import main\n"
        "try: main([])\n"
        "except SystemExit: pass\n"
        "bad = [name for name in ('sqlalchemy', 'cryptography', 'esptool', 'reportlab') if name in sys.modules]\n"
        "commands = [name for name in sys.modules if name.startswith('rmfab.commands.')]\n"
        "print(bad, len(commands), file=sys.stderr)"
    )
    for line, number, most in (("rmfab ", "1", 2), ("rmfab run --", "2", 6)):
        settings = environment(_RMFAB_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=number)
        done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, check=True)
        heavy, count = done.stderr.split("] ")
        assert heavy == "["
        assert int(count) <= most, done.stderr


def test_slots_without_a_workspace(tmp_path: Path) -> None:
    """Where there is no workspace, or a broken one, a port is completed as a file."""
    (tmp_path / "product.toml").write_text("[[[")
    for folder in (tmp_path, tmp_path / ".."):
        said = process(
            cwd=folder, _RMFAB_COMPLETE="bash_complete", COMP_WORDS="rmfab run --port /dev/tt", COMP_CWORD="3"
        )
        assert said.out == "file,/dev/tt\n", said.err
