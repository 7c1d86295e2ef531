"""The MQTT 3.1.1 codec: tables, round trips, hostile bytes, and paho-mqtt as the independent decoder."""

from __future__ import annotations

import socket

import paho.mqtt.client as paho
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmfab.cloud.mqtt import (
    FAILED,
    MOST_BYTES,
    ConnAck,
    Connect,
    Disconnect,
    MqttError,
    Packet,
    PubAck,
    Publish,
    SubAck,
    Subscribe,
    decode,
    encode,
)

TABLE: dict[str, tuple[Packet, str]] = {
    "connect": (Connect("n1", 120), "10 0e 0004 4d515454 04 02 0078 0002 6e31"),
    "accepted": (ConnAck(0), "20 02 00 00"),
    "session": (ConnAck(0, session_present=True), "20 02 01 00"),
    "not authorized": (ConnAck(5), "20 02 00 05"),
    "publish": (Publish("a/b", b"x", 10), "32 08 0003 612f62 000a 78"),
    "publish 0": (Publish("a/b", b"", None, retain=True), "31 05 0003 612f62"),
    "duplicate": (Publish("a/b", b"", 1, duplicate=True), "3a 07 0003 612f62 0001"),
    "puback": (PubAck(10), "40 02 000a"),
    "subscribe": (Subscribe(10, "a/b"), "82 08 000a 0003 612f62 01"),
    "suback": (SubAck(10, 1), "90 03 000a 01"),
    "suback refused": (SubAck(10, FAILED), "90 03 000a 80"),
    "disconnect": (Disconnect(), "e0 00"),
}
HOSTILE = {
    "html": b"HTTP/1.1 400 Bad Request\r\n",
    "type 0": bytes.fromhex("00 00"),
    "pubrec": bytes.fromhex("50 02 000a"),
    "endless length": bytes.fromhex("30 80808080 01"),
    "long": bytes.fromhex("30 ffffff7f"),
    "connack flags": bytes.fromhex("21 02 0000"),
    "connack code": bytes.fromhex("20 02 0006"),
    "connack session of a refusal": bytes.fromhex("20 02 0105"),
    "connack long": bytes.fromhex("20 03 000000"),
    "connect level": bytes.fromhex("10 0e 0004 4d515454 05 02 0078 0002 6e31"),
    "connect will": bytes.fromhex("10 0e 0004 4d515454 04 06 0078 0002 6e31"),
    "connect more": bytes.fromhex("10 0f 0004 4d515454 04 02 0078 0002 6e31 00"),
    "connect short": bytes.fromhex("10 02 0004"),
    "qos 2": bytes.fromhex("34 07 0003 612f62 0001"),
    "qos 3": bytes.fromhex("36 07 0003 612f62 0001"),
    "duplicate of qos 0": bytes.fromhex("38 05 0003 612f62"),
    "wildcard": bytes.fromhex("30 05 0003 612f23"),
    "no topic": bytes.fromhex("30 02 0000"),
    "topic beyond the body": bytes.fromhex("30 05 0009 612f62"),
    "topic with NUL": bytes.fromhex("30 05 0003 610062"),
    "topic not UTF-8": bytes.fromhex("30 05 0003 61ff62"),
    "no identifier": bytes.fromhex("32 05 0003 612f62"),
    "identifier 0": bytes.fromhex("40 02 0000"),
    "puback long": bytes.fromhex("40 03 000a00"),
    "suback code": bytes.fromhex("90 03 000a 03"),
    "suback short": bytes.fromhex("90 02 000a"),
    "subscribe flags": bytes.fromhex("80 08 000a 0003 612f62 01"),
    "subscribe qos": bytes.fromhex("82 08 000a 0003 612f62 02"),
    "disconnect body": bytes.fromhex("e0 01 00"),
}
IDS = st.integers(1, 0xFFFF)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=100)
TOPICS = st.text(st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=100)
PACKETS = st.one_of(
    st.builds(Connect, TEXT, st.integers(0, 0xFFFF)),
    st.builds(ConnAck, st.integers(0, 5)),
    st.builds(Publish, TOPICS, st.binary(max_size=300), IDS, st.booleans(), st.booleans()),
    st.builds(Publish, TOPICS, st.binary(max_size=300), st.none(), st.just(False), st.booleans()),
    st.builds(PubAck, IDS),
    st.builds(Subscribe, IDS, TOPICS),
    st.builds(SubAck, IDS, st.sampled_from([0, 1, 2, FAILED])),
    st.just(Disconnect()),
)


@pytest.mark.parametrize(("packet", "data"), TABLE.values(), ids=TABLE)
def test_bytes(packet: Packet, data: str) -> None:
    """Each packet has the bytes that the standard gives it."""
    octets = bytes.fromhex(data)
    assert encode(packet) == octets
    assert decode(octets) == (packet, len(octets))


@given(PACKETS, st.binary(max_size=5))
def test_round_trip(packet: Packet, more: bytes) -> None:
    """A packet comes back from its bytes, whatever follows; none of its beginnings is a packet."""
    octets = encode(packet)
    assert decode(octets + more) == (packet, len(octets))
    assert [decode(octets[:end]) for end in range(min(len(octets), 200))] == [None] * min(len(octets), 200)


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bytes(data: bytes) -> None:
    """What the standard forbids, or no unit expects, is refused."""
    with pytest.raises(MqttError):
        decode(data)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Any bytes are a packet, the beginning of one, or refused; a packet that is read is written the same."""
    try:
        found = decode(data)
    except MqttError:
        return
    if found is not None and data[1] < 0x80:
        packet, size = found
        assert encode(packet) == data[:size]


@pytest.mark.parametrize(
    "packet",
    [
        Publish("a", bytes(MOST_BYTES), 1),
        Publish("a\0", b"", 1),
        Publish("a" * 70_000, b"", 1),
        PubAck(0),
        PubAck(0x10000),
        Connect("n", -1),
    ],
    ids=["long", "NUL", "long topic", "identifier 0", "large identifier", "keep alive"],
)
def test_what_does_not_fit(packet: Packet) -> None:
    """A field that the standard does not allow is not written."""
    with pytest.raises(ValueError, match=r"too long|NUL|two bytes|not 0"):
        encode(packet)


def test_paho_speaks_the_same() -> None:
    """paho-mqtt understands our CONNACK, SUBACK, PUBACK and PUBLISH, and we understand all that it sends."""
    ours, theirs = socket.socketpair()
    heard: list[tuple[str, bytes]] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "n1", reconnect_on_failure=False)
    client._create_socket_connection = lambda: theirs  # type: ignore[method-assign]
    client.on_message = lambda _client, _data, message: heard.append((message.topic, message.payload))
    with ours:
        client.connect("nowhere", keepalive=33)
        assert _next(ours, client) == Connect("n1", 33)
        _answer(ours, client, ConnAck(0))
        assert client.is_connected()
        client.subscribe("node/+/x", 1)
        subscribing = _next(ours, client)
        assert isinstance(subscribing, Subscribe)
        _answer(ours, client, SubAck(subscribing.packet_id, 1))
        sent = client.publish("node/n1/x", b"body", 1)
        publishing = _next(ours, client)
        assert publishing == Publish("node/n1/x", b"body", sent.mid)
        _answer(ours, client, PubAck(sent.mid))
        assert sent.is_published()
        _answer(ours, client, Publish("node/n1/x", b"back", 7))
        assert heard == [("node/n1/x", b"back")]
        assert _next(ours, client) == PubAck(7)
        client.disconnect()
        assert _next(ours, client) == Disconnect()


def _next(ours: socket.socket, client: paho.Client) -> Packet:
    """Return the next packet that paho sends."""
    client.loop_write()
    data = b""
    while (found := decode(data)) is None:
        data += ours.recv(1)
    return found[0]


def _answer(ours: socket.socket, client: paho.Client, packet: Packet) -> None:
    ours.sendall(encode(packet))
    assert client.loop_read(1) == paho.MQTT_ERR_SUCCESS
