"""Real mosquitto as the cloud of virtual boards, and an outsider's client that watches it: paho-mqtt."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from rmfab.cloud.mosquitto import Mosquitto, find_mosquitto
from rmfab.listening import free_port
from rmfab.virtual.network import FACTORY_NETWORK, AccessPoint, Route
from tests.cloud.lab import Lab
from tests.patience import PATIENCE

HOST = "mqtt.example.com"
EVERYTHING = ("node/#", "$aws/rules/#")


@dataclass
class Cloud:
    """A broker that runs: *lab* has its files, and makes credentials of units that it lets in."""

    lab: Lab
    port: int
    seen: list[tuple[str, bytes]] = field(default_factory=list)
    news: threading.Condition = field(default_factory=threading.Condition)
    _client: Client | None = None

    @property
    def root(self) -> str:
        """The certificate that firmware needs, for FirmwareFacts.server_root."""
        return self.lab.folder.ca.read_text()

    @property
    def network(self) -> AccessPoint:
        """The factory's network, from which the broker is reached as HOST."""
        return replace(FACTORY_NETWORK, routes=(Route(HOST, "127.0.0.1", self.port),))

    def messages(self, node_id: str, suffix: str) -> list[Any]:
        """Return what *node_id* has published on the topics with this end, as values."""
        end = f"node/{node_id}/{suffix}"
        return [json.loads(payload) for topic, payload in list(self.seen) if topic.endswith(end)]

    def order(self, node_id: str) -> list[str]:
        """Return the ends of the topics on which *node_id* has published by basic ingest, in order."""
        mark = f"/node/{node_id}/"
        return [topic.partition(mark)[2] for topic, _ in list(self.seen) if mark in topic]

    def wait(self, true: Callable[[], object]) -> None:
        """Return once *true* is, after some message."""
        with self.news:
            assert self.news.wait_for(true, PATIENCE), [topic for topic, _ in self.seen]

    def tell(self, node_id: str, suffix: str, value: Any) -> None:
        """Publish to a unit, as its cloud does."""
        assert self._client is not None
        payload = value if isinstance(value, bytes) else json.dumps(value).encode()
        self._client.publish(f"node/{node_id}/{suffix}", payload, 1).wait_for_publish(PATIENCE)

    def watch(self) -> Client:
        """Subscribe to everything as the witness, whose certificate the broker's rules let see all."""
        folder = self.lab.folder
        context = ssl.create_default_context(cafile=folder.ca)
        context.load_cert_chain(folder.certificate("witness"), folder.key("witness"))
        client = Client(CallbackAPIVersion.VERSION2, "watch")
        client.tls_set_context(context)
        subscribed = threading.Event()
        client.on_connect = lambda *_: client.subscribe([(topic, 1) for topic in EVERYTHING])
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._take
        client.connect("localhost", self.port)
        client.loop_start()
        assert subscribed.wait(PATIENCE)
        self._client = client
        return client

    def _take(self, _client: Client, _data: Any, message: Any) -> None:
        with self.news:
            self.seen.append((message.topic, bytes(message.payload)))
            self.news.notify_all()


@contextmanager
def cloud(root: Path, *names: str) -> Iterator[Cloud]:
    """Yield a broker that is called HOST, and *names*, watched by paho-mqtt; stop it afterwards."""
    lab = Lab(root, names=(HOST, "localhost", *names))
    port = free_port("127.0.0.1")
    lab.write(lab.folder, port)
    with Mosquitto(find_mosquitto(), lab.folder, lab.settings(port)):
        running = Cloud(lab, port)
        client = running.watch()
        try:
            yield running
        finally:
            client.disconnect()
            client.loop_stop()
