"""What the targets share: the first byte of an input chooses the reader, and libFuzzer is run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence

from rmfab.errors import RmfabError

Reader = Callable[[bytes], object]


def read_one(readers: Sequence[Reader], data: bytes) -> None:
    """Reads *data* by the reader that its first byte names. Raises what rmfab does not expect: a finding."""
    if data:
        with contextlib.suppress(RmfabError):
            readers[data[0] % len(readers)](data[1:])


def fuzz(one_input: Reader) -> None:
    """Fuzzes until libFuzzer's arguments say that it is enough."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
