"""The file in which a host remembers how fast each slot may talk over each bridge.

It is a convenience: a file that cannot be read or written costs the climb from the first rate, nothing else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeGuard

from rmfab.board.rates import RateRecord
from rmfab.errors import InputError
from rmfab.files import locked, make_folder, read_input, write_file
from rmfab.json_text import parse_json

_MOST_SLOTS = 512
_LONGEST_ADDRESS = 300
_LARGEST_FILE = 1 << 20
_HIGHEST = 10_000_000

Key = tuple[str, str]
"""The address of a slot's port, and the USB ids of its bridge."""


class RateBook:
    """The records in the file *path*, shared by the threads and processes of a host."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._one = threading.Lock()

    def read(self, key: Key) -> RateRecord | None:
        """Return the record of a slot and its bridge, None if there is none."""
        return self._all().get(key)

    def change(self, key: Key, learn: Callable[[RateRecord | None], RateRecord]) -> None:
        """Replace the record of *key* by what *learn* makes of it; the slots that were used last are kept."""
        with self._one:
            try:
                make_folder(self._path.parent, secret=True)
                with locked(self._path.with_suffix(".lock")):
                    records = self._all()
                    new = learn(records.pop(key, None))
                    latest = dict(list(records.items())[1 - _MOST_SLOTS :]) | {key: new}
                    write_file(self._path, _text(latest), force=True, sync=False)
            except InputError:  # a state folder that cannot be written is reported by what needs it
                return

    def _all(self) -> dict[Key, RateRecord]:
        try:
            value = parse_json(read_input(self._path, most=_LARGEST_FILE), fractions=False)
        except (InputError, ValueError):
            return {}
        rows = value.get("slots") if isinstance(value, dict) else None
        read = map(_record, rows if isinstance(rows, list) else [])
        return dict(one for one in read if one is not None)


def _text(records: dict[Key, RateRecord]) -> bytes:
    rows = [
        {"port": port, "bridge": usb, "baud": one.rate, "passed": one.passed,
         "errors": {str(rate): count for rate, count in sorted(one.errors.items())}}
        for (port, usb), one in records.items()
    ]  # fmt: skip
    return (json.dumps({"slots": rows}, indent=1) + "\n").encode()


def _record(row: object) -> tuple[Key, RateRecord] | None:
    """Return the record in *row*, None if a person has damaged it."""
    if not isinstance(row, dict):
        return None
    port, usb, rate, passed, errors = (row.get(name) for name in ("port", "bridge", "baud", "passed", "errors"))
    if not (isinstance(port, str) and len(port) <= _LONGEST_ADDRESS and isinstance(usb, str)):
        return None
    if not (_is_count(rate) and _is_count(passed) and isinstance(errors, dict)):
        return None
    counted = {int(name): count for name, count in errors.items() if name.isdecimal() and len(name) < 9}
    if not all(map(_is_count, counted.values())):
        return None
    return (port, usb), RateRecord(rate, passed, counted)


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _HIGHEST
