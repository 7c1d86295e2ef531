"""The fuzzing corpus of bundles and trust files: it has no findings, and an input for every reader."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.bundle import TARGETS, one_input

CORPUS = sorted((Path(__file__).parents[2] / "fuzz/corpus/bundle").iterdir())


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_the_corpus_is_good(file: Path) -> None:
    """Every input of the corpus is accepted: fuzzing starts from valid files."""
    data = file.read_bytes()
    TARGETS[data[0]](data[1:])


def test_every_reader_has_an_input() -> None:
    """Every reader has an input in the corpus."""
    assert {file.read_bytes()[0] for file in CORPUS} == set(range(len(TARGETS)))


@given(st.sampled_from(CORPUS), st.data())
def test_no_finding_in_the_neighbourhood(file: Path, data: st.DataObject) -> None:
    """Removed, inserted and changed bytes raise only rmfab's own errors."""
    whole = bytearray(file.read_bytes())
    at = data.draw(st.integers(1, len(whole) - 1))
    length = data.draw(st.integers(0, 64))
    whole[at : at + length] = data.draw(st.binary(max_size=64))
    one_input(bytes(whole))
