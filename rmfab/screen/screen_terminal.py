"""The terminal of a line that runs under the screen: it asks on the screen, and its scans come from there.

Until the screen is shown, and after it is gone, it is the terminal of the command.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto

from rmfab.errors import InputError
from rmfab.operations.terminal import KeyPress, Scan, Terminal
from rmfab.secret import Secret


class Answers(Enum):
    """What answers a question: yes or no, a text, or a text that is not shown."""

    YES_OR_NO = auto()
    TEXT = auto()
    HIDDEN = auto()


@dataclass(frozen=True)
class Question:
    """A question to the operator. The thread that asked waits for `answer`."""

    text: str
    kind: Answers
    _answers: queue.SimpleQueue[str | None] = field(default_factory=queue.SimpleQueue, compare=False, repr=False)

    def answer(self, text: str | None) -> None:
        """Answer; None if nobody will."""
        self._answers.put(text)

    def wait(self) -> str:
        """Return the answer. Raise InputError (cause `no-terminal`) if there will be none."""
        text = self._answers.get()
        if text is None:
            raise InputError(f"the screen has ended before this was answered: {self.text}", cause="no-terminal")
        return text


Show = Callable[[Question | tuple[str, str]], None]
"""Shows a question, or a message as its level and text. Usable from every thread."""


class ScreenTerminal:
    """The terminal of the command, *before*, with the screen in front of it between `shown` and `ended`."""

    def __init__(self, before: Terminal) -> None:
        self._before = before
        self._show: Show | None = None
        self._inputs: queue.SimpleQueue[KeyPress | Scan | None] = queue.SimpleQueue()
        self._open: list[Question] = []
        self.wants_input = False

    @property
    def interactive(self) -> bool:
        """Whether an operator can answer: always under the screen."""
        return self._show is not None or self._before.interactive

    def shown(self, show: Show) -> None:
        """Ask and tell by *show* from now on."""
        self._show = show

    def ended(self) -> None:
        """Ask on the terminal of the command again. Questions that are open get no answer, and inputs end."""
        self._show = None
        for question in self._open:
            question.answer(None)
        self._inputs.put(None)

    def feed(self, one: KeyPress | Scan) -> None:
        """Hand *one* to whoever reads `inputs`."""
        self._inputs.put(one)

    def say(self, text: str) -> None:
        """Show one line of information."""
        if self._show is None:
            self._before.say(text)
        else:
            self._show(("info", text))

    def warn(self, text: str, hint: str | None = None) -> None:
        """Show one line of warning, with its hint."""
        if self._show is None:
            self._before.warn(text, hint)
        else:
            self._show(("warning", f"{text}; {hint}" if hint else text))

    def confirm(self, question: str) -> bool:
        """Ask a yes-or-no question; return the answer."""
        if self._show is None:
            return self._before.confirm(question)
        return self._asked(self._show, question, Answers.YES_OR_NO) == "y"

    def ask(self, question: str) -> str:
        """Ask a question; return the answer."""
        if self._show is None:
            return self._before.ask(question)
        return self._asked(self._show, question, Answers.TEXT)

    def passphrase(self, question: str, *, twice: bool = False, optional: bool = False) -> Secret[str]:
        """Ask for a secret without showing it; return it."""
        if self._show is None:
            return self._before.passphrase(question, twice=twice, optional=optional)
        return Secret(self._asked(self._show, question, Answers.HIDDEN))

    def _asked(self, show: Show, text: str, kind: Answers) -> str:
        question = Question(text, kind)
        self._open.append(question)
        try:
            show(question)
            return question.wait()
        finally:
            self._open.remove(question)

    def inputs(self) -> Iterator[KeyPress | Scan]:
        """Yield what the operator scans for the line, until the screen ends."""
        if self._show is None and self._before.interactive is False:
            yield from self._before.inputs()
        while True:
            self.wants_input = True
            try:
                one = self._inputs.get()
            finally:
                self.wants_input = False
            if one is None:
                return
            yield one
