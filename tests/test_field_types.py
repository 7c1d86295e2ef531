"""Values of the wrong type in a dataclass."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from rmfab.field_types import mistyped


@dataclass(frozen=True)
class Row:
    """What a database may fill."""

    name: str
    size: int | None = None
    seconds: float = 0.0
    more: Mapping[str, int] = field(default_factory=dict)


@pytest.mark.parametrize("row", [Row("a"), Row("a", 7), Row("a", None, 1), Row("a", more={"b": 1})])
def test_right_types(row):
    """A value whose fields have their types has no mistyped field; an integer is a number."""
    assert mistyped(row) is None


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (Row(b"a"), "name"),
        (Row(None), "name"),
        (Row("a", "7"), "size"),
        (Row("a", 7, None), "seconds"),
        (Row("a", more=[1]), "more"),
    ],
)
def test_wrong_types(row, name):
    """The first field that is not of its type is named."""
    assert mistyped(row) == name
