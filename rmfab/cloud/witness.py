"""The witness: a client with its own certificate that sees what the broker delivers. paho-mqtt is behind this door.

It is an implementation by others: what the broker delivers to it was not judged by the code that sent it. It must be
allowed to publish and to subscribe below `node/`, and to watch nodes also below `$aws/rules/`.
"""

from __future__ import annotations

import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from rmfab.cloud.broker import Broker
from rmfab.cloud.broker_link import open_link
from rmfab.cloud.credentials import ClientPair
from rmfab.cloud.node_watch import NodeWatch
from rmfab.cloud.refusals import BrokerRefusal
from rmfab.errors import StationError

if TYPE_CHECKING:
    from paho.mqtt.client import Client, MQTTMessage

SUFFIX = "rmfab-check"
"""The last part of all topics of a check. No firmware and no rule of RainMaker uses it."""
_ALLOW = f"its certificate must be allowed to publish and to subscribe to node/+/{SUFFIX}, and to watch nodes"
_SIGN = "its certificate must be one for clients, valid now, and of a CA that the broker accepts"
_SEE_BROKER = "see whether the broker runs, and what its log says"
_UNSPECIFIED = "Unspecified error"
"""What paho-mqtt says of a connection that ends without a packet (reason code 0x80)."""


def topic_of(node_id: str) -> str:
    """Return the topic on which a check publishes for *node_id*."""
    return f"node/{node_id}/{SUFFIX}"


def drawn() -> bytes:
    """Return a payload that no other message has."""
    return secrets.token_hex(16).encode()


class Witness:
    """A client called *name* that sees the checks of *nodes*, and all that a watched node publishes. Several threads
    may use it at once.

    While its connection is lost, what it cannot do raises StationError (cause `witness`).
    """

    def __init__(self, broker: Broker, client: Client, name: str, nodes: str, keep_going: Callable[[], None]) -> None:
        self._broker = broker
        self._client = client
        self._keep_going = keep_going
        self._own_topic = topic_of(name)
        self._checks = topic_of(nodes)
        self._seen: dict[bytes, str] = {}
        self._watches: list[NodeWatch] = []
        self._granted: dict[int, list[Any]] = {}
        self._lost: str | None = _NO_ANSWER
        self._news = threading.Condition()
        client.on_message = self._take
        client.on_connect = self._find
        client.on_disconnect = self._lose
        client.on_subscribe = self._grant

    def begin(self) -> None:
        """Prove that the broker lets this witness in, and delivers to it. Raise StationError (cause `witness`)."""
        self._await_link(self._keep_going)
        self.settle()

    def publish(self, topic: str, payload: bytes, keep_going: Callable[[], None] | None = None) -> None:
        """Publish with QoS 1; return once the broker has acknowledged it. *keep_going* raises to give up."""
        sent = self._client.publish(topic, payload, 1)
        what = "the broker does not acknowledge what the witness publishes"
        if sent.rc:
            raise self._bad(f"it is not connected: {self._lost or sent.rc}", _SEE_BROKER)
        self._wait(sent.is_published, what, sent.wait_for_publish, keep_going or self._keep_going)

    def settle(self, keep_going: Callable[[], None] | None = None) -> None:
        """Return once everything is seen that the broker accepted before this call: it delivers in that order.

        *keep_going* raises to give up.
        """
        mark = drawn()
        self.publish(self._own_topic, mark, keep_going)
        what = f"the broker does not deliver {self._own_topic} to it"
        self._wait(lambda: self.saw(mark), what, self._await_news, keep_going or self._keep_going)

    def saw(self, payload: bytes) -> str | None:
        """Return the topic on which the message with *payload* came, None if it did not; forget it."""
        with self._news:
            return self._seen.pop(payload, None)

    @contextmanager
    def watching(self, node_id: str, keep_going: Callable[[], None]) -> Iterator[NodeWatch]:
        """Yield a watch of what *node_id* publishes from now on. *keep_going* raises to give up."""
        watch = NodeWatch(
            node_id, lambda topic, payload: self.publish(topic, payload, keep_going), lambda: self.settle(keep_going)
        )
        self._await_link(keep_going)
        with self._news:
            self._watches.append(watch)
        try:
            self._subscribe(watch.topics, keep_going)
            watch.begin()
            yield watch
        finally:
            with self._news:
                self._watches.remove(watch)
            self._client.unsubscribe(list(watch.topics))

    def _subscribe(self, topics: Sequence[str], keep_going: Callable[[], None]) -> None:
        """Return once the broker has granted *topics*."""
        from paho.mqtt.client import MQTT_ERR_SUCCESS

        with self._news:  # the answer cannot come before the one to an earlier request with this number is gone
            code, number = self._client.subscribe([(topic, 1) for topic in topics])
            self._granted.pop(number or 0, None)
        if code != MQTT_ERR_SUCCESS or number is None:
            raise self._bad(f"it is not connected: {self._lost or code}", _SEE_BROKER)
        granted = partial(self._granted.get, number)
        self._wait(granted, "the broker does not answer its subscription", self._await_news, keep_going)
        if any(one.is_failure for one in self._granted.pop(number)):
            raise self._bad(f"the broker refuses a subscription to {' or '.join(topics)}")

    def _await_link(self, keep_going: Callable[[], None]) -> None:
        """Return once the connection is there; it may just be made, or made again."""
        ending = time.monotonic() + self._broker.patience
        while self._lost is not None:
            keep_going()
            if time.monotonic() >= ending:
                raise self._bad(f"it is not connected: {self._lost}", _SEE_BROKER)
            self._await_news(_LOOK_SECONDS)

    def _take(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        with self._news:
            watches = () if message.retain else tuple(self._watches)
            if message.topic.endswith(f"/{SUFFIX}"):
                self._seen[bytes(message.payload)] = message.topic
                if len(self._seen) > _MOST_SEEN:  # nobody asks for each
                    del self._seen[next(iter(self._seen))]
            self._news.notify_all()
        for watch in watches:
            watch.take(message.topic, bytes(message.payload))

    def _find(self, _client: Client, _data: object, _flags: object, code: Any, _properties: object) -> None:
        """Subscribe: the broker knows nothing of an earlier connection."""
        with self._news:
            topics = [self._checks, *(topic for watch in self._watches for topic in watch.topics)]
            if not code.is_failure:
                self._client.subscribe([(topic, 1) for topic in topics])
            self._lost = str(code) if code.is_failure else None
            self._news.notify_all()

    def _lose(self, _client: Client, _data: object, _flags: object, code: Any, _properties: object) -> None:
        told = "the broker is away" if str(code) == _UNSPECIFIED else str(code)
        with self._news:
            self._lost = told
            self._news.notify_all()
            watches = tuple(self._watches)
        for watch in watches:
            watch.lose(self._cut_off())

    def _grant(self, _client: Client, _data: object, number: int, codes: list[Any], _properties: object) -> None:
        with self._news:
            self._granted[number] = codes
            self._news.notify_all()

    def _await_news(self, seconds: float) -> None:
        with self._news:
            self._news.wait(seconds)

    def _wait(
        self,
        true: Callable[[], object],
        what: str,
        sleep: Callable[[float], None],
        keep_going: Callable[[], None],
    ) -> None:
        """Return once *true* is. *sleep* waits for so many seconds, or less if something changes meanwhile."""
        ending = time.monotonic() + self._broker.patience
        while not true():
            keep_going()
            if self._lost is not None:
                raise self._cut_off()
            if time.monotonic() >= ending:
                raise self._bad(what)
            sleep(_LOOK_SECONDS)

    def _bad(self, what: str, hint: str = _ALLOW) -> StationError:
        return _unfit(self._broker, what, hint)

    def _cut_off(self) -> StationError:
        return self._bad(f"it has lost its connection: {self._lost}", _SEE_BROKER)


_LOOK_SECONDS = 0.05
_MOST_SEEN = 10_000
_LONGEST_PAUSE = 5  # seconds between two attempts to connect again
_NO_ANSWER = "no answer"


@contextmanager
def watching(
    broker: Broker, pair: ClientPair, keep_going: Callable[[], None], *, lasting: bool = False
) -> Iterator[Witness]:
    """Yield a witness at *broker*, with the certificate *pair*.

    It sees the checks of all nodes. A *lasting* one sees only the nodes that it watches, and connects again whenever
    its connection is lost. Raise StationError: `no-paho` if paho-mqtt is not installed, `witness` if the broker does
    not let it in or does not deliver to it.
    """
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError:
        raise StationError(
            "a witness needs paho-mqtt", hint="run `pip install '.[cloud]'` in rmfab's checkout", cause="no-paho"
        ) from None
    name = f"rmfab-witness-{secrets.token_hex(4)}"
    context = broker.context(pair)
    _knock(broker, context, name, keep_going)
    client = Client(CallbackAPIVersion.VERSION2, name, reconnect_on_failure=lasting)
    client.connect_timeout = broker.patience
    client.tls_set_context(context)
    client.reconnect_delay_set(1, _LONGEST_PAUSE)
    client.on_socket_open = _hurry
    witness = Witness(broker, client, name, name if lasting else "+", keep_going)
    try:
        client.connect(broker.host, broker.port)
    except OSError as error:
        raise _unfit(broker, str(error), _SEE_BROKER) from None
    client.loop_start()
    try:
        witness.begin()
        yield witness
    finally:
        client.disconnect()
        client.loop_stop()


def _hurry(_client: Client, _data: object, opened: object) -> None:
    if isinstance(opened, socket.socket):
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _knock(broker: Broker, context: ssl.SSLContext, name: str, keep_going: Callable[[], None]) -> None:
    """Connect once without paho-mqtt, which reports a refused certificate only as an unspecified error."""
    try:
        with open_link(broker, context, name, keep_going):
            pass
    except BrokerRefusal as refusal:
        raise _unfit(broker, refusal.what, _SIGN) from None


def _unfit(broker: Broker, what: str, hint: str) -> StationError:
    return StationError(f"the witness cannot work: {what}", where=broker.place, hint=hint, cause="witness")
