"""Tests of the entry point: help, lazy commands, exit codes, streams, signals, completion."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from rmfab import cli
from rmfab.errors import (
    BatchUsedUp,
    CloneError,
    ComplaintsError,
    InputError,
    IntegrityError,
    LedgerError,
    PortError,
    StationError,
    UnitsFailed,
)
from rmfab.product.vocabulary import Chip
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from tests.terminal import ROOT, Terminal, environment, process, words

HEAVY = ("esptool", "cryptography", "reportlab", "sqlalchemy", "PIL", "pypdfium2", "zxingcpp", "rich", "serial")


def commands() -> Iterator[tuple[str, ...]]:
    """Yield every command, subcommands included."""
    for name in cli.COMMANDS:
        command = cli.load_command(name)
        yield (name,)
        if isinstance(command, click.Group):
            yield from ((name, sub) for sub in command.commands)


COMMANDS = tuple(commands())


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(tmp_path, capsys, monkeypatch)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(terminal: Terminal, command: tuple[str, ...]) -> None:
    """`--help` of every command describes it on stdout, in any position, in at most 80 columns."""
    said = terminal(*command, "--help")
    assert said.code == 0
    assert said.err == ""
    assert said.out.startswith(f"Usage: rmfab {' '.join(command)}")
    paragraphs = said.out.split("\n\n")
    assert paragraphs[1].strip(), "no sentence about the command"
    assert [line for line in said.out.splitlines() if len(line) > 80] == []


def test_the_table_is_the_folder() -> None:
    """The table lists exactly the files of commands/ that define a command; `_` keeps one from being a Python word."""
    there = {
        path.stem.removesuffix("_")
        for path in (ROOT / "rmfab" / "commands").glob("*.py")
        if re.search(r"^def command\(", path.read_text(), re.MULTILINE)
    }
    assert there == set(cli.COMMANDS)


def test_label_check_is_scan(terminal: Terminal) -> None:
    """`rmfab label check` is `rmfab scan`, and a batch or serial may have any other name."""
    assert terminal.well("label", "check", "--help") == terminal.well("scan", "--help")
    assert terminal.well("label", "--help").startswith("Usage: rmfab label")


def test_help_lists_the_table(terminal: Terminal) -> None:
    """`rmfab --help` lists every command with its line, in the order of a unit's life."""
    out = terminal.well("--help")
    listed = re.findall(r"^  (\w+)  +\S", out.split("Commands:")[1], re.MULTILINE)
    assert listed == list(cli.COMMANDS)


def loaded(*argv: str) -> list[str]:
    """Return the heavy libraries that a command line loads."""
    code = (
        "import sys, io, contextlib; from rmfab.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()): assert main(sys.argv[1:]) == 0\n"
        f"print(sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    found: list[str] = json.loads(done.stdout.replace("'", '"'))
    return found


def test_help_loads_nothing_heavy() -> None:
    """`rmfab --help` loads no library except Click, and none of rmfab's rooms."""
    assert loaded("--help") == []


def test_help_of_all_commands_loads_nothing_heavy() -> None:
    """`rmfab COMMAND --help` loads no esptool, cryptography, reportlab or SQLAlchemy for any command."""
    code = "import sys\nfrom rmfab.cli import COMMANDS, main\n"
    code += "for name in COMMANDS:\n    main([name, '--help'])\n"
    code += f"    assert not set(sys.modules) & set({HEAVY[:4]!r}), name"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr


def mentions() -> Iterator[tuple[str, int, str]]:
    """Yield every `rmfab xyz` in a string or comment of the sources and templates: file, line, text after `rmfab `."""
    shipped = (path for name in ("templates", "csv") for path in (ROOT / name).rglob("*") if path.is_file())
    places = [*(ROOT / "rmfab").rglob("*.py"), *shipped]
    for place in places:
        for number, line in enumerate(place.read_text(encoding="utf-8").splitlines(), 1):
            if line.lstrip().startswith(("from ", "import ")):
                continue
            for match in re.finditer(r"(?:`|^\s+|: )rmfab ((?:-C \S+ )?[a-z]\w*(?: [a-z]+)?)", line):
                yield str(place.relative_to(ROOT)), number, match[1]


def test_no_hint_names_a_command_that_is_not() -> None:
    """Every `rmfab xyz` that a source string mentions is a command, subcommands included."""
    groups = {command[0] for command in COMMANDS if len(command) == 2}
    found = list(mentions())
    assert len(found) > 40, "the search finds nothing any more"
    for place, line, text in found:
        first, *rest = re.sub(r"^-C \S+ ", "", text).split()
        assert first in cli.COMMANDS, f"{place}:{line}: rmfab {text}"
        if first in groups and rest:
            assert (first, rest[0]) in COMMANDS, f"{place}:{line}: rmfab {text}"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnitsFailed("1 of 2 units failed"), 1),
        (click.UsageError("no such option"), 2),
        (InputError("bad"), 3),
        (ComplaintsError([InputError("bad")]), 3),
        (BatchUsedUp("none left"), 3),
        (StationError("no printer"), 4),
        (PortError("absent"), 4),
        (LedgerError("locked"), 4),
        (OSError(28, "No space left on device"), 4),
        (OSError(24, "Too many open files"), 4),
        (OSError(30, "Read-only file system", "/x/y"), 4),
        (IntegrityError("chain"), 5),
        (CloneError("clone"), 5),
        (RuntimeError("oops"), 70),
        (OSError(9, "Bad file descriptor"), 70),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (BrokenPipeError(), 0),
        (click.exceptions.Exit(0), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_exit_codes(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, tmp_path: Path
) -> None:
    """Each exception has the exit code of the one table."""

    @click.command("status")
    def fails() -> None:
        raise error

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("rmfab.commands.status.command", fails)
    said = terminal("status")
    assert said.code == code
    assert "Traceback" not in said.err
    if code not in (0, 130):
        assert said.err.startswith("rmfab: ")


class _Panic(BaseException):
    """A stand-in for the exception of a Rust module's panic."""

    __module__ = "pyo3_runtime"


@pytest.mark.parametrize("kind", [ZeroDivisionError, _Panic])
def test_a_bug_writes_its_traceback_to_a_file(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type[BaseException]
) -> None:
    """A bug ends with a short message; the traceback is in the file that it names, readable only by its owner."""

    @click.command("status")
    def fails() -> None:
        raise kind("a very particular bug")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("rmfab.commands.status.command", fails)
    said = terminal("status")
    assert said.code == 70
    assert said.err.splitlines()[0] == f"rmfab: error: a bug in rmfab: {kind.__name__}"
    (path,) = tmp_path.glob("rmfab-*.log")
    assert str(path) in said.err
    assert "a very particular bug" in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


class _Interrupted:
    """An attribute during whose creation ^C comes."""

    def __set_name__(self, owner: type, name: str) -> None:
        raise KeyboardInterrupt


def _create_class() -> None:
    type("Anything", (), {"attribute": _Interrupted()})


def _open_badly() -> None:
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        raise OSError("cannot load") from None


@pytest.mark.parametrize("interrupted", [_create_class, _open_badly])
def test_a_wrapped_interrupt_is_an_interrupt(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, interrupted: Callable[[], None]
) -> None:
    """If a library wraps ^C in its own exception, the command still ends with 130 and reports no bug."""

    @click.command("status")
    def fails() -> None:
        interrupted()

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("rmfab.commands.status.command", fails)
    said = terminal("status")
    assert (said.code, said.err) == (130, "rmfab: interrupted; run the same command again to continue\n")
    assert list(tmp_path.glob("rmfab-*.log")) == []


def test_complaints_share_a_hint(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hint that consecutive complaints share is printed once, after the last of them."""

    @click.command("status")
    def fails() -> None:
        raise ComplaintsError([InputError("a", hint="x"), InputError("b", hint="x"), InputError("c", hint="y")])

    monkeypatch.setattr("rmfab.commands.status.command", fails)
    assert terminal("status").err.splitlines() == [
        "rmfab: error: a",
        "rmfab: error: b",
        "rmfab: hint: x",
        "rmfab: error: c",
        "rmfab: hint: y",
    ]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["genrate"], "Did you mean 'generate'?"),
        (["nvs", "shw"], "`rmfab nvs --help`"),
        (["status", "--jsn"], "--json"),
        (["void", "X"], "--reason"),
        (["generate", "--count", "0"], "--count"),
        (["generate", "--count", "many"], "--count"),
        (["flash", "--baud", "300"], "--baud"),
        (["demo", "--chip", "esp8266"], "esp32c3"),
        (["init"], "DIR"),
        (["-C"], "-C"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors(terminal: Terminal, argv: list[str], told: str) -> None:
    """A wrong command line ends with 2, on stderr, in the form of every other error."""
    said = terminal(*argv)
    said.refused(2, "rmfab: error: ", told)
    assert said.out == ""


def test_no_arguments_show_help(terminal: Terminal) -> None:
    """`rmfab` without a command shows its help on stderr and ends with 2."""
    said = terminal()
    assert (said.code, said.out) == (2, "")
    assert "Commands:" in said.err


def test_version(terminal: Terminal) -> None:
    """`rmfab --version` works, installed or not."""
    assert terminal.well("--version").startswith("rmfab ")


@pytest.mark.parametrize("argv", [("--help",), ("station", "key", "--json"), ("release", "--help")], ids=" ".join)
def test_an_unread_stdout_ends_quietly(tmp_path: Path, argv: tuple[str, ...]) -> None:
    """If the reader of stdout has gone, such as `head`, rmfab ends with 0 and prints nothing."""
    (tmp_path / "product.toml").write_text('[product]\nname = "L"\nchip = "esp32"\nserial = "L-{n}"\n')
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words(*argv), cwd=tmp_path, env=environment(), stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_full_stdout_is_told(tmp_path: Path) -> None:
    """A full stdout is an error of the station."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with full.open("w") as stream:
        done = subprocess.run(words("--help"), cwd=tmp_path, env=environment(), stdout=stream, stderr=subprocess.PIPE)
    assert done.returncode == 4
    assert b"standard output: cannot continue: No space left on device" in done.stderr


def test_a_terminal_that_cannot_show_a_letter(tmp_path: Path) -> None:
    """A character that the terminal's encoding lacks is escaped; the command continues."""
    product = '[product]\nname = "Lämpchen ☀"\nchip = "esp32"\nserial = "L-{n}"\n'
    (tmp_path / "product.toml").write_text(product, encoding="utf-8")
    said = process("ca", "show", cwd=tmp_path / ".", PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C.UTF-8")
    assert said.code == 3
    said = process("init", "L\u00e4mpchen", cwd=tmp_path, PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C.UTF-8")
    assert said.code == 0, said.err


def test_completion(tmp_path: Path) -> None:
    """Shell completion offers commands, subcommands and options."""
    for line, number, offered in (("rmfab la", "1", "label"), ("rmfab ledger ", "2", "rebuild")):
        said = process(cwd=tmp_path, _RMFAB_COMPLETE="bash_complete", COMP_WORDS=line, COMP_CWORD=number)
        assert f"plain,{offered}" in said.out.splitlines()
    assert "rmfab" in process(cwd=tmp_path, _RMFAB_COMPLETE="zsh_source").out


@pytest.mark.parametrize(
    "argv",
    ["release verify no", "release show no", "trust list", "status", "trace X", "nvs show no", "run", "ota check no"],
)
def test_a_command_that_fails_in_json(terminal: Terminal, argv: str) -> None:
    """With --json stdout gets the error as one object, with the same text as stderr; without --json it gets nothing."""
    said = terminal(*argv.split(), "--json")
    told = json.loads(said.out)
    (error,) = told["errors"]
    assert (said.code, told["event"]) == (3, "error")
    assert error["class"]
    assert f"{error['where']}: {error['reason']}" in said.err
    assert error.get("hint", "") in said.err
    assert terminal(*argv.split()).out == ""


def test_other_errors_in_json(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong option and an error of the operating system are JSON too, escaped as stdout's encoding requires."""
    said = terminal("status", "--jsn", "--json")
    assert (said.code, json.loads(said.out)["errors"][0]["class"]) == (2, "usage")

    @click.command("status")
    @click.option("--json", is_flag=True)
    def fails(json: bool) -> None:
        raise OSError(28, "full", "Lämpchen")

    monkeypatch.setattr("rmfab.commands.status.command", fails)
    said = terminal("status", "--json")
    assert (said.code, json.loads(said.out)["errors"][0]["where"]) == (4, "Lämpchen")


def test_an_answer_in_json_that_is_a_no_is_told_once(terminal: Terminal) -> None:
    """If a command has printed its document before it fails, no second one follows."""
    make_build_folder(Path("build"), FirmwareRecipe(Chip.ESP32C3, app_size=0x20000))
    terminal.well("release", "build", "build", "-o", "a.rmfab", "--seq", "1", "--no-sbom")
    said = terminal("ota", "check", "a.rmfab", "--from", "a.rmfab", "--json")
    assert (said.code, json.loads(said.out)["may"]) == (3, False)


def test_quiet_and_speech(terminal: Terminal) -> None:
    """`-q` silences information on stderr, never an error."""
    assert "created the workspace of a" in terminal("init", "a").err
    assert terminal("-q", "init", "b").err == ""
    terminal("-q", "-C", "nowhere", "status").refused(3, "nowhere")


def test_no_colour_in_a_pipe(tmp_path: Path) -> None:
    """Nothing is coloured if stdout is not a terminal."""
    said = process("demo", "--dir", "x.txt", "--units", "0", cwd=tmp_path, FORCE_COLOR="")
    assert "\x1b" not in said.out + said.err


def test_unread_stderr_keeps_the_exit_code() -> None:
    """If stderr is closed, an error keeps its own exit code, not that of a failed unit."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        for argv, code in ((["-C", "/nonexistent", "status"], 3), (["no-such-command"], 2)):
            done = subprocess.run([sys.executable, "-m", "rmfab", *argv], stderr=writing, check=False)
            assert done.returncode == code
    finally:
        os.close(writing)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="descriptors that a shell closes")
@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_streams_that_the_caller_closed(tmp_path: Path, closing: str) -> None:
    """A command whose stdin, stdout or stderr is closed from the start does its work, and ends as it would have."""
    rmfab = f"{sys.executable} -m rmfab"
    script = f"{rmfab} init {tmp_path / 'w'} --cloud-claim {closing} && {rmfab} -C {tmp_path / 'w'} generate --count 1 "
    script += f"{closing} && {rmfab} -C {tmp_path / 'w'} status {closing}; echo $? >{tmp_path / 'code'}"
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, env=environment())
    assert (tmp_path / "code").read_text() == "0\n", done.stderr
    assert "a bug in rmfab" not in done.stderr
    assert (tmp_path / "w" / "ledger.db").is_file()


def test_an_interrupt_while_modules_are_imported() -> None:
    """^C before the command has started ends it as ^C at any later time does: no traceback, 130."""
    code = (
        "import signal, sys, importlib.abc\n"
        "class Early(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Early())\n"
        "sys.argv = ['rmfab', '--version']\n"
        "from rmfab.__main__ import start\n"
        "start()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "rmfab: interrupted; run the same command again to continue\n"
