"""Doubts about a release: warned about, not refused."""

from __future__ import annotations

from dataclasses import replace

from rmfab.release.doubts import doubts_about
from rmfab.release.partition_table import PartitionTable
from rmfab.release.release import Release


def test_unknown_flags_are_doubtful(tiny_release: Release):
    """Unknown flags give one warning for each row that has them, none without."""
    assert list(doubts_about(tiny_release)) == []
    first, *rest = tiny_release.table.partitions
    table = PartitionTable((replace(first, other_flags=8), *rest))
    (doubt,) = doubts_about(replace(tiny_release, table=table))
    assert f'"{first.label}" has unknown flags 0x8' in doubt.what
