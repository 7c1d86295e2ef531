"""The walk over a TOML file: types, complaints with their place, suggestions."""

from __future__ import annotations

import tomllib
from enum import Enum
from pathlib import Path

import pytest

from rmfab.errors import ComplaintsError, InputError
from rmfab.product.toml_reader import Walker, as_toml, load_toml, parse_toml, suggestion
from rmfab.product.vocabulary import Security, Transport


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
        "station.toml: [[slot]] no. 2 nme",
    ]
    walker = Walker("station.toml", {"slot": {"name": "x"}})
    assert walker.tables("slot") == []
    assert walker.complaints


def test_a_misspelt_key_is_not_lacking_besides() -> None:
    """A required key that is misspelt is one complaint; one that is lacking, and a strange key, are two."""
    for given, complaints in (
        ({"prot": "a", "name": "b"}, ["unknown key"]),
        ({"zzz": "a", "name": "b"}, ["this key is required", "unknown key"]),
        ({"name": "b"}, ["this key is required"]),
        ({"port": "a", "prot": "a", "name": "b"}, ["unknown key"]),
    ):
        walker = Walker("station.toml", {"slot": given})
        table = walker.table("slot")
        table.text("port")
        table.text("name")
        table.finish()
        assert [one.what for one in walker.complaints] == complaints


def test_a_bool_is_no_number() -> None:
    """true is not accepted as 1, 1.0 or a string."""
    walker = Walker("f", {"t": {"a": True, "b": True, "c": True}})
    table = walker.table("t")
    assert table.integer("a", 5, 0, 9) == 5
    assert table.number("b", 0.5, 0.0, 9.0) == 0.5
    assert table.text("c", "d") == "d"
    assert len(walker.complaints) == 3


@pytest.mark.parametrize(
    "text",
    [
        "a = '" + "a." * 100 + "'",
        'a = "\\"' + "a." * 100 + '"',
        'a = """\n\'' + "a." * 100 + '"\n"""',
        "a = '''\n\"" + "a." * 100 + "'''",
        "a = 1 # " + "a." * 100,
        ".".join("a" * 30) + " = 1",
        "a = [" + "1.5, " * 100 + "]",
        "a = 0x7fffffffffffffff",
    ],
)
def test_only_keys_are_deep(tmp_path: Path, text: str) -> None:
    """Dots in strings, comments and numbers are no nesting."""
    path = tmp_path / "product.toml"
    path.write_text(text)
    load_toml(path, "product")


def test_most_complaints() -> None:
    """A file with thousands of errors gets fifty complaints, each of a length that can be read."""
    walker = Walker("x.toml", {"a": dict.fromkeys((f"k{n}" for n in range(5000)), 1), "b" * 100_000: 1})
    walker.table("a").finish()
    with pytest.raises(ComplaintsError) as caught:
        walker.finish()
    assert len(caught.value.complaints) == 50
    walker = Walker("x.toml", {"b" * 100_000: 1})
    with pytest.raises(ComplaintsError) as caught:
        walker.finish()
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "nested deeper"),
        ("a = " + "[" * 100 + "]" * 100, "nested deeper"),
        ("a = " + "{a=" * 300 + "1" + "}" * 300, "nested deeper"),
        (".".join("a" * 2000) + " = 1", "nested deeper"),
        ("[" + ".".join("a" * 2000) + "]", "nested deeper"),
        (".".join("a" * 400_000) + " = 1", "nested deeper"),
        ("'a' . " * 40 + "a = 1", "nested deeper"),
        ("a = 0x" + "f" * 5000, "more than 64 bits"),
        ("a = [{b = 0x8000000000000000}]", "more than 64 bits"),
        ("a = " + "9" * 4301, "not valid TOML"),
        ("a = 0x" + "g", "not valid TOML"),
        ("#" * (1 << 20) + "\n", "too large"),
    ],
)
def test_files_beyond_reason(tmp_path: Path, text: str, why: str) -> None:
    """Deep nesting, endless numbers and huge files are complaints about the file, not bugs of rmfab."""
    path = tmp_path / "product.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=why):
        load_toml(path, "product")


@pytest.mark.parametrize(
    ("text", "hinted"),
    [
        ("[a]\nprovision = no\n", True),
        ("[a]\nprovision = True", True),
        ("name = lamp", True),
        ("path = /tmp/build", True),
        ('name = "lamp', False),
        ("a = 1\na = 2", False),
        ("a = 0x", False),
    ],
)
def test_a_bare_word_is_explained(text: str, hinted: bool) -> None:
    """A value that is a bare word gets the hint how to write it; other errors of TOML get none."""
    with pytest.raises(InputError, match="not valid TOML") as caught:
        parse_toml(text, Path("product.toml"))
    assert caught.value.hint == ("write true or false; text needs quotes" if hinted else None)


def test_large_values_are_quoted_in_short() -> None:
    """A value of the wrong type or size is shown by its beginning, and a number beyond all floats is a complaint."""
    walker = Walker("f", {"t": {"a": 10**4000, "b": 10**4000, "c": ["x" * 9999], "d" * 9999: 1, "e": float("nan")}})
    table = walker.table("t")
    assert table.number("a", 0.5, 0.0, 9.0) == 0.5
    assert table.integer("b", 5, 0, 9) == 5
    assert table.text("c", "d") == "d"
    assert table.number("e", 0.5, 0.0, 9.0) == 0.5
    assert len(walker.complaints) == 4
    assert max(len(one.what) for one in walker.complaints) < 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("true", "true"),
        ("'a \"b\"'", '"a \\"b\\""'),
        ("[1, 'two', false]", '[1, "two", false]'),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T08:00:00Z", "2026-01-01T08:00:00+00:00"),
        ("{ a = 1.5, b = [true] }", "{ a = 1.5, b = [true] }"),
        ("nan", "nan"),
    ],
)
def test_a_complaint_shows_the_value_as_it_is_written(text: str, shown: str) -> None:
    """A value of the wrong type is shown in TOML, not in Python."""
    assert as_toml(tomllib.loads(f"value = {text}")["value"]) == shown


@pytest.mark.parametrize(
    ("value", "kind", "hint"),
    [
        ("2", Security, "write 2, without quotes"),
        (True, Security, None),
        ("bel", Transport, 'did you mean "ble"?'),
    ],
)
def test_the_wrong_type_of_a_choice(value: object, kind: type[Enum], hint: str | None) -> None:
    """A choice in quotes that needs none is explained, and not suggested as it is."""
    walker = Walker("product.toml", {"provisioning": {"key": value}})
    walker.table("provisioning").choice("key", kind, next(iter(kind)))
    (complaint,) = walker.complaints
    assert complaint.hint == hint
