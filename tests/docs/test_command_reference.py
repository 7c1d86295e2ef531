"""docs/commands.md and the help pages: written from the commands, complete, and with examples that can be typed."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator

import click
import pytest

from rmfab.cli import group
from tests.docs.pages import DOCS, REFERENCE
from tests.terminal import Terminal


def _tree(
    command: click.Command = group, name: str = "rmfab", parent: click.Context | None = None
) -> Iterator[click.Context]:
    context = click.Context(command, info_name=name, parent=parent)
    yield context
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _tree(found, inner, context)


COMMANDS = tuple(_tree())
GROUPS = tuple(context for context in COMMANDS if isinstance(context.command, click.Group))


def _examples() -> Iterator[str]:
    for context in COMMANDS:
        for line in re.sub(r"\\\n +", "", context.command.help or "").splitlines():
            if line.strip().startswith("rmfab "):
                yield re.split(r" {2,}", line.strip())[0]


def test_the_reference_is_up_to_date() -> None:
    """docs/commands.md is what docs/build_commands.py writes."""
    spec = importlib.util.spec_from_file_location("build_commands", DOCS / "build_commands.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (DOCS / REFERENCE).read_text() == module.as_markdown(), "`./dev docs` writes docs/commands.md again"


@pytest.mark.parametrize("context", COMMANDS, ids=lambda context: context.command_path)
def test_the_reference_shows_every_command_with_its_options(context: click.Context) -> None:
    """Every command has a section, and every option that help shows stands in it."""
    text = (DOCS / REFERENCE).read_text()
    if context.parent is None:
        return
    section = re.split(rf"^#+ {context.command_path}$", text, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    for parameter in context.command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert any(name in section or name in ("--json", "-q", "--quiet") for name in parameter.opts)


@pytest.mark.parametrize("context", GROUPS, ids=lambda context: context.command_path)
def test_summaries_are_whole_sentences(context: click.Context, terminal: Terminal) -> None:
    """`--help` of a group shows a whole sentence for each command, cut nowhere."""
    words = context.command_path.split()[1:]
    listed = terminal.well(*words, "--help").split("Commands:\n")[1]
    summaries = re.split(r"^  \S+ +(?=\S)", listed, flags=re.MULTILINE)[1:]
    assert len(summaries) == len(context.command.list_commands(context))
    for summary in summaries:
        text = " ".join(summary.split())
        assert text[-1] in ".?", text
        assert not text.endswith("..."), text
        assert text[0].isupper(), text


@pytest.mark.parametrize("example", sorted(set(_examples())))
def test_examples_in_help_can_be_typed(example: str) -> None:
    """Every example on a help page names a command and options that exist, with all that it requires."""
    _, *arguments = shlex.split(example)
    command: click.Command = group
    while isinstance(command, click.Group):
        name = arguments.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, example
        command = found
    assert command.make_context(name, arguments).params is not None
