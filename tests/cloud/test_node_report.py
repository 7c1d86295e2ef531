"""What a node reports: configs, parameters and mappings, good, odd and hostile."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.cloud.node_report import (
    ExpectedConfig,
    NodeParam,
    find_param,
    judge_config,
    judge_unmapped,
    other_value,
    request,
    same_value,
    value_in,
)
from rmfab.cloud.node_watch import LARGEST_PAYLOAD, NodeMessage
from rmfab.errors import InputError, UnitFault
from rmfab.product.product import ParamName

POWER = ParamName("Light", "Power")
EXPECTED = ExpectedConfig("node-1", "lamp", "1.4.0", "esp32c3")
INFO = {"name": "a", "fw_version": "1.4.0", "project_name": "lamp", "platform": "esp32c3"}
PARAMS = [
    {"name": "Power", "data_type": "bool", "properties": ["read", "write"]},
    {"name": "Power Used", "data_type": "int", "properties": ["read"]},
]
CONFIG = {"node_id": "node-1", "info": INFO, "devices": [{"name": "Light", "params": PARAMS}], "services": []}


def message(value: Any, suffix: str = "config") -> NodeMessage:
    """Return a message with *value*, bytes or JSON."""
    return NodeMessage(suffix, value if isinstance(value, bytes) else json.dumps(value).encode(), 0.0)


def test_a_good_config() -> None:
    """A config of the node and of the release is returned."""
    assert judge_config(message(CONFIG), EXPECTED) == CONFIG


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"node_id": "node-2"}, "other-identity"),
        ({"node_id": 7}, "cloud-payload"),
        ({"info": None}, "cloud-payload"),
        ({"info": INFO | {"project_name": "fan"}}, "cloud-project"),
        ({"info": INFO | {"fw_version": "1.3.9"}}, "cloud-version"),
        ({"info": INFO | {"platform": "esp32"}}, "cloud-platform"),
        ({"info": {name: value for name, value in INFO.items() if name != "fw_version"}}, "cloud-payload"),
    ],
)
def test_other_configs(changed: dict[str, Any], cause: str) -> None:
    """What differs from the release, or is missing, has its own cause."""
    with pytest.raises(UnitFault) as told:
        judge_config(message(CONFIG | changed), EXPECTED)
    assert told.value.cause == cause


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 70 + b"1" + b"}" * 70,
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a":1,"a":2}',
        b'{"a":"\\ud800"}',
        b" " * (LARGEST_PAYLOAD + 1),
    ],
)
def test_hostile_payloads(payload: bytes) -> None:
    """What is not a JSON object within the limits is the unit's fault, whatever is read from it."""
    for read in (
        lambda: judge_config(message(payload), EXPECTED),
        lambda: judge_unmapped(message(payload)),
        lambda: value_in(message(payload), POWER),
    ):
        with pytest.raises(UnitFault) as told:
            read()
        assert told.value.cause == "cloud-payload"


def test_words_of_a_unit_are_printable() -> None:
    """What a unit calls its project is escaped and shortened in the reason."""
    hostile = CONFIG | {"info": INFO | {"project_name": "\x1b[2J\u202e" + "x" * 5000}}
    with pytest.raises(UnitFault) as told:
        judge_config(message(hostile), EXPECTED)
    assert "\x1b" not in told.value.what
    assert "\u202e" not in told.value.what
    assert len(told.value.what) < 500


NAMES = ("node_id", "info", "devices", "services", "params", "name", "Light", "Power", "bounds", "valid_strs", "reset")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES), inner),
)


@pytest.mark.slow
@given(JSON)
def test_any_json(value: Any) -> None:
    """No shape of JSON is a bug: it is refused by a name, or has no such parameter."""
    for read in (
        lambda: judge_config(message(value), EXPECTED),
        lambda: judge_unmapped(message(value)),
        lambda: value_in(message(value), POWER),
    ):
        try:
            read()
        except UnitFault as fault:
            assert fault.cause.startswith("cloud-") or fault.cause == "other-identity"  # noqa: PT017
    if isinstance(value, dict):
        try:
            find_param(value, POWER)
        except InputError as error:
            assert error.cause == "no-param"  # noqa: PT017


@pytest.mark.parametrize(
    ("mapping", "good"),
    [
        ({"node_id": "node-1", "user_id": "esp-rmaker", "secret_key": "failed", "reset": True}, True),
        ({"node_id": "node-1", "user_id": "esp-rmaker", "secret_key": "failed"}, False),
        ({"node_id": "node-1", "user_id": "somebody", "secret_key": "s", "reset": True}, False),
        ({"node_id": "node-1", "user_id": "somebody", "secret_key": "s"}, False),
    ],
)
def test_mappings(mapping: dict[str, Any], good: bool) -> None:
    """Only a reset for nobody is no mapping; the name of the user is not repeated."""
    if good:
        judge_unmapped(message(mapping))
        return
    with pytest.raises(UnitFault) as told:
        judge_unmapped(message(mapping))
    assert told.value.cause == "cloud-mapped"
    assert "somebody" not in told.value.what


def test_finding_a_parameter() -> None:
    """A parameter is found by device and name, if it can be written; the error names those that there are."""
    assert find_param(CONFIG, POWER) == NodeParam("bool", writable=True)
    with pytest.raises(InputError, match="lets nobody write"):
        find_param(CONFIG, ParamName("Light", "Power Used"))
    with pytest.raises(InputError, match=r"it has Light\.Power, Light\.Power Used"):
        find_param(CONFIG, ParamName("Lamp", "Power"))


BRIGHTNESS = NodeParam("int", writable=True, limits=(0, 100, 5))


@pytest.mark.parametrize(
    ("param", "current", "other"),
    [
        (NodeParam("bool", writable=True), True, False),
        (BRIGHTNESS, 25, 30),
        (BRIGHTNESS, 100, 95),
        (NodeParam("int", writable=True, limits=(3, 4, 5)), 4, 3),
        (NodeParam("int", writable=True), 7, 8),
        (NodeParam("int", writable=True), 2**31 - 1, 2**31 - 2),
        (NodeParam("float", writable=True, limits=(0, 1, 0.25)), 0.5, 0.75),
        (NodeParam("float", writable=True), 21, 22.0),
        (NodeParam("string", writable=True, choices=("a", "b")), "a", "b"),
        (NodeParam("string", writable=True), "rmfab", "rmfab2"),
        (NodeParam("string", writable=True), "", "rmfab"),
    ],
)
def test_another_value(param: NodeParam, current: Any, other: Any) -> None:
    """The value to set differs from the reported one, and is within bounds and choices, of the same type."""
    found = other_value(param, current, POWER)
    assert (found, type(found)) == (other, type(other))


@pytest.mark.parametrize(
    ("param", "current"),
    [
        (NodeParam("int", writable=True, limits=(4, 4, 1)), 4),
        (NodeParam("string", writable=True, choices=("a",)), "a"),
        (NodeParam("object", writable=True), "x"),
        (NodeParam("bool", writable=True), "on"),
    ],
)
def test_no_other_value(param: NodeParam, current: Any) -> None:
    """A parameter with one value, or of a type that a station cannot set, is the product's mistake."""
    with pytest.raises(InputError) as told:
        other_value(param, current, POWER)
    assert told.value.cause == "no-param"


def test_reading_back() -> None:
    """A report has the value or not; True is not 1, and a fraction may be rounded."""
    assert request(POWER, False) == b'{"Light":{"Power":false}}'
    assert value_in(message({"Light": {"Power": False}}), POWER) is False
    for other in ({}, {"Light": {}}, {"Light": 7}, {"Light": {"Power": None}}, {"Lamp": {"Power": True}}):
        assert value_in(message(other), POWER) is None
    assert same_value(False, False)
    assert not same_value(1, True)
    assert not same_value(None, False)
    assert same_value(0.3, 0.30000001)
    assert same_value(22, 22.0)
    assert not same_value(True, 1.0)
