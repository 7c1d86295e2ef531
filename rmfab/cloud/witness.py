"""The witness: a client with its own certificate that sees what the broker delivers. paho-mqtt is behind this door.

It is an implementation by others: what the broker delivers to it was not judged by the code that sent it. It must be
allowed to publish and to subscribe below `node/`.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rmfab.cloud.broker import Broker
from rmfab.cloud.broker_link import open_link
from rmfab.cloud.credentials import ClientPair
from rmfab.cloud.refusals import BrokerRefusal
from rmfab.errors import StationError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

SUFFIX = "rmfab-check"
"""The last part of all topics of a check. No firmware and no rule of RainMaker uses it."""


def topic_of(node_id: str) -> str:
    """Return the topic on which a check publishes for *node_id*."""
    return f"node/{node_id}/{SUFFIX}"


def drawn() -> bytes:
    """Return a payload that no other message has."""
    return secrets.token_hex(16).encode()


class Witness:
    """A client that is subscribed to the topics of a check, of all nodes. Several threads may use it at once."""

    def __init__(self, broker: Broker, client: Client, name: str, keep_going: Callable[[], None]) -> None:
        self._broker = broker
        self._client = client
        self._keep_going = keep_going
        self._own_topic = topic_of(name)
        self._seen: dict[bytes, str] = {}
        self._lost: str | None = None
        self._news = threading.Condition()
        client.on_message = self._take
        client.on_disconnect = self._lose

    def begin(self) -> None:
        """Subscribe, and prove that the broker delivers to this witness. Raise StationError (cause `witness`)."""
        from paho.mqtt.client import MQTT_ERR_SUCCESS

        code, _ = self._client.subscribe(topic_of("+"), 1)
        if code != MQTT_ERR_SUCCESS:
            raise self._bad("cannot subscribe")
        self.settle()

    def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1; return once the broker has acknowledged it."""
        sent = self._client.publish(topic, payload, 1)
        what = "the broker does not acknowledge what the witness publishes"
        if sent.rc:
            raise self._bad(f"lost its connection: {self._lost or sent.rc}")
        self._wait(sent.is_published, what, sent.wait_for_publish)

    def settle(self) -> None:
        """Return once everything is seen that the broker accepted before this call."""
        mark = drawn()
        self.publish(self._own_topic, mark)
        self._wait(lambda: self.saw(mark), f"the broker does not deliver {self._own_topic} to it", self._await_news)

    def saw(self, payload: bytes) -> str | None:
        """Return the topic on which the message with *payload* came, None if it did not; forget it."""
        with self._news:
            return self._seen.pop(payload, None)

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self._news:
            self._seen[bytes(message.payload)] = message.topic
            self._news.notify_all()

    def _lose(self, _client: Client, _data: object, _flags: object, code: Any, _properties: object) -> None:
        with self._news:
            self._lost = str(code)
            self._news.notify_all()

    def _await_news(self, seconds: float) -> None:
        with self._news:
            self._news.wait(seconds)

    def _wait(self, true: Callable[[], object], what: str, sleep: Callable[[float], None]) -> None:
        """Return once *true* is. *sleep* waits for so many seconds, or less if something changes meanwhile."""
        ending = time.monotonic() + self._broker.patience
        while not true():
            self._keep_going()
            if self._lost is not None:
                raise self._bad(f"lost its connection: {self._lost}")
            if time.monotonic() >= ending:
                raise self._bad(what)
            sleep(_LOOK_SECONDS)

    def _bad(self, what: str) -> StationError:
        return _unfit(self._broker, what)


_LOOK_SECONDS = 0.05


@contextmanager
def watching(broker: Broker, pair: ClientPair, keep_going: Callable[[], None]) -> Iterator[Witness]:
    """Yield a witness at *broker*, with the certificate *pair*.

    Raise StationError: `no-paho` if paho-mqtt is not installed, `witness` if the broker does not let it in or does not
    deliver to it.
    """
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError:
        raise StationError(
            "a witness needs paho-mqtt",
            hint="run `pip install '.[cloud]'` in rmfab's checkout, or leave --witness-cert out",
            cause="no-paho",
        ) from None
    name = f"rmfab-witness-{secrets.token_hex(4)}"
    context = broker.context(pair)
    _knock(broker, context, name, keep_going)
    client = Client(CallbackAPIVersion.VERSION2, name, reconnect_on_failure=False)
    client.connect_timeout = broker.patience
    client.tls_set_context(context)
    witness = Witness(broker, client, name, keep_going)
    _connect(client, broker, keep_going)
    try:
        witness.begin()
        yield witness
    finally:
        client.disconnect()
        client.loop_stop()


def _knock(broker: Broker, context: ssl.SSLContext, name: str, keep_going: Callable[[], None]) -> None:
    """Connect once without paho-mqtt, which reports a refused certificate only as an unspecified error."""
    try:
        with open_link(broker, context, name, keep_going):
            pass
    except BrokerRefusal as refusal:
        raise _unfit(broker, refusal.what) from None


def _connect(client: Client, broker: Broker, keep_going: Callable[[], None]) -> None:
    """Connect, and let paho's thread run. Raise StationError if the broker does not accept the connection."""
    answers: list[Any] = []
    client.on_connect = lambda _client, _data, _flags, code, _properties: answers.append(code)
    try:
        client.connect(broker.host, broker.port)
        if isinstance(opened := client.socket(), socket.socket):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise _unfit(broker, str(error)) from None
    client.loop_start()
    ending = time.monotonic() + broker.patience
    while not answers and time.monotonic() < ending:
        keep_going()
        time.sleep(_LOOK_SECONDS)
    if not answers or answers[0].is_failure:
        client.loop_stop()
        raise _unfit(broker, f"is not let in: {answers[0] if answers else 'no answer'}")


def _unfit(broker: Broker, what: str) -> StationError:
    return StationError(
        f"the witness cannot work: {what}",
        where=broker.place,
        hint="its certificate must be allowed to publish and to subscribe to node/+/" + SUFFIX,
        cause="witness",
    )
