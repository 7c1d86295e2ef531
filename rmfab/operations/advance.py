"""How far a long operation is, as the one event that all of them yield on the way, and running one to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Advance:
    """*done* of *total* pieces are finished; a *total* of 0 is not known yet. *what* names the stage, if any."""

    done: int
    total: int
    what: str = ""


def completed(events: Iterable[Advance | T], on_advance: Callable[[Advance], None] = lambda _: None) -> T:
    """Runs an operation to its end; returns the value that it ends with. *on_advance* is called on the way."""
    ended: list[T] = []
    for event in events:
        if isinstance(event, Advance):
            on_advance(event)
        else:
            ended.append(event)
    (value,) = ended
    return value
