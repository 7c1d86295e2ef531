"""The edition of a release: version, seq, notes, and the time of its sources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from rmfab.errors import InputError

LARGEST_SEQ = (1 << 53) - 1  # the largest integer that every JSON parser keeps exact
LARGEST_TIME = 8**11 - 1  # limit of a USTAR header: the year 2242

_MOST_NOTES = 64 << 10
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Edition:
    """How the owner of a release numbers it: *version* (empty for the app's own), *seq*, which only grows, and *notes*.

    *created* is the time of the sources, not of the build, in Unix seconds. Raise InputError.
    """

    version: str = ""
    seq: int | None = None
    notes: str = ""
    created: int | None = None

    def __post_init__(self) -> None:
        if len(self.notes.encode()) > _MOST_NOTES:
            raise InputError(f"the notes are longer than {_MOST_NOTES >> 10} KiB", hint="link to them")
        if self.version and not _VERSION.fullmatch(self.version):
            raise InputError(f'"{self.version}" is not a version', hint="use 1 to 64 of A-Z a-z 0-9 . + _ -")
        for name, number, largest in (("seq", self.seq, LARGEST_SEQ), ("time", self.created, LARGEST_TIME)):
            if number is not None and not 0 <= number <= largest:
                raise InputError(f"{name} {number} is not in 0 to {largest}")


NO_EDITION = Edition()
"""The edition of a build that was not released."""


def moment(seconds: int) -> str:
    """Return a time as manifests write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime(_MOMENT)


def parse_moment(text: str) -> int:
    """Return the inverse of `moment`. Raise ValueError."""
    return int(datetime.strptime(text, _MOMENT).replace(tzinfo=UTC).timestamp())
