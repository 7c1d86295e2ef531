"""Progress of long operations: the event that each of them yields, and running one to its end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Advance:
    """Progress: *done* of *total* pieces are finished; *total* is 0 while unknown. *what* names the stage, if any."""

    done: int
    total: int
    what: str = ""


def completed(events: Generator[Advance | T, None, None], on_advance: Callable[[Advance], None] = lambda _: None) -> T:
    """Run an operation to its end and return its value. *on_advance* receives the progress.

    If *on_advance* raises, or ^C comes, the operation is closed at once, so that it removes what is half-written.
    """
    ended: list[T] = []
    with closing(events):
        for event in events:
            if isinstance(event, Advance):
                on_advance(event)
            else:
                ended.append(event)
    (value,) = ended
    return value
