"""What an operation can say and ask: a small protocol, which the command line, a screen and tests implement."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from rmfab.errors import InputError
from rmfab.secret import Secret

_LOGGER = logging.getLogger("rmfab")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """*number* and *noun*: `1 label`, `2 labels`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


@dataclass(frozen=True)
class KeyPress:
    """A key that the operator pressed; *slot* names the slot it belongs to, if the terminal knows."""

    key: str
    slot: str | None = None


@dataclass(frozen=True)
class Scan:
    """What a scanner read; *slot* names the slot it belongs to, if the terminal knows."""

    text: str
    slot: str | None = None


class Terminal(Protocol):
    """The operator, as an operation sees them."""

    @property
    def interactive(self) -> bool:
        """Whether somebody can answer; only then are the questions below asked."""

    def say(self, text: str) -> None:
        """One line of information."""

    def warn(self, text: str, hint: str | None = None) -> None:
        """One line of warning, and what to do about it."""

    def confirm(self, question: str) -> bool:
        """The answer to a yes-or-no question."""

    def ask(self, question: str) -> str:
        """The answer to a question, shown while it is typed."""

    def passphrase(self, question: str, *, twice: bool = False, optional: bool = False) -> Secret[str]:
        """A secret, not shown while it is typed; asked for *twice* if it is new, empty only if it is *optional*."""

    def inputs(self) -> Iterator[KeyPress | Scan]:
        """Key presses and scans as they come, until the terminal ends."""


class Unattended:
    """A terminal with nobody at it: what is said goes to the logger `rmfab`, and no question is asked."""

    interactive = False

    def say(self, text: str) -> None:
        """Logs *text*."""
        _LOGGER.info("%s", text)

    def warn(self, text: str, hint: str | None = None) -> None:
        """Logs *text* and *hint* as a warning."""
        _LOGGER.warning("%s", f"{text}; {hint}" if hint else text)

    def confirm(self, question: str) -> bool:
        """Raises InputError: nobody can answer."""
        raise _nobody(question)

    def ask(self, question: str) -> str:
        """Raises InputError: nobody can answer."""
        raise _nobody(question)

    def passphrase(self, question: str, *, twice: bool = False, optional: bool = False) -> Secret[str]:  # noqa: ARG002
        """Raises InputError: nobody can answer."""
        raise _nobody(question)

    def inputs(self) -> Iterator[KeyPress | Scan]:
        """Nothing."""
        return iter(())


UNATTENDED = Unattended()


def _nobody(question: str) -> InputError:
    return InputError(f"there is no terminal to ask on: {question}", cause="no-terminal")
