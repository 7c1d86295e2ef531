"""A terminal that records the messages of an operation, and answers its questions from a list."""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.operations.terminal import KeyPress, Scan
from rmfab.secret import Secret


class Notebook:
    """A terminal with *answers* in order; without any it is not interactive."""

    def __init__(self, *answers: str | bool) -> None:
        self._answers = list(answers)
        self.interactive = bool(answers)
        self.said: list[str] = []
        self.warnings: list[str] = []
        self.questions: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def warn(self, text: str, hint: str | None = None) -> None:
        self.warnings.append(f"{text}; {hint}" if hint else text)

    def _answer(self, question: str) -> str | bool:
        self.questions.append(question)
        return self._answers.pop(0)

    def confirm(self, question: str) -> bool:
        return bool(self._answer(question))

    def ask(self, question: str) -> str:
        return str(self._answer(question))

    def passphrase(self, question: str, *, twice: bool = False, optional: bool = False) -> Secret[str]:
        return Secret(str(self._answer(question)))

    def inputs(self) -> Iterator[KeyPress | Scan]:
        return iter(())
