"""The terminal: the small protocol through which operations print and ask. The command line and tests implement it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rmfab.errors import InputError
from rmfab.secret import Secret

if TYPE_CHECKING:
    from logging import Logger


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return *number* and *noun*: `1 label`, `2 labels`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


@dataclass(frozen=True)
class KeyPress:
    """A key that the operator pressed; *slot* is the name of its slot, None if unknown."""

    key: str
    slot: str | None = None


@dataclass(frozen=True)
class Scan:
    """A code that a scanner read; *slot* is the name of its slot, None if unknown."""

    text: str
    slot: str | None = None


class Terminal(Protocol):
    """The operator's terminal, as operations see it."""

    @property
    def interactive(self) -> bool:
        """Whether an operator can answer; if not, no questions are asked."""

    def say(self, text: str) -> None:
        """Print one line of information."""

    def warn(self, text: str, hint: str | None = None) -> None:
        """Print one line of warning, and a hint what to do."""

    def confirm(self, question: str) -> bool:
        """Ask a yes-or-no question; return the answer."""

    def ask(self, question: str) -> str:
        """Ask a question and show the answer while it is typed; return the answer."""

    def passphrase(self, question: str, *, twice: bool = False, optional: bool = False) -> Secret[str]:
        """Ask for a secret without showing it; *twice* if it is new. It may be empty only if it is *optional*."""

    def inputs(self) -> Iterator[KeyPress | Scan]:
        """Yield key presses and scans as they come, until the terminal ends."""


def scanned_lines(terminal: Terminal) -> Iterator[str]:
    """Yield what the scanner reads; a code that it reads on behalf of a slot comes after the name of the slot."""
    for one in terminal.inputs():
        if isinstance(one, Scan):
            yield from (one.text,) if one.slot is None else (one.slot, one.text)


class Unattended:
    """A terminal without an operator: messages go to the logger `rmfab`, and questions raise InputError."""

    interactive = False

    def say(self, text: str) -> None:
        """Log *text*."""
        _logger().info("%s", text)

    def warn(self, text: str, hint: str | None = None) -> None:
        """Log *text* and *hint* as a warning."""
        _logger().warning("%s", f"{text}; {hint}" if hint else text)

    def confirm(self, question: str) -> bool:
        """Raise InputError: no operator can answer."""
        raise _nobody(question)

    def ask(self, question: str) -> str:
        """Raise InputError: no operator can answer."""
        raise _nobody(question)

    def passphrase(self, question: str, *, twice: bool = False, optional: bool = False) -> Secret[str]:  # noqa: ARG002
        """Raise InputError: no operator can answer."""
        raise _nobody(question)

    def inputs(self) -> Iterator[KeyPress | Scan]:
        """Yield nothing."""
        return iter(())


UNATTENDED = Unattended()


def _logger() -> Logger:
    import logging  # slow to import, and a command line logs nothing

    return logging.getLogger("rmfab")


def _nobody(question: str) -> InputError:
    return InputError(f"there is no terminal to ask on: {question}", cause="no-terminal")
