"""The common part of the targets: the first byte of an input selects the reader, and libFuzzer runs."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence

from rmfab.errors import RmfabError

Reader = Callable[[bytes], object]


def read_one(readers: Sequence[Reader], data: bytes) -> None:
    """Read *data* with the reader that its first byte selects. Raise any foreign exception: it is a finding."""
    if data:
        with contextlib.suppress(RmfabError):
            readers[data[0] % len(readers)](data[1:])


def fuzz(one_input: Reader) -> None:
    """Fuzz until libFuzzer's arguments end it."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
