"""The proto3 wire format: tags, varints, length-delimited fields.

Source: Protocol Buffers documentation, "Encoding". There is no generated code and no schema; a message is a mapping of
field numbers, and the last occurrence of a number counts.
"""

from __future__ import annotations

Fields = dict[int, int | bytes]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_MASK = (1 << 64) - 1


class WireError(Exception):
    """Bytes that are not a message, or a field of the wrong type."""


def decode(data: bytes) -> Fields:
    """Return the fields of a message: varints as unsigned 64-bit integers, everything else as bytes.

    Raise WireError if *data* is not a message.
    """
    fields: Fields = {}
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise WireError("field number")
        if kind == _VARINT:
            fields[number], at = _varint(data, at)
            continue
        if kind == _BYTES:
            length, at = _varint(data, at)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise WireError("wire type")
        if length > len(data) - at:
            raise WireError("length")
        fields[number] = data[at : at + length]
        at += length
    return fields


def put(number: int, value: int | bytes | str) -> bytes:
    """Return one field, even if its value is 0 or empty; a negative integer has ten bytes, as int32 and int64 do."""
    if isinstance(value, int):
        return _encoded(number << 3 | _VARINT) + _encoded(value & _MASK)
    data = value.encode() if isinstance(value, str) else value
    return _encoded(number << 3 | _BYTES) + _encoded(len(data)) + data


def scalar(number: int, value: int | bytes | str) -> bytes:
    """Return one field as proto3 writes it: nothing if the value is 0 or empty."""
    return put(number, value) if value else b""


def integer(fields: Fields, number: int) -> int:
    """Return a number, 0 if it is absent. Raise WireError if the field is not a number."""
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise WireError("expected an integer")
    return value


def octets(fields: Fields, number: int) -> bytes:
    """Return bytes, empty if they are absent. Raise WireError if the field is not bytes."""
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise WireError("expected bytes")
    return value


def message(fields: Fields, number: int) -> Fields | None:
    """Return an embedded message, None if it is absent. Raise WireError if it is not one."""
    return decode(octets(fields, number)) if number in fields else None


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_LONGEST_VARINT):
        if at + place >= len(data):
            break
        byte = data[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & _MASK, at + place + 1
    raise WireError("varint")


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
