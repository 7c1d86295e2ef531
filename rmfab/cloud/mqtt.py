"""MQTT 3.1.1 as values: the packets that a unit and its broker exchange until a message is delivered.

Pure functions, no socket. Sections are those of the OASIS standard "MQTT Version 3.1.1". What no unit needs is left
out and refused: wills, user names, QoS 2, unsubscribing. Bytes of a peer are hostile: `decode` accepts only what the
standard allows, within `MOST_BYTES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

MOST_BYTES = 64 * 1024
"""The longest body of a packet. The longest message of RainMaker's firmware is a node config of a few kB."""
FAILED = 0x80
"""The return code of a subscription that the broker refuses (section 3.9.3)."""
REFUSALS: Mapping[int, str] = {
    1: "unacceptable protocol version",
    2: "client id rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}
"""The return codes of CONNACK that are not 0 (section 3.2.2.3)."""

_HEAD = b"\x00\x04MQTT\x04"  # protocol name and level (3.1.2.1, 3.1.2.2)
_CLEAN_SESSION = 0x02
_LONGEST_LENGTH = 4  # bytes of a remaining length (2.2.3)


class MqttError(Exception):
    """The peer does not speak MQTT 3.1.1, or more of it than is expected here."""


@dataclass(frozen=True)
class Connect:
    """CONNECT (3.1) with a clean session, without a will and a user name. *keep_alive* in seconds."""

    client_id: str
    keep_alive: int = 60


@dataclass(frozen=True)
class ConnAck:
    """CONNACK (3.2). *code* 0 accepts the connection; see `REFUSALS`."""

    code: int
    session_present: bool = False


@dataclass(frozen=True)
class Publish:
    """PUBLISH (3.3) with QoS 1, or with QoS 0 if *packet_id* is None."""

    topic: str
    payload: bytes
    packet_id: int | None
    duplicate: bool = False
    retain: bool = False


@dataclass(frozen=True)
class PubAck:
    """PUBACK (3.4)."""

    packet_id: int


@dataclass(frozen=True)
class Subscribe:
    """SUBSCRIBE (3.8) to one topic filter with QoS 1."""

    packet_id: int
    topic: str


@dataclass(frozen=True)
class SubAck:
    """SUBACK (3.9) for one topic filter. *code*: the granted QoS, or `FAILED`."""

    packet_id: int
    code: int


@dataclass(frozen=True)
class Disconnect:
    """DISCONNECT (3.14)."""


Packet = Connect | ConnAck | Publish | PubAck | Subscribe | SubAck | Disconnect


def encode(packet: Packet) -> bytes:
    """Return the bytes of *packet*. Raise ValueError if a field does not fit."""
    head, body = _encoded(packet)
    if len(body) > MOST_BYTES:
        raise ValueError(f"a packet of {len(body)} bytes is too long")
    return bytes([head]) + _length(len(body)) + body


def _encoded(packet: Packet) -> tuple[int, bytes]:
    match packet:
        case Connect():
            return 0x10, _HEAD + bytes([_CLEAN_SESSION]) + _number(packet.keep_alive) + _text(packet.client_id)
        case ConnAck():
            return 0x20, bytes([packet.session_present, packet.code])
        case Publish():
            flags = packet.duplicate << 3 | (packet.packet_id is not None) << 1 | packet.retain
            identifier = b"" if packet.packet_id is None else _identifier(packet.packet_id)
            return 0x30 | flags, _text(packet.topic) + identifier + packet.payload
        case PubAck():
            return 0x40, _identifier(packet.packet_id)
        case Subscribe():
            return 0x82, _identifier(packet.packet_id) + _text(packet.topic) + b"\x01"
        case SubAck():
            return 0x90, _identifier(packet.packet_id) + bytes([packet.code])
        case Disconnect():
            return 0xE0, b""


def decode(data: bytes) -> tuple[Packet, int] | None:
    """Return the first packet of *data* and the number of its bytes, None if more bytes are needed.

    Raise MqttError for bytes that cannot become a packet, as soon as that is certain.
    """
    if not data:
        return None
    judge = _DECODERS.get(data[0])
    if judge is None:
        raise MqttError(f"a packet that starts with {data[0]:#04x} is not expected")
    length = _remaining(data)
    if length is None:
        return None
    start, size = length
    if len(data) < start + size:
        return None
    return judge(data[start : start + size]), start + size


def _remaining(data: bytes) -> tuple[int, int] | None:
    """Return where the body starts and its size (2.2.3), None if more bytes are needed."""
    size = 0
    for place in range(_LONGEST_LENGTH):
        if len(data) < place + 2:
            return None
        size |= (data[place + 1] & 0x7F) << 7 * place
        if size > MOST_BYTES:
            raise MqttError(f"a packet of {size} bytes or more is too long")
        if not data[place + 1] & 0x80:
            return place + 2, size
    raise MqttError("the length of a packet does not end")


def _connect(body: bytes) -> Connect:
    _demand(body[: len(_HEAD)] == _HEAD, "CONNECT")
    rest = body[len(_HEAD) :]
    _demand(len(rest) >= 3 and rest[0] == _CLEAN_SESSION, "CONNECT")
    client_id, end = _read_text(rest, 3)
    _demand(end == len(rest), "CONNECT")
    return Connect(client_id, int.from_bytes(rest[1:3], "big"))


def _connack(body: bytes) -> ConnAck:
    _demand(len(body) == 2 and body[0] <= 1 and body[1] <= max(REFUSALS), "CONNACK")
    _demand(not (body[0] and body[1]), "CONNACK")  # 3.2.2.2: no session if refused
    return ConnAck(body[1], bool(body[0]))


def _publish(flags: int, body: bytes) -> Publish:
    topic, end = _read_text(body, 0)
    _demand(bool(topic) and not set(topic) & {"+", "#"}, "PUBLISH")  # 3.3.2.1
    packet_id = None
    if flags & 0x02:
        packet_id, end = _read_identifier(body, end), end + 2
    return Publish(topic, body[end:], packet_id, bool(flags & 0x08), bool(flags & 0x01))


def _puback(body: bytes) -> PubAck:
    _demand(len(body) == 2, "PUBACK")
    return PubAck(_read_identifier(body, 0))


def _subscribe(body: bytes) -> Subscribe:
    packet_id = _read_identifier(body, 0)
    topic, end = _read_text(body, 2)
    _demand(bool(topic) and body[end:] == b"\x01", "SUBSCRIBE")
    return Subscribe(packet_id, topic)


def _suback(body: bytes) -> SubAck:
    _demand(len(body) == 3 and body[2] in (0, 1, 2, FAILED), "SUBACK")
    return SubAck(_read_identifier(body, 0), body[2])


def _disconnect(body: bytes) -> Disconnect:
    _demand(not body, "DISCONNECT")
    return Disconnect()


_DECODERS: Mapping[int, Callable[[bytes], Packet]] = {
    0x10: _connect,
    0x20: _connack,
    0x40: _puback,
    0x82: _subscribe,
    0x90: _suback,
    0xE0: _disconnect,
    **{0x30 | flags: partial(_publish, flags) for flags in (0x0, 0x1, 0x2, 0x3, 0xA, 0xB)},
}
"""By the first byte: type and flags (2.2.1, 2.2.2). QoS 2 and 3, and a duplicate of QoS 0 (3.3.1.1), are not there."""


def _demand(true: bool, name: str) -> None:
    if not true:
        raise MqttError(f"a malformed {name}")


def _length(size: int) -> bytes:
    octets = bytearray()
    while True:
        size, octet = size >> 7, size & 0x7F
        octets.append(octet | (0x80 if size else 0))
        if not size:
            return bytes(octets)


def _number(value: int) -> bytes:
    if not 0 <= value <= 0xFFFF:
        raise ValueError(f"{value} does not fit in two bytes")
    return value.to_bytes(2, "big")


def _identifier(value: int) -> bytes:
    if not value:
        raise ValueError("a packet identifier is not 0")
    return _number(value)


def _text(text: str) -> bytes:
    """Return a UTF-8 string with its length (1.5.3). Raise ValueError if it contains NUL or a lone surrogate."""
    if "\0" in text:
        raise ValueError("a string of MQTT does not contain NUL")
    data = text.encode()
    return _number(len(data)) + data


def _read_identifier(body: bytes, start: int) -> int:
    value = int.from_bytes(body[start : start + 2], "big")
    _demand(len(body) >= start + 2 and value != 0, "packet identifier")  # 2.3.1
    return value


def _read_text(body: bytes, start: int) -> tuple[str, int]:
    """Return the string at *start* and where it ends."""
    begin = start + 2
    end = begin + int.from_bytes(body[start:begin], "big")
    _demand(len(body) >= max(begin, end), "string")
    try:
        text = body[begin:end].decode()
    except UnicodeDecodeError:
        raise MqttError("a string is not UTF-8") from None
    _demand("\0" not in text, "string")
    return text, end
