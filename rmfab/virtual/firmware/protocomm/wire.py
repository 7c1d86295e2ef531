"""The proto3 wire format by hand: tags, varints, length-delimited fields.

Source: Protocol Buffers documentation, "Encoding". Nothing is generated and no schema is known here; a message is a
mapping of field numbers, in which the last occurrence of a number counts.
"""

from __future__ import annotations

Fields = dict[int, int | bytes]

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_MASK = (1 << 64) - 1


class WireError(Exception):
    """Bytes that are no message, or a field of another kind than the one asked for."""


def decode(data: bytes) -> Fields:
    """The fields of a message: varints as unsigned 64-bit integers, everything else as bytes. Raises WireError."""
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
    """One field, whatever its value; a negative integer takes ten bytes, as int32 and int64 do."""
    if isinstance(value, int):
        return _encoded(number << 3 | _VARINT) + _encoded(value & _MASK)
    data = value.encode() if isinstance(value, str) else value
    return _encoded(number << 3 | _BYTES) + _encoded(len(data)) + data


def scalar(number: int, value: int | bytes | str) -> bytes:
    """One field as proto3 writes it: nothing where the value is 0 or empty."""
    return put(number, value) if value else b""


def integer(fields: Fields, number: int) -> int:
    """A number, 0 where it is absent. Raises WireError."""
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise WireError("an integer was expected")
    return value


def octets(fields: Fields, number: int) -> bytes:
    """Bytes, empty where they are absent. Raises WireError."""
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise WireError("bytes were expected")
    return value


def message(fields: Fields, number: int) -> Fields | None:
    """An embedded message, None where it is absent. Raises WireError."""
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
