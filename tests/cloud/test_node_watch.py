"""A watch of a node: which messages it sees, and what it says when some may be missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rmfab.cloud.node_watch import LARGEST_PAYLOAD, NodeMessage, NodeWatch
from rmfab.errors import StationError, UnitFault

LOST = StationError("lost", cause="witness")


def watch_of(node_id: str = "node-1", settle: Callable[[], None] = lambda: None) -> NodeWatch:
    """Return a watch that cannot send."""
    return NodeWatch(node_id, lambda _topic, _payload: None, settle)


def rest(watch: NodeWatch) -> list[NodeMessage]:
    """Return what is left to read."""
    found = []
    while (message := watch.next(0)) is not None:
        found.append(message)
    return found


@pytest.mark.parametrize(
    ("topic", "suffix"),
    [
        ("node/node-1/config", "config"),
        ("$aws/rules/esp_node_config/node/node-1/config", "config"),
        ("$aws/rules/esp_init_params/node/node-1/params/local/init", "params/local/init"),
        ("node/node-2/config", None),
        ("node/node-1", None),
        ("node/node-10/config", None),
        ("$aws/rules/x/node/node-2/config", None),
        ("$aws/things/node-1/config", None),
        ("x/node/node-1/config", None),
    ],
)
def test_topics(topic: str, suffix: str | None) -> None:
    """Only the node's own topics are its own, plain or by basic ingest."""
    watch = watch_of()
    watch.take(topic, b"{}")
    assert [one.suffix for one in rest(watch)] == ([] if suffix is None else [suffix])


def test_in_order() -> None:
    """Messages are read in the order in which they came, each once, with the time at which they came."""
    watch = watch_of()
    for suffix in ("config", "user/mapping", "params/local"):
        watch.take(f"node/node-1/{suffix}", suffix.encode())
    found = rest(watch)
    assert [one.payload for one in found] == [b"config", b"user/mapping", b"params/local"]
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert rest(watch) == []


def test_the_beginning() -> None:
    """What came before the beginning is forgotten, also as the last of its topic and in the count; a loss is not."""
    watch = watch_of()
    for _ in range(201):
        watch.take("node/node-1/config", b"old")
    watch.begin()
    assert not watch.came_after("config", 0)
    watch.take("node/node-1/config", b"new")
    watch.lose(LOST)
    assert watch.next(0).payload == b"new"
    watch.begin()
    with pytest.raises(StationError, match="lost"):
        watch.next(0)


def test_sending() -> None:
    """What is sent goes to the plain topic of the node."""
    sent: list[tuple[str, bytes]] = []
    watch = NodeWatch("node-1", lambda topic, payload: sent.append((topic, payload)), lambda: None)
    watch.send("params/remote", b"{}")
    assert sent == [("node/node-1/params/remote", b"{}")]


def test_lost() -> None:
    """After a loss what came before it can be read, and then it is an error: something may be missing."""
    watch = watch_of()
    watch.take("node/node-1/config", b"{}")
    watch.lose(LOST)
    assert watch.next(0) is not None
    with pytest.raises(StationError) as told:
        watch.next(0)
    assert told.value.cause == "witness"


def test_a_gap() -> None:
    """What comes after a loss is not read: without what was missed before it, it would be misunderstood."""
    watch = watch_of()
    watch.take("node/node-1/config", b"{}")
    watch.lose(LOST)
    watch.take("node/node-1/params/local/init", b"{}")  # it is connected again; user/mapping was missed
    assert watch.next(0).suffix == "config"
    with pytest.raises(StationError):
        watch.next(0)


def test_late_messages_of_a_watch_before() -> None:
    """A watch begins once everything is delivered that the broker had accepted: what came with that is forgotten."""
    watch = watch_of(settle=lambda: watch.take("node/node-1/config", b"late"))
    watch.begin()
    assert rest(watch) == []


def test_the_last_message() -> None:
    """Before a node's silence counts, the broker must deliver all that it has; if it does not, that is the error."""
    watch = watch_of(settle=lambda: watch.take("node/node-1/config", b"{}"))
    assert watch.last().suffix == "config"
    assert watch_of().last() is None

    def broken() -> None:
        raise LOST

    with pytest.raises(StationError):
        watch_of(settle=broken).last()


def test_without_end() -> None:
    """A node that publishes without end fills no memory, and is a fault of its own."""
    watch = watch_of()
    for _ in range(1000):
        watch.take("node/node-1/params/local", b"x" * 10)
    with pytest.raises(UnitFault) as told:
        rest(watch)
    assert told.value.cause == "cloud-flood"


def test_too_long() -> None:
    """Of a payload that is too long no more is kept than what shows that."""
    watch = watch_of()
    watch.take("node/node-1/config", b"x" * (10 * LARGEST_PAYLOAD))
    message = watch.next(0)
    assert message is not None
    assert len(message.payload) == LARGEST_PAYLOAD + 1
