"""The command line: the group with its commands, and the one table of exit codes.

Commands are imported when they are called, so `rmfab --help` loads nothing heavy. stdout carries data, stderr messages.
"""

from __future__ import annotations

import errno
import gc
import importlib
import io
import keyword
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from rmfab.commands.terminal import INTERRUPTED, Globals
from rmfab.errors import InputError, IntegrityError, RmfabError, StationError, UnitsFailed, UsageError, one_line
from rmfab.signals import repeat_lost_interrupts

if TYPE_CHECKING:
    from types import FrameType

    from click.shell_completion import CompletionItem

COMMANDS = {
    "init": "Create a workspace: product.toml, keys and a .gitignore.",
    "demo": "Run the whole line on virtual boards, from nothing.",
    "ca": "Create, import or show the CA that signs device certificates.",
    "generate": "Make a batch of identities, sealed into the ledger.",
    "import": "Import a batch that was made elsewhere, sealed into the ledger.",
    "build": "Write a batch's factory images and their mass_mfg CSVs.",
    "export": "Write the files with which a cloud registers units.",
    "register": "Register units in their cloud, or ask it which it has.",
    "nvs": "Generate, show or check NVS images.",
    "release": "Build, sign, verify or show a firmware release.",
    "trust": "Choose whose releases this station accepts.",
    "ota": "Check, export, serve or try updates over the air.",
    "cloud": "Check credentials on a broker, or serve a cloud for tests.",
    "ports": "List the slots of this host and the boards that are plugged in.",
    "flash": "Give boards their identity and write their flash.",
    "verify": "Prove that flashed units boot and have the right identity.",
    "run": "Run the line: every step on every slot.",
    "reset": "Factory-reset units and prove that their identity is untouched.",
    "reconcile": "Compare boards with the ledger after an interruption.",
    "void": "Retire identities for good.",
    "reidentify": "Give the board of a returned unit a different identity.",
    "label": "Print labels as PDF sheets, pictures or on the terminal.",
    "scan": "Tell which unit a scanned label belongs to.",
    "units": "List units with their verdicts.",
    "status": "Count the units of each batch by state.",
    "report": "Write a report of a batch or a shift, for people and spreadsheets.",
    "trace": "Show the history of a unit, or the units that got a release.",
    "handover": "Hand identities over to a factory, in a file that only its station can open.",
    "receive": "Receive a handover, and make or extend the workspace here.",
    "return": "Write what happened since the last return, for the owner of the identities.",
    "merge": "Merge the return of a factory: its units, boards, results and labels.",
    "ledger": "Check the ledger, back it up, move it to a different host.",
    "slot": "List slots, take them out of service, put them back.",
    "station": "Find this station's slots, write its card, or admit a different one.",
    "printer": "List, ask and try label printers, or serve a virtual one.",
    "board": "Serve virtual boards.",
    "doctor": "Find what is missing on this host, and how to fix it.",
    "logs": "Remove old console logs.",
    "completion": "Complete the command line with the tab key in bash, zsh or fish.",
}

NEW_OBJECTS = 20_000
"""How many objects are new when Python looks for cycles of garbage, 700 by default (docs.python.org, gc.set_threshold).

Imports make tens of thousands of objects, and all of them stay: with the default, a tenth of the time until `flash`
opens its port is spent on looking at them again and again.
"""

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

# Errors of the operating system that the station causes, not a bug in rmfab, besides those of `file_error`.
TROUBLES = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


def load_command(name: str) -> click.Command:
    """Import the command *name* of `COMMANDS`. The module of one that is a word of Python ends with `_`."""
    module = importlib.import_module(f"rmfab.commands.{name}{'_' * keyword.iskeyword(name)}")
    command: click.Command = module.command
    return command


class LazyGroup(click.Group):
    """A group of the commands in `rmfab.commands`, one file each, imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order of a unit's life."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command of this name, None if it is unknown."""
        if cmd_name not in COMMANDS:
            return None
        return load_command(cmd_name)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands and options that *incomplete* may become, without importing the commands."""
        from click.shell_completion import CompletionItem

        named = [CompletionItem(name, help=what) for name, what in COMMANDS.items() if name.startswith(incomplete)]
        return named + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve the command as Click does, and suggest one for a misspelt name.

        `label check` is `scan`: `label` takes the names of units, so it cannot have a command of its own.
        """
        if args[:2] == ["label", "check"]:
            args = ["scan", *args[2:]]
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            close = get_close_matches(args[0], [*COMMANDS, "--version", "--help"], n=1)
            if close:
                raise click.UsageError(f"{error.message} Did you mean '{close[0]}'?", ctx) from None
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands from the table above, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-C",
    "folder",
    type=click.Path(path_type=Path, readable=False),
    help="Workspace (default: the folder of the nearest product.toml).",
)
@click.option("-q", "--quiet", is_flag=True, help="Show only warnings and errors on stderr.")
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, help="Show the version and exit.",
    callback=lambda ctx, _, wanted: _tell_version(ctx) if wanted else None,
)  # fmt: skip
@click.pass_context
def group(ctx: click.Context, folder: Path | None, quiet: bool) -> None:
    """The manufacturing line for ESP RainMaker devices.

    It gives every board its own identity, flashes it, proves that it boots and can be provisioned, prints its label and
    records everything in a ledger. To try it without hardware, run `rmfab demo`.
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
    """Run the command line and return the exit code. Only here does an exception become an exit code."""
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
        return _unread(given)
    except OSError as error:
        trouble = _station_trouble(error)
        return _unexpected(error, given) if trouble is None else _end(trouble, given)
    except Exception as error:  # noqa: BLE001 - a bug: the traceback goes to a file, a short message to the user
        return _unexpected(error, given)
    except BaseException as error:
        if type(error).__module__ != "pyo3_runtime":  # the panic of a Rust module does not inherit from Exception
            raise
        return _unexpected(error, given)
    return 0


def _station_trouble(error: OSError) -> StationError | None:
    """Return the error to report if the host caused it, None if it is a bug in rmfab."""
    from rmfab.files import file_error

    where = "standard output" if error.filename is None else str(error.filename)
    found = file_error("cannot continue", error, where)
    if not isinstance(found, StationError) and error.errno not in TROUBLES:
        return None
    try:
        sys.stdout.flush()
    except OSError:  # stdout itself is full, and would fail again at exit
        _let_go(sys.stdout)
    if isinstance(found, StationError):
        return found
    hint = "check the permissions, then run the command again"
    cause = "no-permission" if isinstance(error, PermissionError) else None
    return StationError(found.what, where=where, hint=hint, cause=cause)


def _call(arguments: list[str], given: Globals) -> None:
    """Run the command, without Click's `main`: it has different exit codes for ^C and for a closed stdout."""
    if "_RMFAB_COMPLETE" in os.environ:
        group.main(args=arguments, prog_name="rmfab")  # shell completion; ends the process
    with group.make_context("rmfab", arguments, obj=given) as context:
        group.invoke(context)


def exit_code(error: BaseException) -> int:
    """Return the exit code of *error*; that of a bug for an exception that rmfab does not expect."""
    for kind, code in EXIT_CODES:
        if isinstance(error, kind):
            return code
    return EXIT_BUG


def explain(error: BaseException, interrupted: str = INTERRUPTED) -> None:
    """Print on stderr what went wrong, where, and how to fix it. Consecutive complaints with one hint print it once."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        _speak(f"rmfab: {interrupted}")
        return
    complaints = error.complaints if isinstance(error, RmfabError) else (error,)
    hints = [complaint.hint if isinstance(complaint, RmfabError) else None for complaint in complaints]
    for complaint, hint, following in zip(complaints, hints, [*hints[1:], None], strict=True):
        lead = "rmfab: " if isinstance(complaint, UnitsFailed) else "rmfab: error: "
        _speak(_unbroken(f"{lead}{complaint}"))
        if hint and hint != following:
            _speak(_unbroken(f"rmfab: hint: {hint}"))


def _unbroken(text: str) -> str:
    """Return *text*, which may quote a file or what was typed, so that it cannot pass for two messages."""
    return one_line(text, 10 * len(text))  # an escape has at most 10 characters


def _end(error: RmfabError | KeyboardInterrupt | click.Abort, given: Globals) -> int:
    """Explain the error on stderr; with --json also on stdout, if nothing was printed there."""
    if isinstance(error, RmfabError):
        _tell_in_json(error, given)
    explain(error, given.interrupted)
    return exit_code(error)


def _tell_in_json(error: RmfabError, given: Globals) -> None:
    if given.json and not given.told:
        import json

        with suppress(OSError):  # the error matters more than a closed stdout
            click.echo(json.dumps(error.event()))


def _refuse(error: click.ClickException, given: Globals) -> int:
    """Report an error in the command line as every other error is reported."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _speak(error.format_message())
        return error.exit_code
    what = " ".join(error.format_message().split())  # Click lists choices on lines of their own
    _tell_in_json(InputError(what, cause="usage"), given)
    _speak(_unbroken(f"rmfab: error: {what}"))
    if context is not None:
        _speak(f"rmfab: hint: see `{context.command_path} --help`")
    return error.exit_code


def _speak(text: str) -> None:
    """Print *text* on stderr; if stderr is closed, only the exit code remains."""
    from rmfab.commands.folding import fold, width_of

    try:
        click.echo(fold(text, width_of(sys.stderr)), err=True)
    except BrokenPipeError:
        _let_go(sys.stderr)


def _unread(given: Globals) -> int:
    """End well and silently: the reader of stdout, such as `head`, has all that it wants.

    A line that no one reads any more has been stopped, and ends as after ^C.
    """
    _let_go(sys.stdout)
    return EXIT_INTERRUPTED if given.unread else 0


def _let_go(stream: TextIO) -> None:
    """Discard what is still buffered in *stream*, so that the flush at exit does not fail again."""
    try:
        number = stream.fileno()
    except OSError:  # a stream in memory
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _unexpected(error: BaseException, given: Globals) -> int:
    """End as after ^C if *error* was raised because of it, else report a bug.

    Some code wraps KeyboardInterrupt in its own exception: Python 3.11 raises RuntimeError from it if ^C comes while a
    class is created, for example during an import.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, KeyboardInterrupt):
            return _end(cause, given)
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return _report_bug()


def _report_bug() -> int:
    import tempfile
    import traceback

    descriptor, path = tempfile.mkstemp(prefix="rmfab-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        traceback.print_exc(file=stream)
    kind = sys.exc_info()[0]
    _speak(f"rmfab: error: a bug in rmfab: {kind.__name__ if kind else 'unknown'}")
    _speak(f"rmfab: hint: the traceback is in {path}; please report it with the command that you ran")
    return EXIT_BUG


def run() -> None:
    """Run the console script. SIGTERM and SIGHUP end a command as ^C does."""
    repeat_lost_interrupts()
    _replace_closed_streams()
    gc.set_threshold(NEW_OBJECTS)
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)
    for stream in (sys.stdout, sys.stderr):  # a character that the terminal cannot show must not end a command
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(main())


def _replace_closed_streams() -> None:
    """Put the null device in place of each standard stream that the caller closed, as in `rmfab status >&-`.

    Python has None for it, and its number would be that of the next file that is opened.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends


def _interrupt(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt
