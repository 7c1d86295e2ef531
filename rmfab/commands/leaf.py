"""What every command of the tree has: `-q` and `--json`, wherever they stand on the line, and renamed options."""

from __future__ import annotations

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


class Branch(click.Group):
    """A group whose commands are leaves."""

    command_class = Leaf


def _note_json(context: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        globals_of(context).json = True


def _note_quiet(context: click.Context, _: click.Parameter, given: bool) -> None:
    if given:
        globals_of(context).quiet = True
