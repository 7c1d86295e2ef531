"""Node ids: the name of a unit in the cloud, as MQTT client id and thing name.

A shortuuid is a UUID4 as a base-57 number, 22 digits, most significant first, in the alphabet of the Python library
shortuuid, which the official admin CLI uses. Firmware supports about 60 characters at most (esp_rainmaker,
user_mapping.c: a JSON buffer of 200 bytes).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable

from rmfab.errors import InputError, UnitFault, one_line
from rmfab.product.vocabulary import NodeIdKind

MAX_LENGTH = 60
_SHOWN = 64

_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_SHORT_LENGTH = 22
_ALLOWED = re.compile(r"[A-Za-z0-9._:-]+")


def draw(kind: NodeIdKind, source: Callable[[int], bytes]) -> str:
    """Return a new node id from 16 bytes of *source*. Raise ValueError for `values`, whose ids are given, not drawn."""
    if kind is NodeIdKind.VALUES:
        raise ValueError("node ids of kind `values` are read from a CSV")
    number = uuid.UUID(bytes=source(16), version=4)
    return shortuuid(number) if kind is NodeIdKind.SHORTUUID else str(number)


def shortuuid(number: uuid.UUID) -> str:
    """Return *number* in 22 characters of the shortuuid alphabet."""
    digits = []
    rest = number.int
    for _ in range(_SHORT_LENGTH):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))


def check(node_id: str) -> str:
    """Return *node_id* itself. Raise InputError if firmware or cloud do not support it."""
    if not 1 <= len(node_id) <= MAX_LENGTH:
        raise InputError(
            f'node id "{node_id[:80]}" has {len(node_id)} characters',
            hint=f"use 1 to {MAX_LENGTH} characters: firmware truncates longer ids",
            cause="node-id",
        )
    if not _ALLOWED.fullmatch(node_id):
        raise InputError(
            f'node id "{node_id}" has characters that are not allowed in an MQTT client id or thing name',
            hint="use only letters, digits, . _ : and -",
            cause="node-id",
        )
    return node_id


def judge_same_node(told: str, node_id: str | None) -> None:
    """Raise UnitFault (`other-identity`) if the node id *told* by a unit is not the *node_id* in the ledger."""
    if told != node_id:
        raise UnitFault(
            f'the unit reports node "{one_line(told, _SHOWN)}", the ledger has "{node_id}"',
            hint="check the label to see which unit it is",
            cause="other-identity",
        )
