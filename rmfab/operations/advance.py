"""Progress of long operations: the event that each of them yields, and running one to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Advance:
    """Progress: *done* of *total* pieces are finished; *total* is 0 while unknown. *what* names the stage, if any."""

    done: int
    total: int
    what: str = ""


def completed(events: Iterable[Advance | T], on_advance: Callable[[Advance], None] = lambda _: None) -> T:
    """Run an operation to its end and return its value. *on_advance* receives the progress."""
    ended: list[T] = []
    for event in events:
        if isinstance(event, Advance):
            on_advance(event)
        else:
            ended.append(event)
    (value,) = ended
    return value
