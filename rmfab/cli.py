"""The command line: the group with its commands, and the one table from exceptions to exit codes.

Commands are imported when they are called, so that `rmfab --help` loads nothing heavy. stdout is data, stderr speech.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from rmfab.errors import ComplaintsError, InputError, IntegrityError, RmfabError, StationError, UnitsFailed

COMMANDS = {
    "init": "make a workspace: product.toml, keys, .gitignore",
    "demo": "run the whole line on virtual boards, from nothing",
    "ca": "create, import or show the CA that signs device certificates",
    "generate": "make a batch of identities, sealed into the ledger",
    "build": "write a batch's factory images and their mass_mfg CSVs",
    "nvs": "generate, show or check NVS images",
    "release": "build, verify or show a firmware bundle",
    "ports": "list what is plugged in, as a slot table for station.toml",
    "flash": "give boards their identity and write their flash",
    "verify": "prove that flashed units boot and are who they ought to be",
    "run": "the line: every step on every slot",
    "void": "retire an identity for ever",
    "label": "print labels as PDF sheets, pictures or on the terminal",
    "status": "count the units of batches",
    "trace": "tell everything that happened to a unit",
    "ledger": "check, rebuild or back up the ledger",
    "station": "show this station, or admit another one",
    "board": "serve virtual boards",
}

EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_CODES: tuple[tuple[type[BaseException], int], ...] = (
    (IntegrityError, 5),
    (UnitsFailed, 1),
    (StationError, 4),
    (InputError, 3),
    (KeyboardInterrupt, EXIT_INTERRUPTED),
    (click.Abort, EXIT_INTERRUPTED),
)


class Globals(NamedTuple):
    """The global options: *folder* of -C, *quiet* for no progress and no chatter."""

    folder: Path | None = None
    quiet: bool = False


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
@click.version_option(package_name="rmfab", message="%(prog)s %(version)s")
@click.pass_context
def group(ctx: click.Context, folder: Path | None, quiet: bool) -> None:
    """The manufacturing line for ESP RainMaker devices.

    Gives every board its own identity, flashes it, proves that it boots and answers, prints its label and remembers
    all of it in a ledger. Try it without hardware: rmfab demo
    """
    ctx.obj = Globals(folder, quiet)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code. The only place where an exception becomes one."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        result = group.main(args=arguments, prog_name="rmfab", standalone_mode=False)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - the reader of our stdout has left
        return 0
    except (RmfabError, KeyboardInterrupt, click.Abort) as error:
        explain(error)
        return exit_code(error)
    except Exception:  # noqa: BLE001 - a bug: the traceback goes to a file, a short letter to the user
        return _confess()
    return result if isinstance(result, int) else 0


def exit_code(error: BaseException) -> int:
    """The exit code of an exception that rmfab expects."""
    for kind, code in EXIT_CODES:
        if isinstance(error, kind):
            return code
    return EXIT_BUG


def explain(error: BaseException) -> None:
    """Says on stderr what went wrong, where, and how to mend it."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        click.echo("rmfab: interrupted; the same command goes on where this one stopped", err=True)
        return
    for complaint in error.complaints if isinstance(error, ComplaintsError) else (error,):
        lead = "rmfab: " if isinstance(complaint, UnitsFailed) else "rmfab: error: "
        click.echo(f"{lead}{complaint}", err=True)
        if isinstance(complaint, RmfabError) and complaint.hint:
            click.echo(f"rmfab: hint: {complaint.hint}", err=True)


def _confess() -> int:
    import tempfile
    import traceback

    descriptor, path = tempfile.mkstemp(prefix="rmfab-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        traceback.print_exc(file=stream)
    kind = sys.exc_info()[0]
    click.echo(f"rmfab: error: a bug in rmfab: {kind.__name__ if kind else 'unknown'}", err=True)
    click.echo(f"rmfab: hint: the traceback is in {path}; please send it with the command that you ran", err=True)
    return EXIT_BUG


def run() -> None:
    """The console script."""
    sys.exit(main())
