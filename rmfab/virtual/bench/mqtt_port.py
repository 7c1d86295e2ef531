"""The MQTT library of a virtual board: paho-mqtt, in a thread that ends with the connection.

paho-mqtt is optional: without it a board has no MQTT. Each connection has a thread, which alone uses the client; the
board's event loop leaves orders in a queue and wakes it by a socket. So the end of a connection never waits for a
network: a board that loses its power sends no DISCONNECT, and its thread is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rmfab.files import memory_file
from rmfab.virtual.bench.trust import trusting
from rmfab.virtual.firmware.mqtt import KEEP_ALIVE_SECONDS, MqttFailure, MqttPublish, MqttSettings, MqttSubscribe
from rmfab.virtual.firmware.script import MqttClient, Script

if TYPE_CHECKING:
    from paho.mqtt.client import Client

_PATIENCE_SECONDS = 10.0  # MQTT_NETWORK_TIMEOUT_MS
_LOOK_SECONDS = 5.0


def is_available() -> bool:
    """Whether boards of this Python have MQTT."""
    return find_spec("paho") is not None


class MqttPort:
    """The library of one board. *play* runs steps of its firmware, in its event loop."""

    def __init__(self, play: Callable[[Script], None]) -> None:
        self._play = play
        self._link: _Link | None = None
        self._greeted = False  # the firmware knows of the connection, and has sent what comes first
        self._kept: list[MqttPublish] = []

    @property
    def state(self) -> str:
        """`off`, `connecting` or `connected`."""
        if self._link is None:
            return "off"
        return "connected" if self._link.connected else "connecting"

    def dial(self, client: MqttClient) -> None:
        """Connect *client*. Messages that no broker has received yet are sent after those of the new connection."""
        self._end()
        if not is_available():
            self._play(client.ended(MqttFailure.NO_LIBRARY))
            return
        self._link = _Link(client, asyncio.get_running_loop(), self._report)
        self._link.start()

    def follow_route(self) -> None:
        """End a connection to where the broker no longer is."""
        if self._link is not None and self._link.route != self._link.client.route:
            client = self._link.client
            self._end()
            self._play(client.ended(MqttFailure.LOST))

    def give(self, order: MqttPublish | MqttSubscribe) -> None:
        """Publish or subscribe; without a connection, a message waits for the next one."""
        if self._link is not None and self._greeted:
            self._link.give(order)
        elif isinstance(order, MqttPublish):
            self._kept.append(order)

    def hang_up(self) -> None:
        """End the connection at once, without a farewell, and forget all. Afterwards there is no thread."""
        self._end()
        self._kept.clear()

    def _end(self) -> None:
        link, self._link = self._link, None
        self._greeted = False
        if link is not None:
            link.stop()
            self._kept.extend(link.unacknowledged)

    def _report(self, link: _Link, steps: Script, *, over: bool) -> None:
        """Play what *link* has caused, unless it is a former one."""
        if link is not self._link:
            return
        if over:
            self._end()
        self._greeted = link.connected and not over
        self._play(steps)
        while self._greeted and self._kept:
            link.give(self._kept.pop(0))


class _Stopped(Exception):
    """The board has ended the connection."""


class _Failed(Exception):
    """There is no connection."""

    def __init__(self, failure: MqttFailure) -> None:
        super().__init__(failure.name)
        self.failure = failure


class _Link:
    """One connection of *client*, and its thread."""

    def __init__(self, client: MqttClient, loop: asyncio.AbstractEventLoop, report: Callable[..., None]) -> None:
        self.client = client
        self.route = client.route
        self._loop = loop
        self._report = report
        self._orders: deque[MqttPublish | MqttSubscribe] = deque()
        self._sent: dict[int, MqttPublish] = {}
        self._wakened, self._waker = socket.socketpair()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"mqtt {client.settings.client_id}", daemon=True)
        self.connected = False
        self.stream: ssl.SSLSocket | None = None

    # In the board's event loop.

    @property
    def unacknowledged(self) -> list[MqttPublish]:
        """The messages that the broker may not have received, once the thread has ended."""
        return [*self._sent.values(), *(order for order in self._orders if isinstance(order, MqttPublish))]

    def start(self) -> None:
        self._wakened.setblocking(False)
        self._waker.setblocking(False)
        self._thread.start()

    def give(self, order: MqttPublish | MqttSubscribe) -> None:
        self._orders.append(order)
        self._wake()

    def stop(self) -> None:
        self._stopping = True
        self._wake()
        self._thread.join()
        self._wakened.close()
        self._waker.close()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is full: the thread wakes anyway
            self._waker.send(b"\0")

    # In the thread.

    def _run(self) -> None:
        try:
            self._converse()
        except _Stopped:
            return
        except _Failed as failed:
            failure = failed.failure
        except (OSError, ValueError):  # a node id may be such that paho-mqtt refuses its topics
            failure = MqttFailure.LOST if self.connected else MqttFailure.CLOSED
        self._tell(self.client.ended(failure), over=True)

    def _tell(self, steps: Script, *, over: bool = False) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(lambda: self._report(self, steps, over=over))

    def _converse(self) -> None:
        settings = self.client.settings
        with contextlib.closing(self._open(settings)) as stream:
            self.stream = stream
            paho = self._paho(stream)
            paho.connect(settings.host, keepalive=KEEP_ALIVE_SECONDS)
            deadline = time.monotonic() + _PATIENCE_SECONDS
            with selectors.DefaultSelector() as selector:
                selector.register(self._wakened, selectors.EVENT_READ)
                selector.register(stream, selectors.EVENT_READ)
                while paho.socket() is not None:
                    if not self.connected and time.monotonic() > deadline:
                        raise _Failed(MqttFailure.CLOSED)
                    self._turn(paho, stream, selector)
        raise _Failed(MqttFailure.LOST if self.connected else MqttFailure.CLOSED)

    def _turn(self, paho: Client, stream: ssl.SSLSocket, selector: selectors.BaseSelector) -> None:
        """Carry out the orders, then wait for the network or the next order. Raise _Stopped."""
        self._carry_out(paho)
        if paho.want_write():
            paho.loop_write()
        if paho.socket() is None:
            return
        writing = selectors.EVENT_WRITE if paho.want_write() else 0
        selector.modify(stream, selectors.EVENT_READ | writing)
        ready = {key.fileobj for key, _ in selector.select(0 if stream.pending() else _LOOK_SECONDS)}
        self._check_wakened()
        if stream in ready or stream.pending():
            paho.loop_read()
        paho.loop_misc()

    def _carry_out(self, paho: Client) -> None:
        while self.connected and self._orders:
            match self._orders.popleft():
                case MqttPublish() as message:
                    sent = paho.publish(message.path, message.payload, 1)
                    self._sent[sent.mid] = message
                case MqttSubscribe(path):
                    paho.subscribe(path, 1)

    def _check_wakened(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakened.recv(4096)
        if self._stopping:
            raise _Stopped

    def _paho(self, stream: ssl.SSLSocket) -> Client:
        """Return a client that uses *stream*, which is connected."""
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        class OnStream(Client):
            def _create_socket(self) -> Any:
                return stream

        settings = self.client.settings
        paho = OnStream(CallbackAPIVersion.VERSION2, settings.client_id, reconnect_on_failure=False)
        paho.username_pw_set(settings.username)
        if settings.will is not None:
            paho.will_set(*settings.will, 1)
        paho.on_connect = self._on_connect
        paho.on_message = lambda _paho, _data, message: self._tell(
            self.client.received(message.topic, bytes(message.payload))
        )
        paho.on_publish = self._on_publish
        return paho

    def _on_connect(self, _paho: Client, _data: object, _flags: object, code: Any, _properties: object) -> None:
        if code.is_failure:
            raise _Failed(MqttFailure.NOT_AUTHORIZED)
        self.connected = True
        self._tell(self.client.connected())

    def _on_publish(self, _paho: Client, _data: object, number: int, _code: object, _properties: object) -> None:
        message = self._sent.pop(number, None)
        if message is not None:
            self._tell(self.client.acknowledged(message))

    def _open(self, settings: MqttSettings) -> ssl.SSLSocket:
        """Connect, and shake hands over TLS. Raise _Failed, _Stopped or OSError."""
        route = self.route
        if route is None:
            raise _Failed(MqttFailure.NO_ADDRESS)
        context = _context(settings)
        plain = socket.socket(socket.AF_INET6 if ":" in route.address else socket.AF_INET)
        with contextlib.ExitStack() as stack:
            stack.callback(plain.close)
            plain.setblocking(False)
            plain.connect_ex((route.address, route.port))
            self._await(plain, selectors.EVENT_WRITE)
            if plain.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise _Failed(MqttFailure.UNREACHABLE)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = context.wrap_socket(plain, server_hostname=settings.host, do_handshake_on_connect=False)
            stack.callback(stream.close)
            self._shake_hands(stream)
            _check_dates(stream, settings.clock)
            stack.pop_all()
        return stream

    def _shake_hands(self, stream: ssl.SSLSocket) -> None:
        while True:
            try:
                stream.do_handshake()
            except ssl.SSLWantReadError:
                self._await(stream, selectors.EVENT_READ)
            except ssl.SSLWantWriteError:
                self._await(stream, selectors.EVENT_WRITE)
            except ssl.SSLCertVerificationError:
                raise _Failed(MqttFailure.UNTRUSTED) from None
            except ssl.SSLError as error:
                closed = isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
                raise _Failed(MqttFailure.CLOSED if closed else MqttFailure.ALERT) from None
            else:
                return

    def _await(self, stream: socket.socket, event: int) -> None:
        """Wait until *stream* is ready. Raise _Stopped, or _Failed if that takes too long."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._wakened, selectors.EVENT_READ)
            selector.register(stream, event)
            ready = {key.fileobj for key, _ in selector.select(_PATIENCE_SECONDS)}
        self._check_wakened()
        if stream not in ready:
            raise _Failed(MqttFailure.UNREACHABLE)


def _context(settings: MqttSettings) -> ssl.SSLContext:
    """Return a context with the client's certificate. TLS is 1.2, ESP-IDF's default."""
    try:
        context = trusting(settings.roots)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        with memory_file(settings.certificate.rstrip(b"\0\n") + b"\n" + settings.key.rstrip(b"\0")) as path:
            context.load_cert_chain(path)
    except (ValueError, OSError):
        raise _Failed(MqttFailure.BAD_CREDENTIALS) from None
    return context


def _check_dates(stream: ssl.SSLSocket, clock: float | None) -> None:
    """Raise _Failed if the server's certificate is not valid yet at *clock*."""
    begins = (stream.getpeercert() or {}).get("notBefore")
    if clock is not None and isinstance(begins, str) and ssl.cert_time_to_seconds(begins) > clock:
        raise _Failed(MqttFailure.UNTRUSTED)
