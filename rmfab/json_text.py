"""The one parser of JSON that rmfab did not write itself: answers of devices and peers, files of builds and people.

Its limits are far beyond what any of them writes, and low enough that no value is a burden to the code behind it:
nesting (a deep value ends Python's recursion wherever it is compared or written), length of numbers (their conversion
is quadratic), no value that cannot be written again (NaN, half of a surrogate pair), no key twice.
"""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn

DEEPEST = 64
LONGEST_NUMBER = 40

_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)  # the optional quote keeps it linear
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(data: bytes | str, *, fractions: bool = True) -> object:
    """Return the value of *data*, UTF-8 with or without a BOM. Raise ValueError if it is not JSON within the limits.

    Without *fractions*, a number that is not an integer is an error.
    """
    text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    openers = text.count("[") + text.count("{")  # at least the depth, and counted a hundred times faster
    if openers > DEEPEST and _depth(text) > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    value: object = json.loads(
        text,
        object_pairs_hook=_unique,
        parse_int=_integer,
        parse_float=_number if fractions else _refuse,
        parse_constant=_refuse,
    )
    if _SURROGATE.search(text):
        _judge_letters(value)
    return value


def _depth(text: str) -> int:
    deepest = depth = 0
    for found in _STRUCTURE.finditer(text):
        if found[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in "]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value: dict[str, object] = {}
    for name, one in pairs:
        if name in value:
            raise ValueError(f'duplicate key "{name[:LONGEST_NUMBER]}"')
        value[name] = one
    return value


def _integer(text: str) -> int:
    return int(_short(text))


def _number(text: str) -> float:
    value = float(_short(text))
    if not math.isfinite(value):
        _refuse(text)
    return value


def _short(text: str) -> str:
    if len(text) > LONGEST_NUMBER:
        raise ValueError(f"a number has {len(text)} characters, the limit is {LONGEST_NUMBER}")
    return text


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"the number {text[:LONGEST_NUMBER]} is not allowed here")


def _judge_letters(value: object) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair in a string") from None
