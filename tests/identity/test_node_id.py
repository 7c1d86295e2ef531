"""Node ids."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError, UnitFault
from rmfab.identity import node_id
from rmfab.product.vocabulary import NodeIdKind

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("number", "short"),
    [
        ("3b1f8b40-222c-4a6e-b77e-779d5a94e21c", "CXc85b4rqinB7s5J52TRYb"),  # the example of shortuuid's README
        ("00000000-0000-0000-0000-000000000000", "2" * 22),
    ],
)
def test_shortuuid_is_that_of_the_library(number: str, short: str) -> None:
    """Known UUIDs give the same ids as the shortuuid library."""
    assert node_id.shortuuid(uuid.UUID(number)) == short


@given(st.uuids())
def test_a_shortuuid_can_be_read_back(number: uuid.UUID) -> None:
    """A shortuuid is the number in base 57, most significant digit first, always 22 digits."""
    short = node_id.shortuuid(number)
    value = 0
    for character in short:
        value = value * 57 + ALPHABET.index(character)
    assert (value, len(short)) == (number.int, 22)


def test_drawn_ids_are_version_4() -> None:
    """A drawn id is a random UUID of version 4 made from the given 16 bytes."""
    drawn = node_id.draw(NodeIdKind.UUID4, lambda count: b"\xab" * count)
    assert uuid.UUID(drawn).version == 4
    assert node_id.shortuuid(uuid.UUID(drawn)) == node_id.draw(NodeIdKind.SHORTUUID, lambda count: b"\xab" * count)


def test_given_ids_are_not_drawn() -> None:
    """Ids of kind `values` cannot be drawn."""
    with pytest.raises(ValueError, match="CSV"):
        node_id.draw(NodeIdKind.VALUES, lambda count: b"")


@pytest.mark.parametrize("good", ["a", "x" * 60, "node-1_2.3:4", "AABBCCDDEEFF"])
def test_good_ids(good: str) -> None:
    """Ids that firmware and cloud support pass."""
    assert node_id.check(good) == good


@pytest.mark.parametrize("bad", ["", "x" * 61, "a b", "a/b", "a+b", "#", "ü", "a\n", 'a"b', "a\0"])
def test_bad_ids(bad: str) -> None:
    """Ids that are too long, or would break a topic or JSON, are rejected."""
    with pytest.raises(InputError):
        node_id.check(bad)


def test_the_same_node() -> None:
    """A unit that reports the ledger's node is that node; any other name is `other-identity`, with both names."""
    node_id.judge_same_node("node-1", "node-1")
    with pytest.raises(UnitFault) as caught:
        node_id.judge_same_node("node-2", "node-1")
    assert caught.value.cause == "other-identity"
    assert caught.value.what == 'the unit reports node "node-2", the ledger has "node-1"'


def test_what_a_unit_says_is_shown_printable_and_short() -> None:
    """Text from a unit is shown printable and short."""
    with pytest.raises(UnitFault) as caught:
        node_id.judge_same_node("\x1b[2J" + "x" * 500, "node-1")
    assert "\x1b" not in caught.value.what
    assert len(caught.value.what) < 200
