"""The command line: the group with its commands, and the one table from exceptions to exit codes.

Commands are imported when they are called, so that `rmfab --help` loads nothing heavy. stdout is data, stderr speech.
"""

from __future__ import annotations

import errno
import importlib
import io
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from rmfab.commands.terminal import Globals
from rmfab.errors import InputError, IntegrityError, RmfabError, StationError, UnitsFailed, UsageError, printable

if TYPE_CHECKING:
    from types import FrameType

COMMANDS = {
    "init": "make a workspace: product.toml, keys, .gitignore",
    "demo": "run the whole line on virtual boards, from nothing",
    "ca": "create, import or show the CA that signs device certificates",
    "generate": "make a batch of identities, sealed into the ledger",
    "build": "write a batch's factory images and their mass_mfg CSVs",
    "nvs": "generate, show or check NVS images",
    "release": "build, sign, verify or show a firmware bundle",
    "trust": "whose releases this station takes",
    "ota": "check, export or serve updates over the air",
    "ports": "list what is plugged in, as a slot table for station.toml",
    "flash": "give boards their identity and write their flash",
    "verify": "prove that flashed units boot and are who they ought to be",
    "run": "the line: every step on every slot",
    "reset": "factory reset: erase nvs, prove that the identity is untouched",
    "void": "retire an identity for ever",
    "label": "print labels as PDF sheets, pictures or on the terminal",
    "status": "count the units of batches",
    "trace": "tell everything that happened to a unit, or which units got a release",
    "ledger": "check, rebuild or back up the ledger",
    "station": "show this station, or admit another one",
    "board": "serve virtual boards",
    "doctor": "say what is missing on this host, and how to mend it",
}

EXIT_USAGE = 2
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (IntegrityError, 5),
    (UnitsFailed, 1),
    (StationError, 4),
    (UsageError, EXIT_USAGE),
    (InputError, 3),
    (KeyboardInterrupt, EXIT_INTERRUPTED),
    (click.Abort, EXIT_INTERRUPTED),
)

# What the operating system refuses for reasons that lie in the station, not in rmfab.
TROUBLES = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE}
)


class LazyGroup(click.Group):
    """A group whose commands live in `rmfab.commands`, one file each, imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands in the order of a unit's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of this name, None for an unknown one."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"rmfab.commands.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a misspelt command."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=1)
            if close:
                raise click.UsageError(f"{error.message} Did you mean '{close[0]}'?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands from the table above: nothing is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-C", "folder", type=click.Path(path_type=Path), help="The workspace (default: the nearest product.toml)."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress and no chatter on stderr; errors and warnings stay.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, help="Show the version and exit.",
    callback=lambda ctx, _, wanted: _tell_version(ctx) if wanted else None,
)  # fmt: skip
@click.pass_context
def group(ctx: click.Context, folder: Path | None, quiet: bool) -> None:
    """The manufacturing line for ESP RainMaker devices.

    Gives every board its own identity, flashes it, proves that it boots and answers, prints its label and remembers
    all of it in a ledger. Try it without hardware: rmfab demo
    """
    given = ctx.ensure_object(Globals)
    given.folder, given.quiet = folder, given.quiet or quiet


def _tell_version(ctx: click.Context) -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"rmfab {version('rmfab')}")
    except PackageNotFoundError:
        click.echo("rmfab (a checkout that is not installed)")
    ctx.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code. The only place where an exception becomes one."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    given = Globals(json="--json" in arguments)
    try:
        _call(arguments, given)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        return _refuse(error, given)
    except (RmfabError, KeyboardInterrupt, click.Abort) as error:
        return _end(error, given)
    except BrokenPipeError:
        return _unread()
    except OSError as error:
        if error.errno not in TROUBLES:
            return _report_bug()
        try:
            sys.stdout.flush()
        except OSError:  # the full one is stdout itself, and would be met again at the exit
            _let_go(sys.stdout)
        named = None if error.filename is None else str(error.filename)
        return _end(
            StationError(
                os.strerror(error.errno or 0).lower(),
                where=named,
                hint="look at the disk and its permissions, then repeat this",
            ),
            given,
        )
    except Exception:  # noqa: BLE001 - a bug: the traceback goes to a file, a short letter to the user
        return _report_bug()
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # the panic of a module in Rust is no Exception
            raise
        return _report_bug()
    return 0


def _call(arguments: list[str], given: Globals) -> None:
    """Runs the command. Not by click's `main`, which has exit codes of its own for ^C and for an unread stdout."""
    if "_RMFAB_COMPLETE" in os.environ:
        group.main(args=arguments, prog_name="rmfab")  # a shell asks what could stand here; ends the process
    with group.make_context("rmfab", arguments, obj=given) as context:
        group.invoke(context)


def exit_code(error: BaseException) -> int:
    """The exit code of an exception that rmfab expects."""
    for kind, code in EXIT_CODES:
        if isinstance(error, kind):
            return code
    return EXIT_BUG


def explain(error: BaseException) -> None:
    """Says on stderr what went wrong, where, and how to mend it; a hint that several complaints share once."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        _speak("rmfab: interrupted; the same command goes on where this one stopped")
        return
    complaints = error.complaints if isinstance(error, RmfabError) else (error,)
    hints = [complaint.hint if isinstance(complaint, RmfabError) else None for complaint in complaints]
    for complaint, hint, following in zip(complaints, hints, [*hints[1:], None], strict=True):
        lead = "rmfab: " if isinstance(complaint, UnitsFailed) else "rmfab: error: "
        _speak(printable(f"{lead}{complaint}"))
        if hint and hint != following:
            _speak(printable(f"rmfab: hint: {hint}"))


def _end(error: RmfabError | KeyboardInterrupt | click.Abort, given: Globals) -> int:
    """Explains the error; with --json also on stdout, where that has got nothing yet."""
    if isinstance(error, RmfabError):
        _tell_in_json(error, given)
    explain(error)
    return exit_code(error)


def _tell_in_json(error: RmfabError, given: Globals) -> None:
    if given.json and not given.told:
        with suppress(OSError):  # the error matters more than that nobody reads it
            click.echo(json.dumps(error.event()))


def _refuse(error: click.ClickException, given: Globals) -> int:
    """Says what is wrong with the command line, as every other error is said."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _speak(error.format_message())
        return error.exit_code
    _tell_in_json(InputError(error.format_message(), cause="usage"), given)
    _speak(printable(f"rmfab: error: {error.format_message()}"))
    if context is not None:
        _speak(f"rmfab: hint: `{context.command_path} --help`")
    return error.exit_code


def _speak(text: str) -> None:
    """Says *text* on stderr; where nobody reads that, the exit code still tells."""
    try:
        click.echo(text, err=True)
    except BrokenPipeError:
        _let_go(sys.stderr)


def _unread() -> int:
    """Nobody reads our stdout any more: what was under way has ended as after ^C, and nothing is left to say."""
    _let_go(sys.stdout)
    return EXIT_INTERRUPTED


def _let_go(stream: TextIO) -> None:
    """Lets what is still buffered in *stream* go nowhere, so that its closed end is not met again at the exit."""
    try:
        number = stream.fileno()
    except OSError:  # a stream in memory
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _report_bug() -> int:
    import tempfile
    import traceback

    descriptor, path = tempfile.mkstemp(prefix="rmfab-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        traceback.print_exc(file=stream)
    kind = sys.exc_info()[0]
    _speak(f"rmfab: error: a bug in rmfab: {kind.__name__ if kind else 'unknown'}")
    _speak(f"rmfab: hint: the traceback is in {path}; please send it with the command that you ran")
    return EXIT_BUG


def run() -> None:
    """The console script. SIGTERM and a terminal that goes away end a command as ^C does."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):  # a terminal that cannot show a letter must not end a command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
