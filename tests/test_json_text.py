"""The parser of JSON that rmfab did not write: limits, and everything ordinary."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rmfab
from rmfab.json_text import DEEPEST, LONGEST_NUMBER, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
OWN = {
    "rmfab/json_text.py",
    "rmfab/identity/make_identities.py",
    "rmfab/identity/policy.py",
    "rmfab/ledger/stored_events.py",
    "rmfab/ledger/records.py",
    "rmfab/ledger/numbers.py",
    "rmfab/ledger/batches.py",
    "rmfab/operations/generate.py",
    "rmfab/commands/release.py",
    "rmfab/commands/trust.py",
}
"""Where `json.loads` may stand: its door, the ledger's own columns, and documents that rmfab has just verified."""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 2000, "nested deeper"),
        ("[" * 100_000 + "]" * 100_000, "nested deeper"),
        ('{"a":' * (DEEPEST + 1) + "1" + "}" * (DEEPEST + 1), "nested deeper"),
        ("9" * (LONGEST_NUMBER + 1), "characters"),
        ("9" * 100_000, "characters"),
        ("0." + "1" * LONGEST_NUMBER, "characters"),
        ("1e999", "not allowed"),
        ("NaN", "not allowed"),
        ("-Infinity", "not allowed"),
        ('"\\ud83d"', "surrogate"),
        ('{"\\udc00": 1}', "surrogate"),
        ('{"a": 1, "a": 2}', "duplicate"),
        ('"' * 60_001, "line 1"),
        ('"\\"' * 60_001, "line 1"),
        ("", "line 1"),
    ],
)
def test_beyond_the_limits(text: str, why: str) -> None:
    """What is no JSON, or more than a value needs, is a ValueError, at once."""
    with pytest.raises(ValueError, match=why):
        parse_json(text)


def test_brackets_in_strings_do_not_nest() -> None:
    """Only brackets outside strings count."""
    text = json.dumps({'[["' * 500: "{" * 500 + "\\"})
    assert parse_json(text) == json.loads(text)


def test_bytes() -> None:
    """Bytes are UTF-8; a BOM is skipped; other bytes are a ValueError."""
    assert parse_json(b'\xef\xbb\xbf{"a": "\xc3\xa4"}') == {"a": "ä"}
    assert parse_json(b'"\\ud83d\\ude00"') == "😀"
    with pytest.raises(ValueError, match="utf-8"):
        parse_json(b'"\xff"')


@given(VALUES)
def test_everything_ordinary(value: object) -> None:
    """A value of ordinary size is parsed as json.loads parses it."""
    text = json.dumps(value)
    assert parse_json(text) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


def test_there_is_one_parser() -> None:
    """No file of rmfab parses the JSON of devices, peers or people in a different way."""
    root = Path(rmfab.__file__).parent
    found = {
        f"rmfab/{path.relative_to(root).as_posix()}"
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("loads", "load") and ast.unparse(node.value) == "json"
    }
    assert {path for path in found if not path.startswith("rmfab/virtual/")} <= OWN
