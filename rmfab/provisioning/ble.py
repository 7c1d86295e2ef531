"""Bluetooth LE: one connection at a time per adapter; each request is a write with response and a read.

A unit that rejects a request drops the connection, and so does one that is lost. A new scan tells them apart: a unit
that still advertises is not lost. Source: ESP-IDF, protocomm/src/transports/protocomm_ble.c and protocomm_nimble.c.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, TypeVar

from rmfab.errors import RmfabError, UnitFault
from rmfab.provisioning.failures import LinkError, RequestRefused, Stalled
from rmfab.provisioning.gatt import Backends, Server, connect, find, import_bleak
from rmfab.provisioning.patience import Patience
from rmfab.provisioning.transport import VERSION
from rmfab.signals import SLICE_SECONDS

T = TypeVar("T")

_MARGIN_SECONDS = 5.0
_KNOCK_SECONDS = 5.0
_BUSY_SECONDS = 120.0
_HURRY_SECONDS = 0.5
_CONNECTS = 2
_MOST_BYTES = 512  # maximum length of a GATT attribute

_adapters: dict[str | None, threading.Lock] = {}
_adapters_lock = threading.Lock()


class BleTransport:
    """A link to the unit that advertises *service_name*, over *adapter* (`hci1`; None is the host's first).

    In seconds: *timeout* limits an exchange, *scan_timeout* the scan, *connect_timeout* each of two attempts to
    connect, *busy_timeout* the wait until a different slot releases the adapter; *patience* limits everything but that
    wait, and ends a wait when the operator stops. *rssi* (dBm, of the advertisement; None if the host does not know it)
    and *mtu* (bytes; always 23 with BlueZ before 5.62) are set after the first exchange.
    """

    def __init__(
        self,
        service_name: str,
        *,
        adapter: str | None = None,
        timeout: float = 10.0,
        scan_timeout: float = 15.0,
        connect_timeout: float = 15.0,
        busy_timeout: float = _BUSY_SECONDS,
        patience: Patience | None = None,
        backends: Backends = Backends(),  # noqa: B008
    ) -> None:
        self.service_name = service_name
        self.rssi: int | None = None
        self.mtu: int | None = None
        self._adapter = adapter
        self._timeout = timeout
        self._scan_timeout = scan_timeout
        self._connect_timeout = connect_timeout
        self._busy_timeout = busy_timeout
        self._patience = patience or Patience()
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
                    seconds = _HURRY_SECONDS if self._patience.given_up else _KNOCK_SECONDS
                    loop.run(server.disconnect(), seconds, lambda: None)
        finally:
            loop.close()
            _lock_of(self._adapter).release()

    def _exchange(self, endpoint: str, data: bytes) -> bytes:
        self._patience.check()
        loop, server = self._open()
        if endpoint not in server:
            raise UnitFault(f"the unit has no endpoint {endpoint}", where=self.service_name, cause="no-endpoint")
        if len(data) > _MOST_BYTES:
            raise ValueError(f"{len(data)} bytes do not fit in a GATT attribute")
        errors = import_bleak().exc
        self._talked = self._talked or endpoint != VERSION
        try:
            self._patience.check()
            seconds = self._patience.cut(self._timeout)
            return loop.run(server.exchange(endpoint, data), seconds, self._patience.keep_going)
        except (TimeoutError, OSError, EOFError, errors.BleakError) as error:
            self._patience.check()
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
            looking = find(self.service_name, self._adapter, seconds, self._backends)
            loop.run(looking, seconds, self._patience.keep_going)
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
        self._take_adapter()
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

    def _take_adapter(self) -> None:
        """Wait until no other slot uses the adapter. Raise LinkError after *busy_timeout*."""
        ending = time.monotonic() + self._busy_timeout
        with self._patience.paused():
            while not _lock_of(self._adapter).acquire(timeout=SLICE_SECONDS):
                self._patience.keep_going()
                if time.monotonic() >= ending:
                    raise LinkError(
                        f"the Bluetooth adapter was busy with other units for {self._busy_timeout:g} s",
                        where=self._adapter,
                        cause="adapter-busy",
                    )

    def _connect(self, loop: _Loop) -> Server:
        """Find the unit and connect; try a second time if the first attempt fails."""
        retried = (TimeoutError, import_bleak().exc.BleakError)
        for attempt in range(1, _CONNECTS + 1):
            seconds = max(_HURRY_SECONDS, self._patience.cut(self._scan_timeout))
            looking = find(self.service_name, self._adapter, seconds, self._backends)
            found = loop.run(looking, seconds + _MARGIN_SECONDS, self._patience.keep_going)
            self.rssi = found.rssi
            try:
                seconds = max(_HURRY_SECONDS, self._patience.cut(self._connect_timeout))
                connecting = connect(found, self._adapter, seconds, self._backends)
                server = loop.run(connecting, seconds + _MARGIN_SECONDS, self._patience.keep_going)
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

    def run(self, work: Coroutine[Any, Any, T], seconds: float, keep_going: Callable[[], None]) -> T:
        """Return the result of *work*. Raise TimeoutError, or what *work* or *keep_going* raises."""

        async def limited() -> T:
            return await asyncio.wait_for(work, seconds)

        future = asyncio.run_coroutine_threadsafe(limited(), self._loop)
        ending = time.monotonic() + seconds + _MARGIN_SECONDS
        try:
            while True:
                keep_going()
                try:
                    return future.result(SLICE_SECONDS)
                except TimeoutError:
                    if future.done() or time.monotonic() >= ending:
                        raise
        except BaseException:
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
