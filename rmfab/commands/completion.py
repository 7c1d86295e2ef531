"""`rmfab completion`: complete the command line in a shell."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=Leaf)
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Write the script to where the shell looks for it, in your home folder.")
@click.pass_context
def command(context: click.Context, shell: str | None, install: bool) -> None:
    """Complete commands, options, files and slots with the tab key in bash, zsh or fish.

    Prints the script for SHELL (default: the shell that you use), or installs it. Installing changes no file of yours,
    such as ~/.bashrc; remove the script to undo it.

    \b
    rmfab completion --install
    rmfab completion zsh
    """
    from rmfab.operations.shell_completion import Shell, install_completion

    chosen = Shell(shell or _own_shell())
    script = _script(chosen.value, context)
    if not install:
        if terminal.json_wanted():
            terminal.document({"shell": chosen.value, "script": script})
        else:
            terminal.verbatim(script)
        return
    done = install_completion(chosen, script, os.environ)
    terminal.say(f"{'installed' if done.changed else 'already installed'}: {done.path}; to undo it, remove this file")
    if done.left is not None:
        terminal.say(done.left)
    terminal.say(f"it works in each new {chosen.value}")
    terminal.show({"shell": chosen.value, "path": str(done.path), "changed": done.changed, "left": done.left}, None)


def _own_shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name in SHELLS:
        return name
    raise click.UsageError(f"name your shell: {', '.join(SHELLS)}")


def _script(shell: str, context: click.Context) -> str:
    from click.shell_completion import ShellComplete, get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, shell  # noqa: S101 - Click has these three
    complete = kind(context.find_root().command, {}, "rmfab", "_RMFAB_COMPLETE")
    return ShellComplete.source(complete).strip()  # without the check of bash's version, which runs bash
