"""JSON with one spelling per value, so that what was read can be written again and compared to the byte.

The spelling is that of RFC 8785 (JCS) for what stands in our documents: sorted keys, no blanks, UTF-8, whole numbers
only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from rmfab.errors import InputError

_TOO_DEEP = "it is nested too deeply"


def encode(value: object) -> bytes:
    """The bytes of *value*, which holds no floating-point numbers."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def decode(data: bytes) -> dict[str, Any]:
    """The object in *data*. Raises ValueError where `encode` would not write these very bytes."""
    value = parse(data)
    try:
        same = encode(value) == data
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if not same:
        raise ValueError("it is not written as rmfab writes it")
    return value


def parse(data: bytes) -> dict[str, Any]:
    """The object in *data*, however it is spelt. Raises ValueError for fractions and for keys that stand twice."""
    try:
        value = json.loads(data, object_pairs_hook=unique, parse_float=_refuse, parse_constant=_refuse)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    return value


def check_format(value: Mapping[str, Any], name: str, version: int, what: str, cause: str) -> None:
    """Raises ValueError or KeyError where *value* is no document called *name*, and InputError, which calls it *what*,
    where it is of another version."""
    if value["format"] != name:
        raise ValueError(f"no {name}")
    if value["format_version"] != version:
        raise InputError(
            f"this {what} is of format {value['format_version']!r}, this rmfab reads {version}",
            hint="a newer rmfab made it: update this one",
            cause=cause,
        )


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON, for `object_pairs_hook`. Raises ValueError for a key that stands twice."""
    value: dict[str, object] = {}
    for name, one in pairs:
        if name in value:
            raise ValueError(f'the key "{name}" stands twice')
        value[name] = one
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} stands in it, and only whole numbers may")
