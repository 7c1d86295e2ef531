"""How a running unit is reached for provisioning: its URL, its SoftAP, or Bluetooth.

One radio speaks with one unit at a time: slots that share it wait for each other. Units at URLs of their own do not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rmfab.identity.identity import Identity
from rmfab.line.softap import come_back, joined
from rmfab.line.station import Radio, Slot
from rmfab.product.product import Product
from rmfab.product.vocabulary import Transport as Kind
from rmfab.provisioning.ble import BleTransport
from rmfab.provisioning.http import HttpTransport
from rmfab.provisioning.transport import Transport


class Air:
    """The station's radio, shared by all slots of a run. *memory* is where a Wi-Fi connection to go back to stands."""

    def __init__(self, radio: Radio, memory: Path) -> None:
        self._radio = radio
        self._memory = memory
        self._lock = threading.Lock()

    def come_back(self) -> str | None:
        """Brings back the Wi-Fi connection that a run left and did not return to; what went wrong, if anything."""
        return come_back(self._memory)

    @property
    def network(self) -> Path | None:
        """The file with the factory network's credentials."""
        return self._radio.network

    @contextmanager
    def reach(self, slot: Slot, identity: Identity, product: Product) -> Iterator[Transport]:
        """A link to the unit on *slot*, closed at the end of the block. Raises StationError where there is none."""
        timeout = product.verify.answer_timeout
        if slot.unit is not None:
            yield from _closing(HttpTransport(slot.unit, timeout=timeout))
            return
        with self._lock:
            if product.provisioning.transport is Kind.SOFTAP:
                with joined(identity.service_name, self._radio, self._memory):
                    yield from _closing(HttpTransport(timeout=timeout))
            else:
                yield from _closing(BleTransport(identity.service_name, adapter=self._radio.adapter, timeout=timeout))


def _closing(transport: Transport) -> Iterator[Transport]:
    try:
        yield transport
    finally:
        transport.close()
