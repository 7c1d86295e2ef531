"""Running an operation to its end."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from rmfab.operations.advance import Advance, completed


def work(closed: list[bool]) -> Generator[Advance | str, None, None]:
    """An operation of two pieces that notes when it is closed."""
    try:
        yield Advance(1, 2)
        yield Advance(2, 2)
        yield "made"
    finally:
        closed.append(True)


def test_the_value_at_the_end() -> None:
    """The value that an operation ends with is returned; what comes before is passed on in order."""
    seen: list[Advance] = []
    assert completed(work([]), seen.append) == "made"
    assert seen == [Advance(1, 2), Advance(2, 2)]


def test_an_operation_is_closed_at_once() -> None:
    """If the caller fails on the way, the operation is closed before the error leaves `completed`."""
    closed: list[bool] = []

    def fail(_: Advance) -> None:
        raise KeyboardInterrupt

    operation = work(closed)
    with pytest.raises(KeyboardInterrupt):
        completed(operation, fail)
    assert closed == [True]
