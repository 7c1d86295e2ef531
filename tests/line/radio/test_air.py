"""What is sent over the air, and one unit at a time per radio."""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from contextlib import contextmanager, nullcontext
from urllib.parse import urlsplit

import pytest

from rmfab.board.restart import Auto
from rmfab.line.radio.air import Air
from rmfab.line.station import Radio, Slot, SlotLink
from rmfab.provisioning.failures import LinkError
from rmfab.provisioning.patience import Patience
from rmfab.virtual.network import FACTORY_NETWORK
from tests.line.floor import UNITS, serve, spec

SESSION = ["proto-ver", "prov-session", "prov-session"]
KEY = ["ch_resp"]


@contextmanager
def overheard(url):
    """Return a link to the unit at *url* that records the endpoints of all requests."""
    parts, asked = urlsplit(url), []
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def carry():
        while not done.is_set():
            if not select.select([listener], [], [], 0.05)[0]:
                continue
            client, _ = listener.accept()
            with client, socket.create_connection((parts.hostname, parts.port)) as unit:
                pass_on(client, unit)

    def pass_on(client, unit):
        while not done.is_set():
            for ready in select.select([client, unit], [], [], 0.05)[0]:
                data = ready.recv(65536)
                if not data:
                    return
                if ready is client:
                    asked.extend(word.decode() for word in re.findall(rb"POST /(\S+) HTTP", data))
                (unit if ready is client else client).sendall(data)

    thread = threading.Thread(target=carry)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
    finally:
        done.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize("scan", [False, True])
def test_nothing_else_is_sent(factory, scan):
    """Session, key, scan and wrong PoP use only the endpoints that they need."""
    if scan:
        factory.edit('scan_ssid = ""', f'scan_ssid = "{FACTORY_NETWORK.ssid}"')
    with serve([spec()]) as (board,), overheard(board.provisioning_url) as (url, asked):
        UNITS[board.url] = url
        assert factory.run(board.url).code == 0
    expected = [*SESSION, *KEY, *["prov-scan"] * (3 if scan else 0), *SESSION]
    assert asked == expected


@pytest.fixture
def air(tmp_path, monkeypatch):
    """A radio with a Bluetooth that records its users."""

    class Bluetooth:
        using = 0
        most = 0

        def __init__(self, name, **_):
            Bluetooth.using += 1
            Bluetooth.most = max(Bluetooth.most, Bluetooth.using)

        def close(self):
            Bluetooth.using -= 1

    monkeypatch.setattr("rmfab.provisioning.ble.BleTransport", Bluetooth)
    monkeypatch.setattr("rmfab.line.radio.air._POLL_SECONDS", 0.01)
    return Air(Radio(), tmp_path / "memory"), Bluetooth


@pytest.mark.parametrize(("cause", "offered"), [("unreachable", True), ("not-advertising", False), (None, True)])
def test_an_advertisement_is_enough(factory, air, monkeypatch, cause, offered):
    """Over BLE a unit that advertises is there, whether or not it accepts a connection."""
    radio, bluetooth = air

    def exchange(self, endpoint, data):
        if cause is not None:
            raise LinkError("no", cause=cause)
        return b'{"prov": {"ver": "v1.1", "sec_ver": 2, "cap": []}}'

    monkeypatch.setattr(bluetooth, "exchange", exchange, raising=False)
    with nullcontext() if offered else pytest.raises(LinkError):
        radio.look(SLOT, "PROV_a", factory.workspace.product, Patience(), print)
    assert bluetooth.using == 0


SLOT = Slot("A1", SlotLink("COM7", 921600, Auto()))


def test_one_at_a_time(factory, air):
    """Four slots share the adapter one after the other."""
    radio, bluetooth = air
    product = factory.workspace.product

    def speak():
        with radio.reach(SLOT, "PROV_a", product, Patience(), print):
            time.sleep(0.02)

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (bluetooth.most, bluetooth.using) == (1, 0)


def test_stopped_while_waiting(factory, air):
    """A slot that waits for the radio stops when the line is stopped."""
    radio, _ = air
    product = factory.workspace.product

    def stop():
        raise InterruptedError

    with (
        radio.reach(SLOT, "PROV_a", product, Patience(), print),
        pytest.raises(InterruptedError),
        radio.reach(SLOT, "PROV_b", product, Patience(60.0, stop), print),
    ):
        raise AssertionError
