"""A watch of one node: what it publishes on its topics, in order, from the time at which the watch began.

RainMaker firmware publishes on `node/N/…`, or by basic ingest on `$aws/rules/RULE/node/N/…`; a node receives on
`node/N/…`. A retained message is old, whoever left it there: a watch does not see it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rmfab.errors import StationError, UnitFault

LARGEST_PAYLOAD = 128 * 1024
"""Bytes. AWS IoT refuses larger messages (AWS IoT Core quotas)."""
_MOST_MESSAGES = 200
"""A firmware has a budget of 100 messages, and of one more every five seconds."""


@dataclass(frozen=True)
class NodeMessage:
    """A message of a node on the topic that ends with *suffix*, such as `config`; *at* is when it came (monotonic)."""

    suffix: str
    payload: bytes
    at: float


class NodeWatch:
    """What *node_id* publishes. *send* publishes, with QoS 1, a payload on a topic; *settle* returns once all is
    delivered that the broker has accepted, and raises StationError if that cannot be seen."""

    def __init__(self, node_id: str, send: Callable[[str, bytes], None], settle: Callable[[], None]) -> None:
        self._base = f"node/{node_id}/"
        self._send = send
        self._settle = settle
        self._messages: deque[NodeMessage] = deque()
        self._came = 0
        self._lost: StationError | None = None
        self._last: dict[str, float] = {}
        self._news = threading.Condition()

    @property
    def topics(self) -> tuple[str, ...]:
        """What to subscribe to."""
        return f"{self._base}#", f"$aws/rules/+/{self._base}#"

    def send(self, suffix: str, payload: bytes) -> None:
        """Publish *payload* to the node. Raise StationError (cause `witness`) if the broker does not take it."""
        self._send(self._base + suffix, payload)

    def take(self, topic: str, payload: bytes) -> None:
        """Note a message that the broker has delivered, if it is the node's. After a loss none is: one may be missing
        before it."""
        suffix = self._suffix(topic)
        if suffix is None:
            return
        with self._news:
            if self._lost is not None:
                return
            self._came += 1
            if self._came <= _MOST_MESSAGES:
                self._messages.append(NodeMessage(suffix, payload[: LARGEST_PAYLOAD + 1], time.monotonic()))
                self._last[suffix] = self._messages[-1].at
            self._news.notify_all()

    def begin(self) -> None:
        """Forget what came before: a broker delivers late what it accepted while nobody watched, or a watch before."""
        self._settle()
        with self._news:
            self._messages.clear()
            self._last.clear()
            self._came = 0

    def came_after(self, suffix: str, moment: float) -> bool:
        """Return whether a message on the topic that ends with *suffix* came after *moment* (monotonic)."""
        with self._news:
            return self._last.get(suffix, float("-inf")) > moment

    def last(self) -> NodeMessage | None:
        """Return what the node has published that was not read yet, None if it has published nothing more.

        Raise StationError if the broker does not deliver: then the silence is not the node's.
        """
        self._settle()
        return self.next(0)

    def lose(self, error: StationError) -> None:
        """Note that the witness has lost its connection: a message of the node may be lost as well."""
        with self._news:
            self._lost = self._lost or error
            self._news.notify_all()

    def next(self, seconds: float) -> NodeMessage | None:
        """Return the next message, None if none comes within *seconds*.

        Raise StationError if there is none, and one may be lost; UnitFault if the node publishes without end.
        """
        with self._news:
            if not self._messages and self._lost is None:
                self._news.wait(seconds)
            if self._messages:
                return self._messages.popleft()
            if self._came > _MOST_MESSAGES:
                raise UnitFault(f"the unit published more than {_MOST_MESSAGES} messages", cause="cloud-flood")
            if self._lost is not None:
                raise self._lost
            return None

    def _suffix(self, topic: str) -> str | None:
        """Return what is behind the node's name in *topic*; None if it is not a topic of this node."""
        if topic.startswith("$aws/rules/"):
            _, _, topic = topic.removeprefix("$aws/rules/").partition("/")
        return topic.removeprefix(self._base) if topic.startswith(self._base) else None
