"""Canonical JSON: one spelling per value, so that a document can be parsed, written again and compared byte for byte.

The spelling is that of RFC 8785 (JCS), restricted to what rmfab documents contain: sorted keys, no whitespace, UTF-8,
integers only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from rmfab.errors import InputError

_TOO_DEEP = "nested too deeply"


def encode(value: object) -> bytes:
    """Return the canonical bytes of *value*, which must not contain floating-point numbers."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def decode(data: bytes) -> dict[str, Any]:
    """Return the object in *data*. Raise ValueError unless *data* is exactly what `encode` writes."""
    value = parse(data)
    try:
        same = encode(value) == data
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if not same:
        raise ValueError("not in canonical form")
    return value


def parse(data: bytes) -> dict[str, Any]:
    """Return the object in *data*, in any spelling. Raise ValueError for fractions and duplicate keys."""
    try:
        value = json.loads(data, object_pairs_hook=unique, parse_float=_refuse, parse_constant=_refuse)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def judge_format(value: Mapping[str, Any], name: str, version: int, what: str, cause: str) -> None:
    """Raise ValueError or KeyError unless *value* is a document of format *name*.

    Raise InputError, which calls the document *what*, if it has a different format version.
    """
    if value["format"] != name:
        raise ValueError(f"not a document of format {name}")
    if value["format_version"] != version:
        raise InputError(
            f"this {what} has format version {value['format_version']!r}, this rmfab reads version {version}",
            hint="made by a newer rmfab: update this one",
            cause=cause,
        )


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return the dict of a JSON object, as `object_pairs_hook`. Raise ValueError for a duplicate key."""
    value: dict[str, object] = {}
    for name, one in pairs:
        if name in value:
            raise ValueError(f'duplicate key "{name}"')
        value[name] = one
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} is not an integer")
