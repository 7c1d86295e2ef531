"""What a node reports to its cloud: its config, its parameters, its user. Judges of payloads, which may be hostile.

Source: esp-rainmaker, esp_rmaker_node_config.c, esp_rmaker_param.c, esp_rmaker_user_mapping.c.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rmfab.cloud.node_watch import LARGEST_PAYLOAD, NodeMessage
from rmfab.errors import InputError, UnitFault, one_line
from rmfab.identity.node_id import judge_same_node
from rmfab.json_text import parse_json
from rmfab.product.product import ParamName

_NOBODY = "esp-rmaker"
"""The user for whom a node that belongs to nobody asks (USER_RESET_ID)."""
_LARGEST_INT = 2**31 - 1
_CLOSE = 1e-4  # firmware prints floats with five digits
_OTHER_TEXT = "rmfab"
_HERE = "product.toml: [verify] cloud_param"

Value = bool | int | float | str


@dataclass(frozen=True)
class ExpectedConfig:
    """What a config must say."""

    node_id: str
    project: str
    version: str
    platform: str


@dataclass(frozen=True)
class NodeParam:
    """A parameter as the config describes it. *limits* are min, max and step, *choices* the valid strings."""

    data_type: str
    writable: bool
    limits: tuple[float, float, float] | None = None
    choices: tuple[str, ...] = ()


def read_object(message: NodeMessage) -> Mapping[str, object]:
    """Return the JSON object in *message*. Raise UnitFault (`cloud-payload`)."""
    if len(message.payload) > LARGEST_PAYLOAD:
        raise _odd(message, f"more than {LARGEST_PAYLOAD} bytes")
    try:
        value = parse_json(message.payload)
    except ValueError as error:
        raise _odd(message, f"not JSON: {one_line(str(error))}") from None
    if not isinstance(value, dict):
        raise _odd(message, "not a JSON object")
    return value


def judge_config(message: NodeMessage, expected: ExpectedConfig) -> Mapping[str, object]:
    """Return the config in *message*. Raise UnitFault unless it is of this node, and of the release.

    Causes: `cloud-payload`, `other-identity`, `cloud-project`, `cloud-version`, `cloud-platform`.
    """
    config = read_object(message)
    info = config.get("info")
    if not isinstance(info, dict):
        raise _odd(message, "no info")
    judge_same_node(_text(config, "node_id", message), expected.node_id)
    for key, wanted, cause in (
        ("project_name", expected.project, "cloud-project"),
        ("fw_version", expected.version, "cloud-version"),
        ("platform", expected.platform, "cloud-platform"),
    ):
        told = _text(info, key, message)
        if told != wanted:
            raise UnitFault(
                f'the config in the cloud has {key} "{one_line(told)}", the release has "{wanted}"', cause=cause
            )
    return config


def read_version(message: NodeMessage) -> str:
    """Return the firmware version that a config reports. Raise UnitFault (`cloud-payload`)."""
    info = read_object(message).get("info")
    if not isinstance(info, dict):
        raise _odd(message, "no info")
    return _text(info, "fw_version", message)


def judge_unmapped(message: NodeMessage) -> None:
    """Raise UnitFault (`cloud-mapped`) unless the mapping in *message* resets the node: it asks for nobody."""
    mapping = read_object(message)
    if mapping.get("reset") is not True or mapping.get("user_id") != _NOBODY:
        raise UnitFault("the unit asks its cloud to give it to a user", cause="cloud-mapped")


def find_param(config: Mapping[str, object], name: ParamName) -> NodeParam:
    """Return the parameter *name* of a config. Raise InputError (`no-param`) if it has none, or none to write."""
    known: list[str] = []
    for device, param in _params(config):
        known.append(f"{device}.{param.get('name')}")
        if (device, param.get("name")) == (name.device, name.name):
            found = _param(param)
            if not found.writable:
                raise InputError(f"the firmware lets nobody write {name}", where=_HERE, cause="no-param")
            return found
    told = ", ".join(one_line(one, 40) for one in known[:10]) or "none"
    raise InputError(f"the firmware has no parameter {name}: it has {told}", where=_HERE, cause="no-param")


def value_in(message: NodeMessage, name: ParamName) -> Value | None:
    """Return the value of *name* that *message* reports, None if it reports none."""
    device = read_object(message).get(name.device)
    value = device.get(name.name) if isinstance(device, dict) else None
    return value if isinstance(value, Value) else None


def same_value(told: Value | None, wanted: Value) -> bool:
    """Return whether *told* is *wanted*; firmware rounds fractions."""
    if isinstance(wanted, float) and isinstance(told, int | float) and not isinstance(told, bool):
        return math.isclose(told, wanted, rel_tol=_CLOSE, abs_tol=_CLOSE)
    return type(told) is type(wanted) and told == wanted


def other_value(param: NodeParam, current: Value, name: ParamName) -> Value:
    """Return a valid value that differs from *current*. Raise InputError (`no-param`) if there is none."""
    match param.data_type, current:
        case "bool", bool():
            return not current
        case "int", int():
            return int(_other_number(param, current, name))
        case "float", int() | float():
            return float(_other_number(param, current, name))
        case "string", str():
            other = next((one for one in (*param.choices, *_texts(param)) if one != current), None)
            if other is not None:
                return other
    raise _unsettable(name, f"it is of type {one_line(param.data_type, 40)}, with one value")


def request(name: ParamName, value: Value) -> bytes:
    """Return the payload that sets *name* to *value*."""
    return json.dumps({name.device: {name.name: value}}, separators=(",", ":"), ensure_ascii=False).encode()


def _other_number(param: NodeParam, current: float, name: ParamName) -> float:
    low, high, step = param.limits or (-_LARGEST_INT, _LARGEST_INT, 1)
    for other in (current + (step or 1), current - (step or 1), low, high):
        if low <= other <= high and other != current:
            return other
    raise _unsettable(name, "its bounds leave it one value")


def _texts(param: NodeParam) -> Iterator[str]:
    if not param.choices:
        yield _OTHER_TEXT
        yield f"{_OTHER_TEXT}2"


def _unsettable(name: ParamName, why: str) -> InputError:
    return InputError(
        f"a station cannot set {name}: {why}",
        where=_HERE,
        hint="name a parameter of type bool, int, float or string",
        cause="no-param",
    )


def _params(config: Mapping[str, object]) -> Iterator[tuple[object, Mapping[str, object]]]:
    """Yield all parameters of all devices and services, with the name of the device."""
    for kind in ("devices", "services"):
        for device in _objects(config.get(kind)):
            for param in _objects(device.get("params")):
                yield device.get("name"), param


def _param(told: Mapping[str, object]) -> NodeParam:
    properties, choices, bounds = (told.get(key) for key in ("properties", "valid_strs", "bounds"))
    return NodeParam(
        data_type=str(told.get("data_type")),
        writable=isinstance(properties, list) and "write" in properties,
        limits=_limits(bounds) if isinstance(bounds, dict) else None,
        choices=tuple(one for one in choices if isinstance(one, str)) if isinstance(choices, list) else (),
    )


def _limits(bounds: Mapping[str, object]) -> tuple[float, float, float] | None:
    low, high, step = (bounds.get(key) for key in ("min", "max", "step"))
    if isinstance(low, int | float) and isinstance(high, int | float):
        return low, high, step if isinstance(step, int | float) else 1
    return None


def _objects(value: object) -> Sequence[Mapping[str, object]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _text(values: Mapping[str, object], key: str, message: NodeMessage) -> str:
    value = values.get(key)
    if not isinstance(value, str):
        raise _odd(message, f"no {key}")
    return value


def _odd(message: NodeMessage, what: str) -> UnitFault:
    return UnitFault(
        f"what the unit publishes to {one_line(message.suffix, 64)} is wrong: {what}", cause="cloud-payload"
    )
