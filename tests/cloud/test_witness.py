"""The witness of a line on real mosquitto, with an outsider as the unit: paho-mqtt with the certificate of a unit."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from rmfab.cloud.broker_files import BrokerFolder
from rmfab.cloud.mosquitto import Mosquitto, find_mosquitto, free_port
from rmfab.cloud.node_watch import NodeMessage, NodeWatch
from rmfab.cloud.witness import Witness, watching
from rmfab.errors import StationError
from tests.cloud.lab import Lab
from tests.patience import PATIENCE, until

pytestmark = pytest.mark.peers

INGEST = "$aws/rules/esp_node_config/node/{}/config"


@dataclass
class Place:
    """A broker of *lab* on *port*."""

    lab: Lab
    port: int

    @contextmanager
    def serving(self) -> Iterator[Mosquitto]:
        """Run the broker."""
        with Mosquitto(find_mosquitto(), self.lab.folder, self.lab.settings(self.port)) as broker:
            yield broker

    @contextmanager
    def witness(self) -> Iterator[Witness]:
        """Yield the witness of a line."""
        with watching(self.lab.broker(self.port), self.lab.witness, lambda: None, lasting=True) as one:
            yield one

    @contextmanager
    def unit(self, node_id: str) -> Iterator[Client]:
        """Yield a client with the certificate of a unit."""
        pair = self.lab.unit(node_id).pair
        path = self.lab.root / f"{node_id}.pem"
        path.write_bytes(pair.certificate + pair.key.reveal())
        context = ssl.create_default_context(cafile=self.lab.folder.ca)
        context.load_cert_chain(path)
        client = Client(CallbackAPIVersion.VERSION2, node_id)
        client.tls_set_context(context)
        connected = threading.Event()
        client.on_connect = lambda *_: connected.set()
        client.connect("localhost", self.port)
        client.loop_start()
        assert connected.wait(PATIENCE)
        yield client
        client.disconnect()
        client.loop_stop()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One broker for all."""
    one = place_in(tmp_path_factory.mktemp("lab"))
    with one.serving():
        yield one


def place_in(root: Path) -> Place:
    """Return a broker that does not run yet."""
    lab, port = Lab(root), free_port("127.0.0.1")
    lab.write(lab.folder, port)
    return Place(lab, port)


def publish(client: Client, topic: str, payload: bytes = b"{}", *, retain: bool = False) -> None:
    """Publish, and wait for the acknowledgement."""
    client.publish(topic, payload, 1, retain).wait_for_publish(PATIENCE)


def read(watch: NodeWatch, number: int) -> list[NodeMessage]:
    """Return the next messages."""
    found: list[NodeMessage] = []
    until(lambda: len(found) >= number or found.extend(filter(None, [watch.next(0.1)])), "too few messages")
    return found


def test_what_a_watch_sees(place: Place) -> None:
    """A watch sees what its node publishes from then on, on each kind of topic; nothing retained, no other node."""
    with place.unit("node-a") as unit, place.unit("node-b") as other:
        publish(unit, "node/node-a/config", b"old", retain=True)
        with place.witness() as witness, witness.watching("node-a", lambda: None) as watch:
            publish(other, INGEST.format("node-b"))
            publish(unit, INGEST.format("node-a"), b"new")
            publish(unit, "node/node-a/params/local", b"{}")
            assert [(one.suffix, one.payload) for one in read(watch, 2)] == [
                ("config", b"new"),
                ("params/local", b"{}"),
            ]
            assert watch.next(0) is None


def test_a_watch_has_an_end(place: Place) -> None:
    """After its end a watch gets nothing more, and the broker is told; a second watch of the node starts anew."""
    with place.unit("node-a") as unit, place.witness() as witness:
        with witness.watching("node-a", lambda: None) as first:
            publish(unit, "node/node-a/config", b"1")
            read(first, 1)
        publish(unit, "node/node-a/config", b"2")
        with witness.watching("node-a", lambda: None) as second:
            publish(unit, "node/node-a/config", b"3")
            assert [one.payload for one in read(second, 1)] == [b"3"]
        assert first.next(0) is None


def test_sending_to_a_unit(place: Place) -> None:
    """What is sent to the node reaches it, and is acknowledged."""
    came: list[bytes] = []
    with place.unit("node-a") as unit, place.witness() as witness, witness.watching("node-a", lambda: None) as watch:
        granted = threading.Event()
        unit.on_subscribe = lambda *_: granted.set()
        unit.on_message = lambda _client, _data, message: came.append(message.payload)
        unit.subscribe("node/node-a/params/remote", 1)
        assert granted.wait(PATIENCE)
        watch.send("params/remote", b'{"Light":{"Power":true}}')
        until(lambda: came == [b'{"Light":{"Power":true}}'])


def test_a_broker_that_starts_again(tmp_path: Path) -> None:
    """A loss is the station's error for each open watch; the witness comes back by itself, and watches again."""
    place = place_in(tmp_path)
    with place.serving() as broker, place.witness() as witness:
        with witness.watching("node-a", lambda: None) as watch:
            broker.stop()
            with pytest.raises(StationError) as told:
                read(watch, 1)
            assert (told.value.cause, told.value.hint) == (
                "witness",
                "see whether the broker runs, and what its log says",
            )
            assert "the broker is away" in told.value.what
            with pytest.raises(StationError) as told:
                watch.send("params/remote", b"{}")
            assert told.value.cause == "witness"
        with place.serving(), place.unit("node-a") as unit, witness.watching("node-a", lambda: None) as again:
            publish(unit, INGEST.format("node-a"))
            assert [one.suffix for one in read(again, 1)] == ["config"]


def test_giving_up(tmp_path: Path) -> None:
    """Whoever waits for a broker that is gone can give up at once."""
    place = place_in(tmp_path)

    def give_up() -> None:
        raise KeyboardInterrupt

    with place.serving() as broker, place.witness() as witness:
        with witness.watching("node-a", lambda: None) as watch:
            broker.stop()
            until(lambda: _is_lost(watch))
        with pytest.raises(KeyboardInterrupt), witness.watching("node-b", give_up):
            pass


def _is_lost(watch: NodeWatch) -> bool:
    try:
        watch.next(0)
    except StationError:
        return True
    return False


def test_a_witness_without_rights(tmp_path: Path) -> None:
    """A witness to which nothing is delivered is the station's error, at its start."""
    place = place_in(tmp_path)
    (BrokerFolder(place.lab.folder.root).root / "acl").write_text("user nobody\ntopic readwrite #\n")
    broker = place.lab.broker(place.port, patience=3)
    with place.serving(), pytest.raises(StationError) as told, watching(broker, place.lab.witness, lambda: None):
        pass
    assert told.value.cause == "witness"
