"""How a release's owner counts it: version, seq, notes, and the time of its sources as manifests write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from rmfab.errors import InputError

LARGEST_SEQ = (1 << 53) - 1  # what every reader of JSON takes for a whole number
LARGEST_TIME = 8**11 - 1  # what the header of an archive holds: until the year 2242

_MOST_NOTES = 64 << 10
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_MOMENT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Edition:
    """How its owner counts a release: *version* (the app's own where it is empty), *seq*, which only ever grows, and
    *notes*. *created* in seconds of Unix time: of the sources, not of the build. Raises InputError."""

    version: str = ""
    seq: int | None = None
    notes: str = ""
    created: int | None = None

    def __post_init__(self) -> None:
        if len(self.notes.encode()) > _MOST_NOTES:
            raise InputError(f"the notes have over {_MOST_NOTES >> 10} KiB", hint="a link to them, perhaps")
        if self.version and not _VERSION.fullmatch(self.version):
            raise InputError(f'"{self.version}" is no version', hint="at most 64 of A-Z a-z 0-9 . + _ -")
        for name, number, largest in (("seq", self.seq, LARGEST_SEQ), ("time", self.created, LARGEST_TIME)):
            if number is not None and not 0 <= number <= largest:
                raise InputError(f"{number} is no {name} of a release: 0 to {largest}")


NO_EDITION = Edition()
"""That of a build which nobody has released."""


def moment(seconds: int) -> str:
    """A time as manifests write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime(_MOMENT)


def parse_moment(text: str) -> int:
    """The inverse of `moment`. Raises ValueError."""
    return int(datetime.strptime(text, _MOMENT).replace(tzinfo=UTC).timestamp())
