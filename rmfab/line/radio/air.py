"""The ways to a running unit for provisioning: its URL, its SoftAP, or Bluetooth.

One radio talks to one unit at a time: slots that share it wait for each other. Units with their own URLs do not wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.line.radio.factory_network import FactoryNetwork
from rmfab.line.radio.softap import come_back, joined
from rmfab.line.station import Radio, Slot
from rmfab.product.product import Product
from rmfab.product.vocabulary import Transport

if TYPE_CHECKING:
    from rmfab.provisioning.patience import Patience
    from rmfab.provisioning.transport import ProvisioningTransport

_POLL_SECONDS = 0.2


class Air:
    """The station's radio, shared by all slots of a run.

    *memory* is the file with the Wi-Fi connection to go back to. *network* is the network that units join, if they do.
    """

    def __init__(self, radio: Radio, memory: Path, network: FactoryNetwork | None = None) -> None:
        self._radio = radio
        self._memory = memory
        self._lock = threading.Lock()
        self.network = network

    def come_back(self) -> str | None:
        """Restore the Wi-Fi connection that an earlier run left. Return what went wrong, or None."""
        return come_back(self._memory)

    @contextmanager
    def reach(
        self,
        slot: Slot,
        service_name: str,
        product: Product,
        patience: Patience,
        warn: Callable[[str], None],
    ) -> Iterator[ProvisioningTransport]:
        """Open a link to the unit on *slot*, closed at the end of the block. Raise StationError if that fails.

        *patience* limits the conversation; its clock stops while a different slot uses the radio and while the station
        joins the unit's network. *warn* receives what went wrong on the way back.
        """
        from rmfab.provisioning.ble import BleTransport
        from rmfab.provisioning.http import HttpTransport

        timeout = product.verify.answer_timeout
        if slot.unit is not None:
            yield from _closing(HttpTransport(slot.unit, timeout=timeout, patience=patience))
            return
        over_wifi = product.provisioning.transport is Transport.SOFTAP
        with ExitStack() as stack:
            with patience.paused():
                stack.enter_context(self._turn(patience.keep_going))
                if over_wifi:
                    stack.enter_context(joined(service_name, self._radio, self._memory, warn, patience.keep_going))
            if over_wifi:
                yield from _closing(HttpTransport(timeout=timeout, patience=patience))
            else:
                adapter = self._radio.adapter
                yield from _closing(BleTransport(service_name, adapter=adapter, timeout=timeout, patience=patience))

    def look(
        self, slot: Slot, service_name: str, product: Product, patience: Patience, warn: Callable[[str], None]
    ) -> None:
        """Look once whether the unit on *slot* offers provisioning. Raise StationError or UnitFault if it does not.

        Over BLE its advertisement is enough, whether or not it accepts a connection. The rest is as in `reach`.
        """
        from rmfab.provisioning.capabilities import read_capabilities
        from rmfab.provisioning.failures import LinkError

        try:
            with self.reach(slot, service_name, product, patience, warn) as transport:
                read_capabilities(transport)
        except LinkError as error:
            over_ble = slot.unit is None and product.provisioning.transport is Transport.BLE
            if not over_ble or error.cause != "unreachable":
                raise

    @contextmanager
    def _turn(self, keep_going: Callable[[], None]) -> Iterator[None]:
        while not self._lock.acquire(timeout=_POLL_SECONDS):
            keep_going()
        try:
            yield
        finally:
            self._lock.release()


def _closing(transport: ProvisioningTransport) -> Iterator[ProvisioningTransport]:
    try:
        yield transport
    finally:
        transport.close()
