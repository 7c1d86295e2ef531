"""The station's witness at the broker of the units: one connection for all slots of a run.

It is made before the first unit is touched, and made again whenever it is lost. That is never a unit's fault: a unit
whose messages may have been missed ends as ERROR.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from rmfab.cloud.node_watch import NodeWatch

if TYPE_CHECKING:
    from rmfab.cloud.broker import Broker
    from rmfab.cloud.credentials import ClientPair
    from rmfab.cloud.witness import Witness


class LineWitness:
    """A witness at *broker*, with the certificate *pair*."""

    def __init__(self, broker: Broker, pair: ClientPair) -> None:
        self._broker = broker
        self._pair = pair
        self._witness: Witness | None = None

    @property
    def ca(self) -> str | None:
        """The CAs (PEM) of the broker's certificate, None for those that the system trusts."""
        return self._broker.ca

    @contextmanager
    def connected(self, keep_going: Callable[[], None]) -> Iterator[None]:
        """Be connected during the block. *keep_going* raises to give up. Raise StationError if that is not possible."""
        from rmfab.cloud.check_unit import probe
        from rmfab.cloud.witness import watching

        broker, _ = probe(self._broker, keep_going)
        with watching(broker, self._pair, keep_going, lasting=True) as self._witness:
            try:
                yield
            finally:
                self._witness = None

    def watching(self, node_id: str, keep_going: Callable[[], None]) -> AbstractContextManager[NodeWatch]:
        """Return a context that watches a node. Raise StationError (cause `witness`) if the connection is lost."""
        if self._witness is None:
            raise ValueError("the witness is not connected")
        return self._witness.watching(node_id, keep_going)
