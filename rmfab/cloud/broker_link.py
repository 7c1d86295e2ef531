"""One MQTT connection as a unit: TCP, TLS, CONNECT, and what follows. Each answer has a deadline."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from rmfab.board.dial import dial
from rmfab.cloud.broker import Broker
from rmfab.cloud.mqtt import (
    FAILED,
    REFUSALS,
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
from rmfab.cloud.refusals import BrokerRefusal, Stage, judged, not_mqtt
from rmfab.errors import RmfabError
from rmfab.signals import SLICE_SECONDS

T = TypeVar("T")

_PIECE = 4096
_MOST_MESSAGES = 100


class BrokerLink:
    """A connection to *broker* over *stream*, before CONNECT; `open_link` makes one.

    *keep_going* is called at least twice per second while an answer is awaited, and raises to give up. Methods raise
    BrokerRefusal if the broker closes the connection or refuses, StationError if it does not answer, or not in MQTT.
    """

    def __init__(self, broker: Broker, stream: ssl.SSLSocket, keep_going: Callable[[], None]) -> None:
        self._broker = broker
        self._stream = stream
        self._keep_going = keep_going
        self._data = b""
        self._packet_id = 0
        self._delivered: list[Publish] = []

    def connect(self, client_id: str) -> None:
        """Send CONNECT; return once it is accepted."""
        self._send(Connect(client_id))
        answer = self._await(ConnAck, self._ending())
        if answer.code:
            why = REFUSALS[answer.code]
            raise BrokerRefusal(f"the broker refuses the connection: {why}", cause="cloud-connack")

    def subscribe(self, topic: str) -> bool:
        """Subscribe to *topic*; return whether the broker grants it."""
        self._send(Subscribe(self._next_id(), topic))
        return self._await(SubAck, self._ending()).code != FAILED

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1; return once the broker has acknowledged it."""
        self._send(Publish(topic, payload, self._next_id()))
        self._await(PubAck, self._ending())

    def delivered(self, payload: bytes) -> list[Publish]:
        """Wait for the message with *payload*; return all that came up to it, in order."""
        ending = self._ending()
        while not self._delivered or self._delivered[-1].payload != payload:
            self._keep(self._await(Publish, ending))
        came, self._delivered = self._delivered, []
        return came

    def disconnect(self) -> None:
        """End the connection cleanly."""
        self._send(Disconnect())

    def _next_id(self) -> int:
        self._packet_id += 1
        return self._packet_id

    def _ending(self) -> float:
        return time.monotonic() + self._broker.patience

    def _keep(self, message: Publish) -> None:
        if len(self._delivered) >= _MOST_MESSAGES:
            raise not_mqtt(self._broker, "it delivers messages without end")
        self._delivered.append(message)

    def _await(self, kind: type[T], ending: float) -> T:
        """Return the next packet of *kind*. Messages that are delivered before it are kept and acknowledged."""
        while True:
            packet = self._read(ending)
            if isinstance(packet, Publish) and packet.packet_id is not None:
                self._send(PubAck(packet.packet_id))
            if isinstance(packet, kind):
                return packet
            if not isinstance(packet, Publish):
                raise not_mqtt(self._broker, f"{type(packet).__name__} came instead of {kind.__name__}")
            self._keep(packet)

    def _read(self, ending: float) -> Packet:
        while True:
            try:
                found = decode(self._data)
            except MqttError as error:
                raise not_mqtt(self._broker, str(error)) from None
            if found is not None:
                packet, size = found
                self._data = self._data[size:]
                return packet
            with self._judging():
                piece = in_slices(lambda: self._stream.recv(_PIECE), self._stream, ending, self._keep_going)
                if not piece:
                    raise ConnectionResetError
            self._data += piece

    def _send(self, packet: Packet) -> None:
        with self._judging():
            self._stream.settimeout(self._broker.patience)
            self._stream.sendall(encode(packet))

    @contextmanager
    def _judging(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise judged(error, self._broker, Stage.GREETED) from None


@contextmanager
def open_link(
    broker: Broker, context: ssl.SSLContext, client_id: str, keep_going: Callable[[], None]
) -> Iterator[BrokerLink]:
    """Yield a connection to *broker* that it has accepted, with a *context* of it, as *client_id*.

    Raise what `BrokerLink` raises; ssl.SSLError with `refusals.needs_tls13` if the broker has no TLS 1.2.
    """
    with open_tls(broker, context, keep_going) as stream:
        link = BrokerLink(broker, stream, keep_going)
        link.connect(client_id)
        yield link
        with suppress(RmfabError):  # the broker closed it first
            link.disconnect()


@contextmanager
def open_tls(broker: Broker, context: ssl.SSLContext, keep_going: Callable[[], None]) -> Iterator[ssl.SSLSocket]:
    """Yield a TLS connection to *broker* after the handshake. Raise as `open_link` does."""
    try:
        raw = dial((broker.host, broker.port), broker.patience, keep_going)
    except OSError as error:
        raise judged(error, broker, Stage.DIALLING) from None
    with raw:
        raw.settimeout(SLICE_SECONDS)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = context.wrap_socket(raw, server_hostname=broker.host, do_handshake_on_connect=False)
        with stream:
            try:
                in_slices(stream.do_handshake, stream, time.monotonic() + broker.patience, keep_going)
            except OSError as error:
                stage = Stage.ACCEPTED if stream.cipher() is None else Stage.GREETED
                raise judged(error, broker, stage) from error
            yield stream


def in_slices(work: Callable[[], T], stream: ssl.SSLSocket, ending: float, keep_going: Callable[[], None]) -> T:
    """Return the result of *work*, which waits for *stream*. Raise TimeoutError at *ending* (of time.monotonic)."""
    while True:
        left = ending - time.monotonic()
        if left <= 0:
            raise TimeoutError
        stream.settimeout(min(left, SLICE_SECONDS))
        try:
            return work()
        except TimeoutError:  # a slice is over: TLS goes on where it was
            keep_going()
