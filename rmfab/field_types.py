"""The types of a dataclass's fields, for values whose fields come from a database.

SQLite stores a value of any type in any column (sqlite.org/flextypegood.html), and one flipped bit of a damaged file
makes bytes of a text, or NULL of a number.
"""

from __future__ import annotations

from functools import lru_cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints


def mistyped(value: Any) -> str | None:
    """Return the name of the first field of the dataclass *value* that is not of its type, None if all are."""
    names, types = _types(type(value))  # type: ignore[arg-type]  # a class is hashable
    found = list(map(vars(value).__getitem__, names))
    if all(map(isinstance, found, types)):  # each event and each unit that is read comes here
        return None
    return next(name for name, one, allowed in zip(names, found, types, strict=True) if not isinstance(one, allowed))


@lru_cache
def _types(kind: type[Any]) -> tuple[tuple[str, ...], tuple[tuple[type, ...], ...]]:
    hints = get_type_hints(kind)
    return tuple(hints), tuple(map(_plain, hints.values()))


def _plain(hint: object) -> tuple[type, ...]:
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    found = tuple(get_origin(option) or option for option in options)
    return (*found, int) if float in found else found
