"""The walk over a TOML file: types, complaints with their place, suggestions."""

from __future__ import annotations

import pytest

from rmfab.errors import ComplaintsError
from rmfab.product.toml_reader import Walker, suggestion


def test_suggestions() -> None:
    """A known word is suggested only for a similar one."""
    assert suggestion("mqqt_host", ["mqtt_host", "key"]) == 'did you mean "mqtt_host"?'
    assert suggestion("zebra", ["mqtt_host", "key"]) is None


def test_tables_of_an_array() -> None:
    """Complaints number the tables of an array from 1; a value that is not an array of tables is a complaint."""
    walker = Walker("station.toml", {"slot": [{"name": 1}, {"nme": "x"}]})
    for table in walker.tables("slot"):
        table.text("name")
        table.finish()
    with pytest.raises(ComplaintsError) as caught:
        walker.finish()
    wheres = [str(one.where) for one in caught.value.complaints]
    assert wheres == [
        "station.toml: [[slot]] no. 1 name",
        "station.toml: [[slot]] no. 2 name",
        "station.toml: [[slot]] no. 2 nme",
    ]
    walker = Walker("station.toml", {"slot": {"name": "x"}})
    assert walker.tables("slot") == []
    assert walker.complaints


def test_a_bool_is_no_number() -> None:
    """true is not accepted as 1, 1.0 or a string."""
    walker = Walker("f", {"t": {"a": True, "b": True, "c": True}})
    table = walker.table("t")
    assert table.integer("a", 5, 0, 9) == 5
    assert table.number("b", 0.5, 0.0, 9.0) == 0.5
    assert table.text("c", "d") == "d"
    assert len(walker.complaints) == 3
