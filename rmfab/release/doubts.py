"""What is worth a warning about a release, but no reason to refuse it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rmfab.release.release import Release


@dataclass(frozen=True)
class Doubt:
    """A warning about a release: *what*, and the *hint* what to check."""

    what: str
    hint: str


def doubts_about(release: Release) -> Iterator[Doubt]:
    """Yield the doubts about a release for any product."""
    for row in release.table.partitions:
        if row.other_flags:
            yield Doubt(
                f'the partition "{row.label}" has unknown flags 0x{row.other_flags:x}, which ESP-IDF ignores',
                "check the last column of the partition table",
            )
