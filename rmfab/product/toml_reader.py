"""The reader of TOML files: reads values table by table, and collects the complaints with their key paths.

A misspelt table or key gets a suggestion. `Walker.finish` raises all complaints at once, at most 50.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from rmfab.errors import ComplaintsError, InputError
from rmfab.files import read_input
from rmfab.product.size import parse_size

E = TypeVar("E", bound=Enum)
V = TypeVar("V")

_REQUIRED: Any = object()
_LACKING = "this key is required"
_PLACE = re.compile(r"\(at line (?P<line>[0-9]{1,9}), column [0-9]+\)")
_BARE_WORD = re.compile(r"\s*[\w.\"'-]+\s*=\s*[A-Za-z_/~]")
_DEEPEST = 32
_LARGEST = 1 << 20
_LARGEST_INTEGER = 1 << 63
_LONGEST_QUOTE = 80
_MOST_COMPLAINTS = 50
_STRING_OR_COMMENT = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{0,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*+'{0,5}"
    r'|"(?:[^"\\\n]|\\.)*+"?|\'[^\'\n]*+\'?|#[^\n]*+',
    re.DOTALL,
)
_DEEP_KEY = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{_DEEPEST}}}")


def load_toml(path: Path, what: str) -> dict[str, Any]:
    """Return the parsed file. Raise InputError with line and column if it is not TOML."""
    return parse_toml(toml_text(read_input(path, what, most=_LARGEST), path), path)


def toml_text(data: bytes, path: Path) -> str:
    """Return the text of *data*, the content of *path*. Raise InputError if it is not UTF-8."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("not a UTF-8 file", where=str(path)) from error


def parse_toml(text: str, path: Path) -> dict[str, Any]:
    """Parse *text*. Raise InputError with *path*, line and column if it is not TOML."""
    if _DEEP_KEY.search(_STRING_OR_COMMENT.sub("s", text)):  # tomllib takes hours for a very long dotted key
        raise _too_deep(path)
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError as error:  # a TOMLDecodeError, or a number beyond the limit of Python's int()
        raise InputError(f"not valid TOML: {error}", where=str(path), hint=_hint(text, str(error))) from error
    _judge_values(value, path)
    return value


def _hint(text: str, error: str) -> str | None:
    """Return a hint if the *error* of tomllib is about a line whose value is a bare word, such as `no`."""
    place = _PLACE.search(error)
    number = int(place["line"]) if place else 0
    line = text.split("\n")[number - 1 : number]
    return "write true or false; text needs quotes" if line and _BARE_WORD.match(line[0]) else None


def _too_deep(path: Path) -> InputError:
    return InputError(f"nested deeper than {_DEEPEST} levels", where=str(path))


def _judge_values(value: object, path: Path) -> None:
    """Raise InputError if *value* is nested too deeply, or has an integer that TOML 1.0 does not require: over 64 bits.

    Python cannot write a hexadecimal number of thousands of digits in a message.
    """
    layer = [value]
    for _ in range(_DEEPEST):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if any(isinstance(inner, int) and not -_LARGEST_INTEGER <= inner < _LARGEST_INTEGER for inner in layer):
            raise InputError("an integer has more than 64 bits", where=str(path))
    if layer:
        raise _too_deep(path)


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """Return `did you mean "…"?` if *known* has a word close to *word*."""
    close = _nearest(word, known)
    return f'did you mean "{close}"?' if close else None


def _nearest(word: str, known: Iterable[str]) -> str | None:
    words, short = list(known), word[:_LONGEST_QUOTE]
    for written in (short, short.lower()):
        if close := difflib.get_close_matches(written, words, n=1, cutoff=0.6):
            return close[0]
    return None


def _advice(value: object, kind: type[Enum]) -> str | None:
    """Return a hint for *value*, which is none of the members of *kind*: it may have the wrong type, or be misspelt."""
    for member in kind:
        if not isinstance(value, bool) and str(member.value) == str(value):
            return f"write {as_toml(member.value)}, {'without' if isinstance(value, str) else 'in'} quotes"
    return suggestion(str(value), [str(member.value) for member in kind])


def as_toml(value: object) -> str:
    """Return a value of the file as it is written there, for a complaint; the end of a long one is left out."""
    shown = toml_value(value)
    return shown if len(shown) <= _LONGEST_QUOTE else f"{shown[:_LONGEST_QUOTE]}…"


def toml_value(value: object) -> str:
    """Return a value as it is written in a file; a text has its quotes."""
    match value:
        case bool() | str():
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON does not escape DEL
        case date() | time():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(toml_value, value))}]"
        case Mapping():
            return f"{{ {', '.join(f'{key} = {toml_value(item)}' for key, item in value.items())} }}"
    return str(value)


class Walker:
    """A walk over one parsed file. *where* names the file in complaints."""

    def __init__(self, where: str, data: Mapping[str, Any]) -> None:
        self._where = where
        self._data = data
        self._known: list[str] = []
        self.complaints: list[InputError] = []

    def complain(self, path: str, what: str, hint: str | None = None) -> None:
        """Add a complaint about the key *path*, unless there are many already."""
        if not self.full:
            self.complaints.append(InputError(what, where=f"{self._where}: {path}", hint=hint))

    def withdraw(self, path: str, what: str) -> None:
        """Remove the complaint *what* about the key *path*."""
        place = f"{self._where}: {path}"
        self.complaints[:] = [one for one in self.complaints if (one.where, one.what) != (place, what)]

    @property
    def full(self) -> bool:
        """Whether there are so many complaints that no more are added."""
        return len(self.complaints) >= _MOST_COMPLAINTS

    def table(self, name: str) -> Table:
        """Return the table *name*, empty if it is absent."""
        self._known.append(name)
        value = self._data.get(name, {})
        if not isinstance(value, Mapping):
            self.complain(f"[{name}]", "expected a table, found a value", f"write [{name}] on a separate line")
            value = {}
        return Table(self, f"[{name}]", value)

    def has(self, name: str) -> bool:
        """Return whether the file has the table *name*, which may be absent."""
        self._known.append(name)
        return name in self._data

    def tables(self, name: str) -> list[Table]:
        """Return the tables of the array of tables `[[name]]`, in order."""
        self._known.append(name)
        value = self._data.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            self.complain(f"[[{name}]]", f"expected an array of tables, each under [[{name}]]")
            return []
        return [Table(self, f"[[{name}]] no. {number}", item) for number, item in enumerate(value, 1)]

    def finish(self) -> None:
        """Complain about unknown tables, then raise ComplaintsError if there is any complaint."""
        for name in self._data:
            if name not in self._known and not self.full:
                kind = "table" if isinstance(self._data[name], (Mapping, list)) else "key outside any table"
                self.complain(
                    f"[{name}]" if kind == "table" else name,
                    f"unknown {kind}",
                    suggestion(name, self._known) or f"the tables are {', '.join(self._known)}",
                )
        if self.complaints:
            raise ComplaintsError(self.complaints)


class Table:
    """One table of the walk. Each reader returns a value of the right type: after a complaint, the default."""

    def __init__(self, walker: Walker, path: str, data: Mapping[str, Any]) -> None:
        self._walker = walker
        self._path = path
        self._data = data
        self._known: list[str] = []

    def complain(self, key: str, what: str, hint: str | None = None) -> None:
        """Add a complaint about *key* of this table."""
        self._walker.complain(f"{self._path} {key}", what, hint)

    def _value(self, key: str, kind: type | tuple[type, ...], kind_name: str, default: V) -> tuple[Any, bool]:
        self._known.append(key)
        if key not in self._data:
            if default is _REQUIRED:
                self.complain(key, _LACKING)
            return default, False
        value = self._data[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.complain(key, f"expected {kind_name}, found {as_toml(value)}")
            return default, False
        return value, True

    def text(
        self, key: str, default: str = _REQUIRED, *, check: Callable[[str], str | None] | None = None, hint: str = ""
    ) -> str:
        """Return a string. *check* returns what is wrong with it, or None."""
        value, given = self._value(key, str, "a string", default)
        if given and check is not None and (wrong := check(value)):
            self.complain(key, wrong, hint or None)
        return value if isinstance(value, str) else ""

    def parsed(self, key: str, parse: Callable[[str], V], fallback: V) -> V:
        """Return a required string, converted by *parse*. An InputError of *parse* becomes a complaint."""
        value, given = self._value(key, str, "a string", _REQUIRED)
        if not given:
            return fallback
        try:
            return parse(value)
        except InputError as error:
            self.complain(key, error.what, error.hint)
            return fallback

    def integer(self, key: str, default: int, minimum: int, maximum: int) -> int:
        """Return an integer from *minimum* to *maximum*."""
        value, given = self._value(key, int, "a whole number", default)
        return self._within(key, int(value), default, minimum, maximum) if given else default

    def size(self, key: str, default: int, minimum: int, maximum: int) -> int:
        """A size in bytes from *minimum* to *maximum*: a whole number, or a string such as "24K"."""
        if not isinstance(self._data.get(key), str):
            return self.integer(key, default, minimum, maximum)
        return int(self._within(key, self.parsed(key, parse_size, default), default, minimum, maximum))

    def number(self, key: str, default: float, minimum: float, maximum: float) -> float:
        """Return a number, in the unit that the key documents."""
        value, given = self._value(key, (int, float), "a number", default)
        return float(self._within(key, value, default, minimum, maximum)) if given else default

    def _within(self, key: str, value: Any, default: Any, minimum: Any, maximum: Any) -> Any:
        if minimum <= value <= maximum:
            return value
        self.complain(key, f"{as_toml(value)} is not from {minimum} to {maximum}")
        return default

    def boolean(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value, given = self._value(key, bool, "true or false", default)
        return bool(value) if given else default

    def choice(self, key: str, kind: type[E], default: E) -> E:
        """Return the member of *kind* with this value."""
        self._known.append(key)
        if key not in self._data:
            return default
        value = self._data[key]
        if not isinstance(value, bool):
            for member in kind:
                if member.value == value:
                    return member
        words = [str(member.value) for member in kind]
        self.complain(key, f"{as_toml(value)} is not one of {', '.join(words)}", _advice(value, kind))
        return default

    def optional_choice(self, key: str, kind: type[E]) -> E | None:
        """Return a member of *kind* as `choice` does, or None if the key is absent."""
        if key not in self._data:
            self._known.append(key)
            return None
        return self.choice(key, kind, next(iter(kind)))

    def required_choice(self, key: str, kind: type[E]) -> E:
        """Return a member of *kind* as `choice` does, for a required key."""
        first = next(iter(kind))
        if key not in self._data:
            self._known.append(key)
            self.complain(key, _LACKING, f"one of {', '.join(str(member.value) for member in kind)}")
            return first
        return self.choice(key, kind, first)

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, empty if the key is absent."""
        value, given = self._value(key, list, "a list of strings", ())
        if given and not all(isinstance(item, str) for item in value):
            self.complain(key, "expected a list of strings")
            return ()
        return tuple(value) if given else ()

    def raw(self, key: str) -> Any:
        """Return the value as parsed, or None if the key is absent. For keys that accept several types."""
        self._known.append(key)
        return self._data.get(key)

    def table(self, key: str) -> Table:
        """Return the table under *key*, such as `{ … }`, empty if it is absent."""
        value, given = self._value(key, Mapping, "a table { … }", {})
        return Table(self._walker, f"{self._path} {key}", value if given else {})

    def everything(self) -> dict[str, Any]:
        """Return all keys and values, for a table in which the user chooses the keys."""
        self._known.extend(self._data)
        return dict(self._data)

    def finish(self) -> None:
        """Complain about unknown keys; a required key that is only misspelt is not lacking besides."""
        for key in self._data:
            if key not in self._known and not self._walker.full:
                self._walker.withdraw(f"{self._path} {_nearest(key, self._known)}", _LACKING)
                self.complain(key, "unknown key", suggestion(key, self._known) or f"known: {', '.join(self._known)}")
