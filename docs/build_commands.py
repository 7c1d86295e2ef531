"""The command reference: docs/commands.md, written from the Click tree. `./dev docs` writes it again."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from rmfab.cli import group

PAGE = Path(__file__).parent / "commands.md"
_HEAD = """# Commands

<!-- Written by docs/build_commands.py from the commands themselves; do not edit. -->

Every command also has `--help`, `--json` (print JSON) and `-q` (no progress on stderr). `rmfab -C DIR COMMAND` works in
the workspace DIR.
"""
_EVERYWHERE = ("--help", "--json", "--quiet")


def as_markdown() -> str:
    """The text of the page."""
    context = click.Context(group, info_name="rmfab")
    lines = [_HEAD, *_contents(context)]
    for name, command in _commands(group, context):
        lines += _sections(command, click.Context(command, info_name=name, parent=context), level=2)
    return "\n".join(lines).rstrip() + "\n"


def _commands(parent: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    """The subcommands that help shows, in its order."""
    for name in parent.list_commands(context):
        command = parent.get_command(context, name)
        if command is not None and not command.hidden:
            yield name, command


def _contents(context: click.Context) -> Iterator[str]:
    from rmfab.cli import COMMANDS

    yield "| command | what it does |\n|---|---|"
    for name, _ in _commands(group, context):
        yield f"| [`rmfab {name}`](#rmfab-{name}) | {COMMANDS[name]} |"
    yield ""


def _sections(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} rmfab {_path(context)}\n"
    yield f"```text\n{_usage(command, context)}\n```\n"
    yield from _prose(command.help or "")
    yield from _options(command, context)
    if command.epilog:
        yield from _prose(command.epilog)
    if isinstance(command, click.Group):
        for name, inner in _commands(command, context):
            yield from _sections(inner, click.Context(inner, info_name=name, parent=context), level + 1)


def _path(context: click.Context) -> str:
    return context.command_path.removeprefix("rmfab ")


def _usage(command: click.Command, context: click.Context) -> str:
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _prose(text: str) -> Iterator[str]:
    """Paragraphs; what Click must not wrap (after `\\b`) as a block, with its title line above."""
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        lines = [line.rstrip() for line in paragraph.splitlines()]
        if lines[0] != "\b":
            yield _escaped(" ".join(lines).strip()) + "\n"
            continue
        if lines[1].endswith(":"):
            yield _escaped(lines.pop(1)) + "\n"
        block = textwrap.dedent("\n".join(lines[1:]))
        yield f"```text\n{block}\n```\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    rows = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None and not set(_EVERYWHERE) & set(parameter.opts):
            rows.append(_row(parameter, *record))
    if rows:
        yield "\n".join(["| option | meaning |", "|---|---|", *rows]) + "\n"


def _row(option: click.Parameter, names: str, meaning: str) -> str:
    """An option's row. The values that it may have stand with the meaning, where a table has room for them."""
    if isinstance(option.type, click.Choice) and option.metavar is None:
        names = names.rsplit(" ", 1)[0]
        meaning = f"{meaning} One of {', '.join(map(str, option.type.choices))}."
    names = names.removesuffix(" RANGE").replace("|", "\\|")
    return f"| `{names}` | {_escaped(' '.join(meaning.split())).replace('|', chr(92) + '|')} |"


def _escaped(text: str) -> str:
    """*text* of a help page as Markdown: stars and angle brackets outside of code are meant literally."""
    pieces = text.split("`")
    pieces[::2] = [piece.replace("*", "\\*").replace("<", "&lt;") for piece in pieces[::2]]
    return "`".join(pieces)


if __name__ == "__main__":
    PAGE.write_text(as_markdown(), encoding="utf-8")
