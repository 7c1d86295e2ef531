"""The values of an NVS image: namespaces, entries, and the constants of the format.

Source of all constants: ESP-IDF, API reference "Non-Volatile Storage Library", section "Internals", and
components/nvs_flash/src/nvs_page.hpp, nvs_types.hpp, nvs_constants.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from typing import NamedTuple, Self

from rmfab.errors import InputError

PAGE_SIZE = 0x1000
MIN_PARTITION_SIZE = 3 * PAGE_SIZE
"""With fewer than three pages, firmware opens a partition for reading only (nvs_partition_gen, `judge_size`)."""

ENTRY_SIZE = 32
ENTRIES_OFFSET = 64
ENTRIES_PER_PAGE = 126

MAX_NAME_LENGTH = 15
MAX_STRING_BYTES = 3999
"""A string has at most 4000 bytes, including its closing NUL (NVS_CONST_STR_LEN_MAX_SIZE)."""

MAX_BLOB_BYTES_V1 = 1984
MAX_BLOB_BYTES = 508_000
"""127 chunks of 4000 bytes (API reference, "Keys and Values": blob values)."""

MAX_NAMESPACES = 254
"""Namespace 0 is the table of namespaces, 255 is "any"."""


@unique
class PageVersion(IntEnum):
    """The version byte of a page header. Version 2 has blobs that span pages."""

    V1 = 0xFF
    V2 = 0xFE


@unique
class PageState(IntEnum):
    """The state word of a page header. Each transition clears one more bit, which NOR flash can do without an erase."""

    UNINITIALIZED = 0xFFFFFFFF
    ACTIVE = 0xFFFFFFFE
    FULL = 0xFFFFFFFC
    FREEING = 0xFFFFFFF8
    CORRUPT = 0xFFFFFFF0
    INVALID = 0


@unique
class ItemType(IntEnum):
    """The type byte of an item on a page. FLOAT and DOUBLE are those of ESP-IDF 6.1 (nvs.h, `nvs_type_t`)."""

    U8 = 0x01
    U16 = 0x02
    U32 = 0x04
    U64 = 0x08
    I8 = 0x11
    I16 = 0x12
    I32 = 0x14
    I64 = 0x18
    STRING = 0x21
    FLOAT = 0x24
    DOUBLE = 0x28
    BLOB_V1 = 0x41
    BLOB_DATA = 0x42
    BLOB_INDEX = 0x48


@unique
class EntryKind(Enum):
    """The kind of an entry. *width* is the size of a number in bytes, 0 for strings and blobs."""

    U8 = "u8", 1, False
    I8 = "i8", 1, True
    U16 = "u16", 2, False
    I16 = "i16", 2, True
    U32 = "u32", 4, False
    I32 = "i32", 4, True
    U64 = "u64", 8, False
    I64 = "i64", 8, True
    FLOAT = "float", 4, True
    DOUBLE = "double", 8, True
    STRING = "string", 0, False
    BLOB = "blob", 0, False

    width: int
    signed: bool

    def __new__(cls, value: str, width: int, signed: bool) -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.width = width
        member.signed = signed
        return member

    @property
    def lowest(self) -> int:
        """The smallest integer of this kind."""
        return -(1 << (8 * self.width - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """The largest integer of this kind."""
        return (1 << (8 * self.width - self.signed)) - 1


INTEGER_KINDS = tuple(kind for kind in EntryKind if kind.width and kind not in (EntryKind.FLOAT, EntryKind.DOUBLE))

Value = int | float | str | bytes
"""int for the integer kinds, float for FLOAT and DOUBLE, bytes for BLOB, str for STRING, bytes if that is not UTF-8."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace, with or without entries. Raise InputError if NVS cannot store its name."""

    name: str

    def __post_init__(self) -> None:
        _judge_name("namespace", self.name)


class _Fields(NamedTuple):
    namespace: str
    key: str
    kind: EntryKind
    value: Value


class Entry(_Fields):
    """One value with its namespace and key.

    Raise InputError if NVS cannot store a name or the value.
    """

    __slots__ = ()

    def __new__(cls, namespace: str, key: str, kind: EntryKind, value: Value) -> Self:
        if namespace not in _known_names:
            _judge_name("namespace", namespace)
        if key not in _known_names:
            _judge_name("key", key)
        _judge_value(key, kind, value)
        return tuple.__new__(cls, (namespace, key, kind, value))

    def __repr__(self) -> str:
        """Return everything but the value, which may be a secret."""
        return f"Entry({self.namespace!r}, {self.key!r}, {self.kind})"

    @property
    def size(self) -> int:
        """The size of the value in bytes, including the closing NUL of a string."""
        if self.kind.width:
            return self.kind.width
        return len(self.content) + (self.kind is EntryKind.STRING)

    @property
    def content(self) -> bytes:
        """The bytes of a string, without its closing NUL, or of a blob."""
        return self.value if isinstance(self.value, bytes) else str(self.value).encode()


def name_complaint(name: str) -> str | None:
    """Return why *name* is not a valid key or namespace (1 to 15 printable ASCII characters), None if it is."""
    if not name:
        return "is empty"
    if not name.isascii() or not name.isprintable():
        return f"{name!r} is not printable ASCII"
    if len(name) > MAX_NAME_LENGTH:
        return f'"{name}" has {len(name)} characters, NVS allows {MAX_NAME_LENGTH}'
    return None


_known_names: set[str] = set()


def _judge_name(what: str, name: str) -> None:
    complaint = name_complaint(name)
    if complaint is not None:
        raise InputError(f"{what} {complaint}", cause="nvs-name")
    if len(_known_names) < 4096:  # names repeat from image to image: check each once, and keep the set small
        _known_names.add(name)


def _judge_value(key: str, kind: EntryKind, value: Value) -> None:
    if kind is EntryKind.BLOB:
        if not isinstance(value, bytes):
            raise InputError(f'blob "{key}" needs bytes', cause="nvs-value")
    elif kind is EntryKind.STRING:
        _judge_string(key, value)
    elif kind is EntryKind.FLOAT or kind is EntryKind.DOUBLE:
        _judge_float(key, kind, value)
    elif not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f'{kind.value} "{key}" needs an integer', cause="nvs-value")
    elif not kind.lowest <= value <= kind.highest:
        raise InputError(
            f'value of {kind.value} "{key}" is not in the range {kind.lowest} … {kind.highest}', cause="nvs-range"
        )


def _judge_float(key: str, kind: EntryKind, value: Value) -> None:
    """Raise InputError unless *value* is a number of this width. NVS stores no NaN (nvs.h, `nvs_set_float`)."""
    if not isinstance(value, float) or value != value:
        raise InputError(f'{kind.value} "{key}" needs a floating-point number', cause="nvs-value")
    try:
        exact = kind is EntryKind.DOUBLE or _FLOAT.unpack(_FLOAT.pack(value))[0] == value
    except OverflowError:
        exact = False
    if not exact:
        raise InputError(f'value of float "{key}" does not fit 32 bits', cause="nvs-range")


_FLOAT = struct.Struct("<f")


def _judge_string(key: str, value: Value) -> None:
    if isinstance(value, bytes) and not _is_utf8(value):
        content = value
    elif not isinstance(value, str):
        raise InputError(f'string "{key}" needs text', cause="nvs-value")
    else:
        try:
            content = value.encode()
        except UnicodeEncodeError:
            raise InputError(f'string "{key}" cannot be encoded as UTF-8', cause="nvs-value") from None
    if b"\0" in content:
        raise InputError(f'string "{key}" contains a NUL, which only a blob can', cause="nvs-value")
    if len(content) > MAX_STRING_BYTES:
        raise InputError(f'string "{key}" has {len(content)} bytes, NVS allows {MAX_STRING_BYTES}', cause="nvs-value")


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
