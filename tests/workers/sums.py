"""A worker that adds, fails and dies on request, in a module that processes can import."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from rmfab.errors import ComplaintsError, InputError


class Sums:
    """A worker that adds the numbers of a chunk, and its order."""

    def __init__(self, order: int) -> None:
        if order < 0:
            raise InputError("a negative order", where="order")
        self._order = order

    def add(self, chunk: list[int]) -> int:
        """Return the sum of *chunk*. 13 is an input error, 99 kills the process."""
        if 13 in chunk:
            raise InputError("thirteen", where="here:13", hint="leave it out")
        if 99 in chunk:
            os.kill(os.getpid(), signal.SIGKILL)
        return sum(chunk) + self._order

    def complain(self, chunk: list[int]) -> int:
        """Raise one complaint per number, each with its own place."""
        raise ComplaintsError([InputError("no", where=f"here:{number}") for number in chunk])

    def divide(self, chunk: list[int]) -> float:
        """Fail with a bug if the first number is 0."""
        return 1 / chunk[0]

    def odd_error(self, chunk: list[int]) -> None:
        """Raise an error that cannot be unpickled."""
        raise OddError(len(chunk), "more")

    def pid(self, chunk: list[int]) -> int:
        """Return the process id. The second number of a chunk is the duration in milliseconds."""
        time.sleep(chunk[1] / 1000)
        return os.getpid()

    def speak(self, chunk: list[int]) -> list[int]:
        """Print like a library, and return the chunk."""
        print("spoken")  # noqa: T201
        os.write(1, b"spoken\n")
        return chunk

    def big(self, chunk: list[int]) -> bytes:
        """Return as many bytes as the first number, more than a pipe buffers."""
        return bytes(chunk[0])

    def modules(self, chunk: list[int]) -> list[str]:
        """Return the modules that this process has imported."""
        return sorted(sys.modules)[: chunk[0]]

    def touch(self, chunk: tuple[str, str]) -> int:
        """Create a file that marks the start, wait until the second one exists, and return the process id."""
        Path(chunk[0]).touch()
        while not Path(chunk[1]).exists():
            time.sleep(0.01)
        return os.getpid()


class OddError(Exception):
    """An error that can be pickled but not unpickled."""

    def __init__(self, one: int, two: str) -> None:
        super().__init__(f"{one} {two}")
