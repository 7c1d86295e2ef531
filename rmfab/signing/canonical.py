"""Canonical JSON: one spelling per value, so that a document can be parsed, written again and compared byte for byte.

The spelling is that of RFC 8785 (JCS), restricted to what rmfab documents contain: sorted keys, no whitespace, UTF-8,
integers only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rmfab.errors import InputError
from rmfab.json_text import parse_json


def encode(value: object) -> bytes:
    """Return the canonical bytes of *value*, which must not contain floating-point numbers."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def decode(data: bytes) -> dict[str, Any]:
    """Return the object in *data*. Raise ValueError unless *data* is exactly what `encode` writes."""
    value = parse(data)
    if encode(value) != data:
        raise ValueError("not in canonical form")
    return value


def parse(data: bytes) -> dict[str, Any]:
    """Return the object in *data*, in any spelling. Raise ValueError for fractions and duplicate keys."""
    value = parse_json(data, fractions=False)
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
