"""Bluetooth LE: one connection at a time per adapter; each request is a write with response and a read.

A unit that rejects a request drops the connection, and so does one that is lost. A new scan tells them apart: a unit
that still advertises is not lost. Source: ESP-IDF, protocomm/src/transports/protocomm_ble.c and protocomm_nimble.c.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from rmfab.errors import RmfabError, UnitFault
from rmfab.provisioning.failures import LinkError, RequestRefused, Stalled
from rmfab.provisioning.gatt import Backends, Server, connect, find, import_bleak
from rmfab.provisioning.transport import VERSION

T = TypeVar("T")

_MARGIN_SECONDS = 5.0
_KNOCK_SECONDS = 5.0
_PATIENCE_SECONDS = 120.0
_CONNECTS = 2
_MOST_BYTES = 512  # maximum length of a GATT attribute

_adapters: dict[str | None, threading.Lock] = {}
_adapters_lock = threading.Lock()


class BleTransport:
    """A link to the unit that advertises *service_name*, over *adapter* (`hci1`; None is the host's first).

    In seconds: *timeout* limits an exchange, *scan_timeout* the scan, *connect_timeout* each of two attempts to
    connect, *patience* the wait until a different slot releases the adapter. *rssi* (dBm, of the advertisement) and
    *mtu* (bytes; always 23 with BlueZ before 5.62) are set after the first exchange.
    """

    def __init__(
        self,
        service_name: str,
        *,
        adapter: str | None = None,
        timeout: float = 10.0,
        scan_timeout: float = 15.0,
        connect_timeout: float = 15.0,
        patience: float = _PATIENCE_SECONDS,
        backends: Backends = Backends(),  # noqa: B008
    ) -> None:
        self.service_name = service_name
        self.rssi: int | None = None
        self.mtu: int | None = None
        self._adapter = adapter
        self._timeout = timeout
        self._scan_timeout = scan_timeout
        self._connect_timeout = connect_timeout
        self._patience = patience
        self._backends = backends
        self._loop: _Loop | None = None
        self._server: Server | None = None
        self._talked = False

    def exchange(self, endpoint: str, data: bytes) -> bytes:
        """See `ProvisioningTransport.exchange`; a missing endpoint is a UnitFault (`no-endpoint`).

        Connect a second time if the first connection drops before anything but `proto-ver` was sent.
        """
        try:
            return self._exchange(endpoint, data)
        except (RequestRefused, LinkError) as error:
            if endpoint != VERSION or self._talked or error.cause not in ("refused", "link-lost"):
                raise
            return self._exchange(endpoint, data)

    def close(self) -> None:
        """Disconnect and release the adapter for the next slot."""
        loop, server = self._loop, self._server
        self._loop = self._server = None
        self._talked = False
        if loop is None:
            return
        try:
            if server is not None:
                with contextlib.suppress(TimeoutError, OSError, EOFError, import_bleak().exc.BleakError):
                    loop.run(server.disconnect(), _KNOCK_SECONDS)
        finally:
            loop.close()
            _lock_of(self._adapter).release()

    def _exchange(self, endpoint: str, data: bytes) -> bytes:
        loop, server = self._open()
        if endpoint not in server:
            raise UnitFault(f"the unit has no endpoint {endpoint}", where=self.service_name, cause="no-endpoint")
        if len(data) > _MOST_BYTES:
            raise ValueError(f"{len(data)} bytes do not fit in a GATT attribute")
        errors = import_bleak().exc
        self._talked = self._talked or endpoint != VERSION
        try:
            return loop.run(server.exchange(endpoint, data), self._timeout)
        except (TimeoutError, OSError, EOFError, errors.BleakError) as error:
            self._judge(loop, server, error)

    def _judge(self, loop: _Loop, server: Server, error: Exception) -> NoReturn:
        """Raise the error that a failed exchange means."""
        talked, dropped = self._talked, not server.connected
        refused = isinstance(error, import_bleak().exc.BleakGATTProtocolError)
        try:
            if dropped:
                self._knock(loop, error)
        finally:
            self.close()
            self._talked = talked
        if isinstance(error, TimeoutError) and not dropped:
            raise Stalled(f"the unit did not answer within {self._timeout:g} s", where=self.service_name) from error
        if dropped or refused:
            raise RequestRefused(
                "the unit dropped the connection instead of answering", where=self.service_name
            ) from error
        raise LinkError(f"the link broke: {error}", where=self.service_name, cause="link-lost") from error

    def _knock(self, loop: _Loop, error: Exception) -> None:
        """Raise LinkError unless the unit advertises again."""
        seconds = min(self._scan_timeout, _KNOCK_SECONDS)
        try:
            loop.run(find(self.service_name, self._adapter, seconds, self._backends), seconds)
        except (TimeoutError, OSError, EOFError, RmfabError, import_bleak().exc.BleakError):
            raise LinkError(
                "the unit was lost in the middle of the conversation",
                where=self.service_name,
                hint="check the unit's power, the distance, and the station's Bluetooth adapter",
                cause="link-lost",
            ) from error

    def _open(self) -> tuple[_Loop, Server]:
        if self._loop is not None and self._server is not None:
            return self._loop, self._server
        errors = import_bleak().exc
        if not _lock_of(self._adapter).acquire(timeout=self._patience):
            raise LinkError(
                f"the Bluetooth adapter was busy with other units for {self._patience:g} s",
                where=self._adapter,
                cause="adapter-busy",
            )
        self._loop = loop = _Loop()
        try:
            self._server = server = self._connect(loop)
        except BaseException as error:
            self.close()
            if isinstance(error, errors.BleakBluetoothNotAvailableError | OSError) and not isinstance(
                error, TimeoutError
            ):
                raise LinkError(
                    f"no Bluetooth on this host: {error}",
                    where=self._adapter,
                    hint="turn on an adapter (on Linux, also start D-Bus and bluetoothd), use --unit-url URL, "
                    "or set [verify] provision = false to skip the step",
                    cause="no-bluetooth",
                ) from error
            if isinstance(error, TimeoutError | EOFError | errors.BleakError):
                raise LinkError(
                    f"cannot connect to the unit: {error or 'no answer in time'}",
                    where=self.service_name,
                    hint="check distance and antennas, and that no other phone or station is connected to the unit",
                ) from error
            raise
        return loop, server

    def _connect(self, loop: _Loop) -> Server:
        """Find the unit and connect; try a second time if the first attempt fails."""
        retried = (TimeoutError, import_bleak().exc.BleakError)
        for attempt in range(1, _CONNECTS + 1):
            looking = find(self.service_name, self._adapter, self._scan_timeout, self._backends)
            found = loop.run(looking, self._scan_timeout + _MARGIN_SECONDS)
            self.rssi = found.rssi
            try:
                connecting = connect(found, self._adapter, self._connect_timeout, self._backends)
                server = loop.run(connecting, self._connect_timeout + _MARGIN_SECONDS)
            except retried:
                if attempt == _CONNECTS:
                    raise
            else:
                self.mtu = server.mtu
                return server
        raise AssertionError("the last attempt returns or raises")


class _Loop:
    """An event loop in its own thread, which runs coroutines with a time limit."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rmfab-ble", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """Return the result of *work*. Raise TimeoutError, or what *work* raises."""

        async def limited() -> T:
            return await asyncio.wait_for(work, seconds)

        future = asyncio.run_coroutine_threadsafe(limited(), self._loop)
        try:
            return future.result(seconds + _MARGIN_SECONDS)
        except TimeoutError:
            future.cancel()
            raise

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_MARGIN_SECONDS)
        if not self._thread.is_alive():
            self._loop.close()


def _lock_of(adapter: str | None) -> threading.Lock:
    """Return the lock of an adapter, which carries one connection at a time."""
    with _adapters_lock:
        return _adapters.setdefault(adapter, threading.Lock())
