"""The desk to which scanned codes come: it gives each to the slot that asks for it.

One scanner serves all slots. If several slots ask, the one that asked first is prompted, and gets the next code; the
code of a slot, which is its name, moves that slot to the front. A line is read only while a slot asks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from rmfab.errors import InputError
from rmfab.signals import SLICE_SECONDS


@dataclass
class _Question:
    """A question of *slot*: *say* gives the operator the *prompt*. *asked* once that was done; *code* is the answer,
    which may contain a PoP."""

    slot: str
    prompt: str
    say: Callable[[str], None]
    asked: bool = False
    code: str | None = field(default=None, repr=False)


class CodeDesk:
    """The codes in *lines*, for the slots with these names. Usable from every thread; close it at the end."""

    def __init__(self, lines: Iterator[str], slots: Collection[str]) -> None:
        self._lines = lines
        self._slots = {name.lower(): name for name in slots}
        self._waiting: list[_Question] = []
        self._changed = threading.Condition()
        self._reader: threading.Thread | None = None
        self._ended = False

    def code(self, slot: str, prompt: str, say: Callable[[str], None], keep_going: Callable[[], None]) -> str:
        """Say *prompt* when it is the turn of *slot*, and return its code. *keep_going* raises to give up.

        Raise InputError (cause `no-terminal`) if no more codes come.
        """
        question = _Question(slot, prompt, say)
        with self._changed:
            self._waiting.append(question)
            self._read_lines()
            self._changed.notify_all()
        try:
            while question.code is None:
                keep_going()
                self._wait(question)
        finally:
            with self._changed:
                if question in self._waiting:
                    self._waiting.remove(question)
                self._changed.notify_all()
        return question.code

    def close(self) -> None:
        """Read no more lines."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _wait(self, question: _Question) -> None:
        """Wait for a moment, or until something changes; prompt if *question* has come to the front."""
        with self._changed:
            if self._ended and question.code is None:
                raise InputError(
                    "no code and no answer for this board: the terminal has ended",
                    where=question.slot,
                    hint="run rmfab on a terminal, or pipe one code per line into it",
                    cause="no-terminal",
                )
            if self._waiting and self._waiting[0] is question and not question.asked:
                question.asked = True
                question.say(question.prompt)
            if question.code is None:
                self._changed.wait(SLICE_SECONDS)

    def _read_lines(self) -> None:
        if self._reader is None:
            self._reader = threading.Thread(target=self._read, name="codes", daemon=True)  # a read cannot be ended
            self._reader.start()

    def _read(self) -> None:
        try:
            while self._is_wanted() and (line := next(self._lines, None)) is not None:
                with self._changed:
                    self._take(line)
                    self._changed.notify_all()
        finally:
            self.close()  # also if reading fails: nobody waits for a code that cannot come

    def _is_wanted(self) -> bool:
        """Wait until a slot asks, and return True, or until the desk is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._waiting)
            return not self._ended

    def _take(self, line: str) -> None:
        """Give *line* to the slot in front, or move the slot that it names to the front."""
        named = self._slots.get(line.strip().lower())
        if not self._waiting or not line.strip():
            return
        if named is None:
            self._waiting.pop(0).code = line
            return
        of_slot = next((one for one in self._waiting if one.slot == named), None)
        if of_slot is None:
            self._waiting[0].say(f"slot {named} does not wait for a code")
            return
        self._waiting.remove(of_slot)
        self._waiting.insert(0, of_slot)
        for one in self._waiting:
            one.asked = False
