"""Output of commands: messages on stderr, data on stdout, JSON with --json, questions on the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmfab.commands.folding import fold, width_of
from rmfab.errors import printable
from rmfab.language.widths import cells, padded

if TYPE_CHECKING:
    from rmfab.operations.advance import Advance
    from rmfab.operations.terminal import KeyPress, Scan
    from rmfab.secret import Secret
    from rmfab.workspace.workspace import Workspace

T = TypeVar("T")

_LONGEST_LINE = 4096
INTERRUPTED = "interrupted; run the same command again to continue"


@dataclass
class Globals:
    """The global options: *folder* (-C), *quiet* (-q: only warnings and errors on stderr), *json* (--json),
    *operator* (--operator), *language* (--lang).

    *told*: JSON was printed on stdout. *unread*: a line was stopped because the reader of stdout has gone. *undraw*
    takes the live display off the terminal, None if there is none. *interrupted* is what is said at the end after ^C.
    """

    folder: Path | None = None
    quiet: bool = False
    json: bool = False
    operator: str | None = None
    language: str | None = None
    told: bool = False
    unread: bool = False
    undraw: Callable[[], None] | None = None
    interrupted: str = INTERRUPTED


def globals_of(context: click.Context) -> Globals:
    """Return the global options of the command line that *context* belongs to."""
    return context.find_root().ensure_object(Globals)


def _globals() -> Globals:
    context = click.get_current_context(silent=True)
    return globals_of(context) if context is not None else Globals()


def say_if_interrupted(text: str) -> None:
    """Say *text* at the end if the command is stopped by ^C."""
    _globals().interrupted = text


def quiet() -> bool:
    """Return whether -q was given."""
    return _globals().quiet


def json_wanted() -> bool:
    """Return whether --json was given."""
    return _globals().json


def stopped_by_reader() -> None:
    """Note that a line was stopped because the reader of stdout has gone: that is not its end."""
    _globals().unread = True


def folder() -> Path | None:
    """Return the folder of -C, None if it was not given."""
    return _globals().folder


def workspace() -> Workspace:
    """Open the workspace of -C, or the nearest; what others may use in it gets its mode back, with a warning."""
    from rmfab.workspace.workspace import open_workspace

    return _mended(open_workspace(folder()))


def folder_to_receive() -> Workspace:
    """Open the workspace as `workspace` does, or the folder that may become one: that of -C, or the current one."""
    from rmfab.workspace.workspace import Workspace, folder_to_receive

    return _mended(Workspace(folder_to_receive(folder())))


def nearest_workspace() -> Workspace | None:
    """Open the workspace as `workspace` does; return None if none is named and none is here or above."""
    from rmfab.workspace import workspace as workspaces

    found = workspaces.nearest_workspace(folder())
    return None if found is None else _mended(found)


def operator() -> str | None:
    """Return who works here: --operator, else RMFAB_OPERATOR, else the login name. Raise InputError."""
    from rmfab.workspace.workspace import host_badge

    return _globals().operator or host_badge().name


def _mended(opened: Workspace) -> Workspace:
    from rmfab.workspace.modes import mend_modes

    if (named := _globals().operator) is not None:
        opened.badge.pass_to(named)

    for what, hint in mend_modes(opened.root, opened.ledger_path):
        TERMINAL.warn(what, hint)
    return opened


def _hidden(question: str) -> str:
    text: str = click.prompt(printable(question), hide_input=True, default="", show_default=False, err=True)
    return text


class CommandTerminal:
    """The terminal of a command line: messages on stderr, questions if stdin is a terminal.

    A live display would draw over other text, so everything that is printed takes it off the terminal first. *said*
    puts a text into the operator's language.
    """

    def __init__(self, said: Callable[[str], str] = str) -> None:
        self._said = said

    @property
    def interactive(self) -> bool:
        """Whether stdin is a terminal."""
        return sys.stdin.isatty()

    def say(self, text: str) -> None:
        """Print one line of information, unless -q was given."""
        say(self._said(text))

    def warn(self, text: str, hint: str | None = None) -> None:
        """Print one line of warning and its hint, even with -q."""
        warn(self._said(text))
        if hint:
            speak(f"rmfab: hint: {self._said(hint)}")

    def confirm(self, question: str) -> bool:
        """Ask a yes-or-no question, until it is answered with one of them; return the answer. Enter alone is no."""
        _undraw()
        with _echoing(True):
            while True:
                text: str = click.prompt(f"{printable(question)} [y/N]", default="", show_default=False, err=True)
                match text.strip().lower():
                    case "y" | "yes":
                        return True
                    case "" | "n" | "no":
                        return False
                self.warn("answer y or n")

    def ask(self, question: str) -> str:
        """Ask a question; return the answer."""
        _undraw()
        with _echoing(True):
            answer: str = click.prompt(printable(question), err=True)
        return answer

    def passphrase(self, question: str, *, twice: bool = False, optional: bool = False) -> Secret[str]:
        """Ask for a secret without showing it; return it. With *twice* again, until both are the same."""
        from rmfab.secret import Secret

        _undraw()
        while True:
            text = _hidden(question)
            if not text and not optional:
                self.warn("this is empty; ^C ends the command")
            elif twice and text != _hidden("Repeat for confirmation"):
                self.warn("the two are not the same")
            else:
                return Secret(text)

    def inputs(self) -> Iterator[KeyPress | Scan]:
        """Yield each line of stdin as a scan, until stdin ends: a scanner types the code, and then Enter.

        It is read below Python's buffers, whose locks a thread that waits here would hold at the end of the process.
        """
        from rmfab.operations.terminal import Scan

        source, pending = sys.stdin.fileno(), b""
        with suppress(OSError):  # the terminal has gone
            while piece := os.read(source, _LONGEST_LINE):
                *lines, pending = (pending + piece).replace(b"\r", b"\n").split(b"\n")
                yield from (Scan(line[:_LONGEST_LINE].decode("utf-8", "replace")) for line in lines if line)
                pending = pending[:_LONGEST_LINE]
        if pending:
            yield Scan(pending.decode("utf-8", "replace"))


TERMINAL = CommandTerminal()


def unseen() -> AbstractContextManager[None]:
    """Let the terminal not show what is typed or scanned: it may contain a PoP. Answers to questions are shown."""
    return _echoing(False)


@contextmanager
def _echoing(shown: bool) -> Iterator[None]:
    """Let the terminal show what is typed, or not, and afterwards as before. ^C still works."""
    try:
        import termios

        source = sys.stdin.fileno()
        before = termios.tcgetattr(source)
    except (ImportError, ValueError, OSError, termios.error):  # no terminal, or a host without such settings
        yield
        return
    wanted = [*before]
    wanted[3] = before[3] | termios.ECHO if shown else before[3] & ~termios.ECHO
    termios.tcsetattr(source, termios.TCSANOW, wanted)
    try:
        yield
    finally:
        termios.tcsetattr(source, termios.TCSANOW, before)


@contextmanager
def drawn(undraw: Callable[[], None]) -> Iterator[None]:
    """Let all that is printed call *undraw*, which takes a live display off the terminal; call it at the end, too."""
    given = _globals()
    given.undraw = undraw
    try:
        yield
    finally:
        given.undraw = None
        undraw()


def _undraw() -> None:
    undraw = _globals().undraw
    if undraw is not None:
        undraw()


def say(text: str) -> None:
    """Print one line of information, unless -q was given."""
    if not quiet():
        speak(f"rmfab: {text}")


def warn(text: str) -> None:
    """Print one line of warning, even with -q."""
    speak(f"rmfab: warning: {text}")


def speak(text: str) -> None:
    """Print *text* on stderr. A line that is too wide for the terminal is folded."""
    _undraw()
    click.echo(fold(printable(text), width_of(sys.stderr)), err=True)


def data(text: str) -> None:
    """Print one line of data. One that is too wide for the terminal is folded; in a file or a pipe it stays whole."""
    _undraw()
    click.echo(fold(printable(text), width_of(sys.stdout)))


def verbatim(text: str) -> None:
    """Print *text* that is pasted into a file or a shell, as wide as it is."""
    _undraw()
    click.echo(printable(text))


def show(value: Any, text: str | None) -> None:
    """Print the JSON document *value* with --json, else *text* if there is one."""
    if json_wanted():
        document(value)
    elif text is not None:
        data(text)


def document(value: Any) -> None:
    """Print one JSON document."""
    _json(value, indent=2)


def documents(values: Iterable[Any]) -> None:
    """Print one JSON document, the list of *values*, while they are made: a list of a million needs little memory."""
    before = "[\n"
    for value in values:
        _globals().told = True
        sys.stdout.write(before)
        before = ",\n"
        sys.stdout.write(_json_text(value, indent=None))
    _globals().told = True
    sys.stdout.write("[]\n" if before == "[\n" else "\n]\n")
    sys.stdout.flush()


def json_line(value: Any) -> None:
    """Print one JSON object on one line, at once."""
    _json(value, indent=None)


def _json(value: Any, indent: int | None) -> None:
    text = _json_text(value, indent)
    _undraw()
    _globals().told = True
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _json_text(value: Any, indent: int | None) -> str:
    import json

    has_all_letters = (sys.stdout.encoding or "").lower().startswith("utf")
    text = json.dumps(value, indent=indent, ensure_ascii=not has_all_letters)
    return "".join(map(_json_letter, text)) if printable(text) != text else text


def _json_letter(letter: str) -> str:
    """Return *letter* of JSON, in the escape of JSON if it is not printable."""
    import json

    return letter if printable(letter) == letter else json.dumps(letter)[1:-1]


def table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Print a plain table: columns two spaces apart, numbers right-aligned, no trailing spaces.

    A wide letter takes two columns of a terminal. On one that is too narrow, the columns are one space apart, or each
    row is a list of its cells with their heads.
    """
    texts = [tuple("" if cell is None else str(cell) for cell in row) for row in rows]
    widths = [max(cells(line[i]) for line in (head, *texts)) for i in range(len(head))]
    columns, gaps = width_of(sys.stdout), len(widths) - 1
    gap = 2 if columns is None or sum(widths) + 2 * gaps <= columns else 1
    if columns is not None and sum(widths) + gaps > columns:
        _records(head, texts)
        return
    right = [bool(rows) and all(isinstance(row[i], int) for row in rows) for i in range(len(head))]
    for line in (head, *texts):
        filled = (
            cell.rjust(width) if r else padded(cell, width) for cell, width, r in zip(line, widths, right, strict=True)
        )
        data((" " * gap).join(filled).rstrip())


def _records(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print each row as its first cell and the others with their heads."""
    for first, *others in rows:
        named = (f"{name} {cell}".lstrip() for name, cell in zip(head[1:], others, strict=True) if cell)
        data("  ".join((first, *named)))


def followed(what: str, events: Generator[Advance | T, None, None]) -> T:
    """Return the value that *events* end with; show their progress as a bar on a terminal."""
    from rmfab.operations.advance import completed

    with _progress(what) as show_advance:
        return completed(events, show_advance)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[Advance], None]]:
    if quiet() or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    task = bar.add_task(what, total=None)

    def show_advance(advance: Advance) -> None:
        bar.start()  # not before the first advance, and again after a question
        bar.update(
            task, description=f"{what} {advance.what}".rstrip(), completed=advance.done, total=advance.total or None
        )

    with drawn(bar.stop):
        yield show_advance
