"""The fuzzing corpus: every input is read without a finding, and every reader has one that it accepts."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.provisioning import TARGETS, one_input
from rmfab.errors import RmfabError

CORPUS = sorted((Path(__file__).parents[2] / "fuzz/corpus/provisioning").iterdir())


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_no_finding(file: Path) -> None:
    """An input of the corpus ends in a value or an error of rmfab."""
    one_input(file.read_bytes())


def test_every_reader_accepts_something() -> None:
    """The corpus has good messages for every reader, so that fuzzing need not find them."""
    accepted = set()
    for file in CORPUS:
        data = file.read_bytes()
        try:
            TARGETS[data[0]](data[1:])
        except RmfabError:
            continue
        accepted.add(data[0])
    assert accepted == set(range(len(TARGETS)))
