"""IPP messages: the attributes of requests and answers, as bytes.

Source: RFC 8010 (encoding) and RFC 8011 (operations, status codes).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, unique

from rmfab.errors import one_line

_VERSION = b"\x02\x00"
_OPERATION, _JOB, _END = 0x01, 0x02, 0x03
_MOST_VALUES = 20_000


@unique
class Operation(IntEnum):
    """The operations that printing needs."""

    PRINT_JOB = 0x0002
    CANCEL_JOB = 0x0008
    GET_JOB_ATTRIBUTES = 0x0009
    GET_PRINTER_ATTRIBUTES = 0x000B
    GET_QUEUES = 0x4002  # CUPS-Get-Printers


@unique
class Tag(IntEnum):
    """The types of values that rmfab sends or reads."""

    INTEGER = 0x21
    BOOLEAN = 0x22
    ENUM = 0x23
    RESOLUTION = 0x32
    NAME = 0x42
    KEYWORD = 0x44
    URI = 0x45
    CHARSET = 0x47
    LANGUAGE = 0x48
    MIME_TYPE = 0x49


Value = int | str
Attributes = Mapping[str, tuple[Tag, tuple[Value, ...]]]


@dataclass(frozen=True)
class IppAnswer:
    """An answer: its *status*, below 0x100 if all is well, and the attributes of each group after the first."""

    status: int
    groups: tuple[Mapping[str, tuple[Value, ...]], ...]

    @property
    def is_good(self) -> bool:
        """Whether the operation succeeded."""
        return self.status < 0x100

    @property
    def attributes(self) -> Mapping[str, tuple[Value, ...]]:
        """All attributes, those of later groups last."""
        return {name: values for group in self.groups for name, values in group.items()}

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the texts of an attribute, none if it is absent."""
        return tuple(value for value in self.attributes.get(name, ()) if isinstance(value, str))

    def number(self, name: str, default: int = 0) -> int:
        """Return the first number of an attribute."""
        return next((value for value in self.attributes.get(name, ()) if isinstance(value, int)), default)


def encode_request(operation: Operation, uri: str, attributes: Attributes, job: Attributes | None = None) -> bytes:
    """Return a request to *uri* with its operation *attributes*, and those of the *job*."""
    first: Attributes = {
        "attributes-charset": (Tag.CHARSET, ("utf-8",)),
        "attributes-natural-language": (Tag.LANGUAGE, ("en",)),
        "printer-uri": (Tag.URI, (uri,)),
    }
    parts = [_VERSION, struct.pack(">HIB", operation, 1, _OPERATION), _encoded({**first, **attributes})]
    if job:
        parts += [bytes([_JOB]), _encoded(job)]
    return b"".join((*parts, bytes([_END])))


def _encoded(attributes: Attributes) -> bytes:
    return b"".join(
        _attribute(name if number == 0 else "", tag, value)
        for name, (tag, values) in attributes.items()
        for number, value in enumerate(values)
    )


def _attribute(name: str, tag: Tag, value: Value) -> bytes:
    data = value.encode() if isinstance(value, str) else struct.pack(">B" if tag is Tag.BOOLEAN else ">i", value)
    return struct.pack(">BH", tag, len(name)) + name.encode() + struct.pack(">H", len(data)) + data


def decode_answer(data: bytes) -> IppAnswer:
    """Return the answer in *data*. Raise ValueError if it is not IPP."""
    if len(data) < 9:
        raise ValueError("too short")
    groups: list[dict[str, tuple[Value, ...]]] = []
    at, name = 8, ""
    for _ in range(_MOST_VALUES):
        tag = data[at] if at < len(data) else _END
        at += 1
        if tag == _END:
            return IppAnswer(struct.unpack_from(">H", data, 2)[0], tuple(groups))
        if tag < 0x10:
            groups.append({})
            continue
        found, at = _field(data, at)
        value, at = _field(data, at)
        name = found.decode("utf-8", "replace") or name
        if groups:
            groups[-1][name] = (*groups[-1].get(name, ()), *_value(tag, value))
    raise ValueError("too many attributes")


def _field(data: bytes, at: int) -> tuple[bytes, int]:
    if at + 2 > len(data):
        raise ValueError("cut short")
    end = at + 2 + int.from_bytes(data[at : at + 2], "big")
    if end > len(data):
        raise ValueError("cut short")
    return data[at + 2 : end], end


def _value(tag: int, data: bytes) -> tuple[Value, ...]:
    """Return a value that rmfab reads, nothing for others. A resolution is its dots per inch across."""
    if tag in (Tag.INTEGER, Tag.ENUM) and len(data) == 4:
        return (int.from_bytes(data, "big", signed=True),)
    if tag == Tag.BOOLEAN and len(data) == 1:
        return (data[0],)
    if tag == Tag.RESOLUTION and len(data) == 9:
        across = int.from_bytes(data[:4], "big")
        return (across if data[8] == 3 else round(across * 2.54),)
    if 0x40 <= tag <= 0x49:
        return (one_line(data.decode("utf-8", "replace")),)
    return ()
