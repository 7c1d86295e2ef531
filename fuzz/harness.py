"""The common part of the targets: the first byte of an input selects the reader, and an input may cost only so much."""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from rmfab.cli import explain
from rmfab.errors import RmfabError, printable

Reader = Callable[[bytes], object]

MOST_SECONDS = 5.0
"""CPU time for one input: far more than any takes, also instrumented and on a slow machine."""
MOST_GROWTH = 128 << 10
"""By how much one input may raise the process's largest size, in KiB (Linux counts `ru_maxrss` in KiB)."""


def read_one(readers: Sequence[Reader], data: bytes) -> None:
    """Read *data* with the reader that its first byte selects. Raise any foreign exception: it is a finding.

    So are too much CPU time or memory, and an error that cannot be shown as it is.
    """
    if not data:
        return
    began, size = time.process_time(), _largest()
    try:
        readers[data[0] % len(readers)](data[1:])
    except RmfabError as error:
        with shown():
            explain(error)
        json.loads(json.dumps(error.event()))
    seconds, growth = time.process_time() - began, _largest() - size
    if seconds > MOST_SECONDS or growth > MOST_GROWTH:
        raise AssertionError(f"one input took {seconds:.1f} s and {growth >> 10} MiB")


def _largest() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@contextlib.contextmanager
def shown() -> Iterator[io.StringIO]:
    """Collect what is printed in this block. Raise AssertionError if a terminal would act on a character of it."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield printed
    judge_shown(printed.getvalue())


def judge_shown(text: str) -> None:
    """Raise AssertionError unless *text* is shown as it is by every terminal."""
    if printable(text) != text:
        raise AssertionError(f"not printable: {text[:200]!r}")


def fuzz(one_input: Reader) -> None:
    """Fuzz until libFuzzer's arguments end it."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
