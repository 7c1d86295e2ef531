"""A worker that adds, fails and dies on request; what processes can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from rmfab.errors import ComplaintsError, InputError


class Sums:
    """Adds, with the order on top."""

    def __init__(self, order: int) -> None:
        if order < 0:
            raise InputError("a negative order", where="order")
        self._order = order

    def add(self, chunk: list[int]) -> int:
        """The sum of *chunk*; 13 is refused, 99 kills."""
        if 13 in chunk:
            raise InputError("thirteen", where="here:13", hint="leave it out")
        if 99 in chunk:
            os.kill(os.getpid(), signal.SIGKILL)
        return sum(chunk) + self._order

    def complain(self, chunk: list[int]) -> int:
        """Refuses each number with a place of its own."""
        raise ComplaintsError([InputError("no", where=f"here:{number}") for number in chunk])

    def divide(self, chunk: list[int]) -> float:
        """A bug where a number is 0."""
        return 1 / chunk[0]

    def odd_error(self, chunk: list[int]) -> None:
        """An error that no pipe can carry."""
        raise OddError(len(chunk), "more")

    def pid(self, chunk: list[int]) -> int:
        """Who does it; the second number of a chunk is how many milliseconds it takes."""
        time.sleep(chunk[1] / 1000)
        return os.getpid()

    def speak(self, chunk: list[int]) -> list[int]:
        """Prints as a library would, and gives the chunk back."""
        print("spoken")  # noqa: T201
        os.write(1, b"spoken\n")
        return chunk

    def big(self, chunk: list[int]) -> bytes:
        """A result that no pipe holds at once."""
        return bytes(chunk[0])

    def modules(self, chunk: list[int]) -> list[str]:
        """What this process has imported."""
        return sorted(sys.modules)[: chunk[0]]

    def touch(self, chunk: tuple[str, int]) -> None:
        """Leaves a file that says that it was begun, and takes its time."""
        Path(chunk[0]).touch()
        time.sleep(chunk[1])


class OddError(Exception):
    """An error that cannot be made again from what it was pickled to."""

    def __init__(self, one: int, two: str) -> None:
        super().__init__(f"{one} {two}")
