"""A crew does every chunk once, hands on errors, and says when a process dies."""

import os

import pytest

from rmfab.errors import InputError, StationError
from rmfab.nvs.crew import Inline, Processes


class Sums:
    """A worker that adds, and fails on request."""

    def __init__(self, order: int) -> None:
        self._order = order

    def add(self, chunk: list[int]) -> int:
        if 13 in chunk:
            raise InputError("thirteen", where="here:13", hint="leave it out")
        if 99 in chunk:
            os._exit(1)
        return sum(chunk) + self._order


@pytest.fixture(scope="module")
def crew():
    """Two processes, for all tests that leave them alive."""
    made = Processes(Sums, 1000, 2)
    yield made
    made.close()


def test_every_chunk_is_done(crew):
    """Processes do what one does inline, each chunk once."""
    chunks = [[number, number + 1] for number in range(20, 60)]
    results = sorted(crew.run("add", iter(chunks)))
    assert results == sorted(Inline(Sums, 1000).run("add", chunks))
    assert len(results) == len(chunks)


def test_few_chunks_are_ahead(crew):
    """Chunks are drawn as they are needed: a million rows are never all in memory."""
    drawn = []

    def source():
        for number in range(200, 300):
            drawn.append(number)
            yield [number]

    run = crew.run("add", source())
    next(run)
    assert len(drawn) <= 6
    run.close()


def test_errors_come_whole(crew):
    """An error of a worker arrives with its place and hint."""
    with pytest.raises(InputError) as caught:
        list(crew.run("add", [[1], [13], [2]]))
    assert (caught.value.where, caught.value.hint) == ("here:13", "leave it out")


def test_dead_process():
    """A worker that dies is the station's fault, not the input's."""
    crew = Processes(Sums, 0, 1)
    with pytest.raises(StationError, match="died"):
        list(crew.run("add", [[1], [99], [2]]))
    crew.close()
