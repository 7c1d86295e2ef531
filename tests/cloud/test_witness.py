"""The witness of a line on real mosquitto, with an outsider as the unit: paho-mqtt with the certificate of a unit."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

from rmfab.cloud.broker_files import BrokerFolder
from rmfab.cloud.broker_link import open_link
from rmfab.cloud.credentials import ClientPair
from rmfab.cloud.mosquitto import Mosquitto, find_mosquitto
from rmfab.cloud.node_watch import NodeMessage, NodeWatch
from rmfab.cloud.witness import Witness, watching
from rmfab.errors import StationError
from rmfab.listening import free_port
from tests.cloud.hurry import hurry_once_published
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

    def answers(self, words: str) -> int:
        """How often the broker's log has *words*."""
        return self.lab.folder.log.read_text("utf-8", "replace").count(words)

    @contextmanager
    def unit(self, node_id: str) -> Iterator[Client]:
        """Yield a client with the certificate of a unit."""
        with self.client(node_id, self.lab.unit(node_id).pair) as client:
            yield client

    @contextmanager
    def client(self, name: str, pair: ClientPair) -> Iterator[Client]:
        """Yield a client called *name* with the certificate *pair*."""
        path = self.lab.root / f"{name}.pem"
        path.write_bytes(pair.certificate + pair.key.reveal())
        context = ssl.create_default_context(cafile=self.lab.folder.ca)
        context.load_cert_chain(path)
        client = Client(CallbackAPIVersion.VERSION2, name)
        client.max_queued_messages_set(0)
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


@contextmanager
def slow(witness: Witness) -> Iterator[None]:
    """Let nothing come to *witness* within the block: it waits at the broker, and in its connection."""
    go_on = threading.Event()

    def wait(*arguments: object) -> None:
        go_on.wait(PATIENCE)
        witness._take(*arguments)

    witness._client.on_message = wait
    try:
        yield
    finally:
        witness._client.on_message = witness._take
        go_on.set()


def read(watch: NodeWatch, number: int) -> list[NodeMessage]:
    """Return the next messages."""
    found: list[NodeMessage] = []
    ending = time.monotonic() + PATIENCE
    while len(found) < number:
        assert time.monotonic() < ending, "too few messages"
        found.extend(filter(None, [watch.next(0.1)]))
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


def test_late_messages_of_a_watch_before(place: Place) -> None:
    """What the broker has queued for a watch that is over does not come to the next watch of the node.

    mosquitto answers a subscription before it delivers what waits in its queue behind the 20 messages on their way.
    """
    with place.unit("node-a") as unit, place.witness() as witness, ExitStack() as second:
        watches: list[NodeWatch] = []
        again = witness.watching("node-a", lambda: None)
        thread = threading.Thread(target=lambda: watches.append(second.enter_context(again)))
        with ExitStack() as first:
            first.enter_context(witness.watching("node-a", lambda: None))
            with slow(witness):
                for number in range(100):
                    publish(unit, "node/node-a/params/local", b"%d" % number)
                first.close()
                asked, subscribe = threading.Event(), witness._client.subscribe
                witness._client.subscribe = lambda topics: (subscribe(topics), asked.set())[0]
                thread.start()
                assert asked.wait(PATIENCE)
        thread.join(PATIENCE)
        publish(unit, "node/node-a/params/local", b"new")
        assert [one.payload for one in read(watches[0], 1)] == [b"new"]


def test_many_units_and_a_slow_witness(place: Place) -> None:
    """64 units publish more than a broker holds by default for a client that is slow: each watch gets all, in order."""
    names, each = [f"node-{number}" for number in range(64)], 40
    with place.client("busy", place.lab.witness) as units, place.witness() as witness, ExitStack() as stack:
        watches = [stack.enter_context(witness.watching(name, lambda: None)) for name in names]
        with slow(witness):
            sent = [
                units.publish(f"node/{name}/params/local", b"%d" % number, 1)
                for number in range(each)
                for name in names
            ]
            for one in sent:
                one.wait_for_publish(PATIENCE)
        assert place.answers("being dropped") == 0
        for watch in watches:
            assert [one.payload for one in read(watch, each)] == [b"%d" % number for number in range(each)]


def test_a_connection_that_is_cut(place: Place) -> None:
    """A witness that connects again tells each open watch that it may have missed something, and new ones see no gap.

    What comes to an open watch after the loss is not shown: it would hide what is missing before it.
    """
    names = [f"node-{number}" for number in range(64)]
    with place.client("busy", place.lab.witness) as units, place.witness() as witness:
        with ExitStack() as stack:
            watches = [stack.enter_context(witness.watching(name, lambda: None)) for name in names]
            for name in names:
                publish(units, f"node/{name}/config")
            witness.settle()
            broker = place.lab.broker(place.port)
            name = witness._own_topic.split("/")[1]
            with open_link(broker, broker.context(place.lab.witness), name, lambda: None):  # the broker ends the first
                until(lambda: witness._lost is not None)
                for name in names:
                    publish(units, f"node/{name}/user/mapping")
            until(lambda: witness._lost is None)
            for name in names:
                publish(units, f"node/{name}/params/local/init")
            witness.settle()
            for watch in watches:
                assert [one.suffix for one in read(watch, 1)] == ["config"]
                with pytest.raises(StationError, match="has lost its connection") as told:
                    watch.next(0)
                assert told.value.cause == "witness"
        with ExitStack() as stack:
            again = [stack.enter_context(witness.watching(name, lambda: None)) for name in names]
            for name in names:
                publish(units, f"node/{name}/config", b"new")
            assert [[one.payload for one in read(watch, 1)] for watch in again] == [[b"new"]] * len(names)


def test_a_stale_number(place: Place) -> None:
    """The answer to a subscription that was given up does not count for a later one with its number."""
    with place.unit("node-a") as unit, place.witness() as witness:
        witness._granted |= {number: [] for number in range(1, 100)}
        with witness.watching("node-a", lambda: None) as watch:
            publish(unit, "node/node-a/config")
            assert [one.suffix for one in read(watch, 1)] == ["config"]


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


def test_a_witness_without_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness to which nothing is delivered is the station's error, at its start."""
    place = place_in(tmp_path)
    (BrokerFolder(place.lab.folder.root).root / "acl").write_text("user nobody\ntopic readwrite #\n")
    hurry_once_published(monkeypatch)
    with place.serving(), pytest.raises(StationError, match="does not deliver") as told, place.witness():
        pass
    assert told.value.cause == "witness"
