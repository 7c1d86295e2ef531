"""What every command of the tree has: `-q` and `--json` wherever they stand, renamed options, whole summaries."""

from __future__ import annotations

import re
from typing import Any

import click

from rmfab.commands.terminal import globals_of


class Leaf(click.Command):
    """A command; every one has the options --json and --quiet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [
            click.Option(["--json"], is_flag=True, expose_value=False, is_eager=True, callback=_note_json,
                         help="Print JSON."),
            click.Option(["-q", "--quiet"], is_flag=True, expose_value=False, is_eager=True, callback=_note_quiet,
                         help="Show only warnings and errors on stderr."),
        ]  # fmt: skip

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse *args* as Click does, but raise UsageError for an option with one value that is given twice.

        Click would silently use the last value: with two keys, one of two passphrase files.
        """
        given = self.make_parser(ctx).parse_args(list(args))[2]
        single = (one for one in given if isinstance(one, click.Option) and not one.multiple and not one.is_flag)
        for option in single if not ctx.resilient_parsing else ():
            if given.count(option) > 1:
                raise click.UsageError(f"{max(option.opts, key=len)} is given twice, but has only one value", ctx)
        return super().parse_args(ctx, args)


class Branch(click.Group):
    """A group whose commands are leaves."""

    command_class = Leaf

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with their whole summaries: Click cuts them at 45 columns."""
        named = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, summary(command)) for name, command in named if command is not None and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def summary(command: click.Command) -> str:
    """The first sentence of the help text of *command*."""
    paragraph = " ".join((command.help or "").split("\n\n")[0].split())
    sentence = re.match(r".*?[.?](?=\s|$)", paragraph)
    return sentence[0] if sentence else paragraph


def _note_json(context: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        globals_of(context).json = True


def _note_quiet(context: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        globals_of(context).quiet = True
