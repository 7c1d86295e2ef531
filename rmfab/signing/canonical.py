"""JSON with one spelling per value, so that what was read can be written again and compared to the byte.

Sorted keys, two spaces, UTF-8, one newline at the end: canonical for programs, and still readable in a diff.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn


def encode(value: object) -> bytes:
    """The bytes of *value*, which holds no floating-point numbers."""
    text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def decode(data: bytes) -> dict[str, Any]:
    """The object in *data*. Raises ValueError where `encode` would not write these very bytes."""
    try:
        value = json.loads(data, object_pairs_hook=unique, parse_float=_refuse, parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is no JSON object")
    if encode(value) != data:
        raise ValueError("it is not written as rmfab writes it")
    return value


def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object of JSON, for `object_pairs_hook`. Raises ValueError for a key that stands twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f'the key "{next(name for name in names if names.count(name) > 1)}" stands twice')
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text[:20]} stands in it, and only whole numbers may")
