"""What commands say: speech on stderr, data on stdout, JSON where it is asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from rmfab.errors import printable


def quiet() -> bool:
    """Whether -q was given."""
    context = click.get_current_context(silent=True)
    return bool(context and getattr(context.find_root().obj, "quiet", False))


def say(text: str) -> None:
    """One line of speech, unless -q was given."""
    if not quiet():
        click.echo(f"rmfab: {printable(text)}", err=True)


def warn(text: str) -> None:
    """One line of warning, -q or not."""
    click.echo(f"rmfab: warning: {printable(text)}", err=True)


def data(text: str) -> None:
    """One line of data."""
    click.echo(printable(text))


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """*number* and *noun*: `1 label`, `2 labels`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def document(value: Any) -> None:
    """One JSON document."""
    _json(value, indent=2)


def json_line(value: Any) -> None:
    """One JSON object on a line of its own, at once."""
    _json(value, indent=None)


def _json(value: Any, indent: int | None) -> None:
    has_all_letters = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, indent=indent, ensure_ascii=not has_all_letters)
    context = click.get_current_context(silent=True)
    if context is not None and context.find_root().obj is not None:
        context.find_root().obj.told = True
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """A plain table on stdout: columns two spaces apart, numbers to the right, no trailing spaces."""
    cells = [tuple("" if cell is None else str(cell) for cell in row) for row in rows]
    widths = [max(len(head[i]), *(len(row[i]) for row in cells)) if cells else len(head[i]) for i in range(len(head))]
    right = [bool(rows) and all(isinstance(row[i], int) for row in rows) for i in range(len(head))]
    for line in (head, *cells):
        padded = (
            cell.rjust(width) if r else cell.ljust(width) for cell, width, r in zip(line, widths, right, strict=True)
        )
        data("  ".join(padded).rstrip())


def folder() -> Any:
    """The -C folder of this command line, None where it was not given."""
    return click.get_current_context().find_root().obj.folder


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; the yielded function takes how many of *total* are done."""
    if quiet() or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
