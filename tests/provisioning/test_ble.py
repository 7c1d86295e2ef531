"""Bluetooth through bleak, against a GATT server in memory below bleak's real scanner and client."""

from __future__ import annotations

import builtins
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rmfab.errors import RmfabError, StationError, UnitFault
from rmfab.provisioning.ble import BleTransport
from rmfab.provisioning.failures import LinkError, RequestRefused, Stalled, WrongPop
from rmfab.provisioning.session import open_session
from rmfab.secret import Secret
from tests.patience import PATIENCE
from tests.provisioning.device import Device
from tests.provisioning.gatt_server import World

POP = Secret("abcd1234")


@contextmanager
def link(world: World, **options: Any) -> Iterator[BleTransport]:
    settings = {"timeout": PATIENCE, "scan_timeout": PATIENCE, "backends": world.backends(), **options}
    transport = BleTransport("PROV_ab12cd", **settings)
    try:
        yield transport
    finally:
        transport.close()


@pytest.mark.parametrize("security", [0, 1, 2])
def test_a_session_over_bluetooth(security: int) -> None:
    """Every scheme works over GATT: the unit is found by its exact name, and RSSI and MTU are recorded."""
    world = World(Device(security=security))
    with link(world) as transport:
        assert open_session(transport, None, POP, "wifiprov", os.urandom).challenge(b"nonce")[0] == "node-1"
        assert (transport.rssi, transport.mtu) == (-61, 512)
    assert world.connected == 0
    assert all(response for _, response in world.writes)


def test_the_adapter_is_passed_on() -> None:
    """A named adapter scans and connects."""
    world = World(Device())
    with link(world, adapter="hci1") as transport:
        transport.exchange("proto-ver", b"")
    assert world.adapters == ["hci1", "hci1"]


def test_endpoints_are_found_by_description() -> None:
    """The order of characteristics does not matter: the 0x2901 descriptor names the endpoint."""
    world = World(Device(), endpoints=("proto-ver", "ch_resp", "prov-session"))
    with link(world) as transport:
        session = open_session(transport, None, POP, "wifiprov", os.urandom)
        assert session.challenge(b"nonce")[0] == "node-1"
        with pytest.raises(UnitFault) as caught:
            session.scan()
    assert caught.value.cause == "no-endpoint"


def test_a_server_without_provisioning() -> None:
    """A GATT server without proto-ver is the unit's fault."""
    with link(World(Device(), endpoints=("prov-ctrl",))) as transport, pytest.raises(UnitFault) as caught:
        transport.exchange("proto-ver", b"")
    assert caught.value.cause == "no-endpoint"


def test_nobody_advertises() -> None:
    """A unit that does not advertise is a station error with the number of other devices."""
    world = World(Device())
    world.advertises = False
    with link(world, scan_timeout=0.2) as transport, pytest.raises(LinkError, match="other devices: 3") as caught:
        transport.exchange("proto-ver", b"")
    assert caught.value.cause == "not-advertising"


@pytest.mark.parametrize(("times", "works"), [(1, True), (2, False)])
def test_connects_once_more(times: int, works: bool) -> None:
    """A failed connection is tried a second time, but not a third."""
    world = World(Device())
    world.refuse_connects = times
    with link(world) as transport:
        if works:
            transport.exchange("proto-ver", b"")
        else:
            with pytest.raises(LinkError) as caught:
                transport.exchange("proto-ver", b"")
            assert caught.value.cause == "unreachable"
    assert world.connects == 2


def test_a_drop_at_proto_ver_is_tried_again() -> None:
    """A connection that drops at proto-ver, which has no state, is made once more, not twice."""
    world = World(Device())
    world.drop_at = {0}
    with link(world) as transport:
        open_session(transport, None, POP, "wifiprov", os.urandom)
    assert world.connects == 2
    world = World(Device())
    world.drop_at = {0, 1}
    with link(world) as transport, pytest.raises(RequestRefused):
        transport.exchange("proto-ver", b"")
    assert world.connects == 2


def test_a_handshake_is_never_repeated() -> None:
    """A unit that drops the connection at a wrong PoP and still advertises has rejected it. It counts once."""
    world = World(Device())
    with link(world) as transport, pytest.raises(WrongPop):
        open_session(transport, None, Secret("ffff0000"), "wifiprov", os.urandom)
    assert (world.device.mismatches, world.connects) == (1, 1)


def test_a_lost_unit_is_not_a_wrong_pop() -> None:
    """A unit that drops the connection and no longer advertises is lost, at any point of the handshake."""
    world = World(Device())
    world.vanish_at = 2
    with link(world, scan_timeout=0.2) as transport, pytest.raises(LinkError) as caught:
        open_session(transport, None, POP, "wifiprov", os.urandom)
    assert caught.value.cause == "link-lost"


def test_a_stalled_unit() -> None:
    """A connected unit that does not answer has stalled, which is its own fault."""
    world = World(Device())
    world.stall_at = 1
    with link(world, timeout=0.2) as transport, pytest.raises(Stalled):
        open_session(transport, None, POP, "wifiprov", os.urandom)
    assert world.connected == 0


def test_an_att_error_refuses() -> None:
    """An ATT error with the connection kept, as from NimBLE firmware, is a rejection too."""
    world = World(Device())
    world.att_error_at = 2
    with link(world) as transport, pytest.raises(WrongPop):
        open_session(transport, None, POP, "wifiprov", os.urandom)


def test_one_connection_at_a_time() -> None:
    """Slots that share an adapter take turns."""
    world = World(Device(security=0))

    def work() -> None:
        with link(world) as transport:
            transport.exchange("proto-ver", b"")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert (world.connects, world.most_connected) == (4, 1)


def test_a_busy_adapter_is_not_waited_for_for_ever() -> None:
    """The wait for the adapter has a limit."""
    world = World(Device())
    with link(world) as first:
        first.exchange("proto-ver", b"")
        with link(world, busy_timeout=0.05) as second, pytest.raises(StationError) as caught:
            second.exchange("proto-ver", b"")
    assert caught.value.cause == "adapter-busy"


def test_bleak_is_missed_only_on_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra `ble`, a transport can be made; its use reports what to install."""
    real = builtins.__import__

    def without_bleak(name: str, *rest: Any) -> Any:
        if name == "bleak":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "bleak", raising=False)
    monkeypatch.setattr(builtins, "__import__", without_bleak)
    transport = BleTransport("PROV_ab12cd")
    with pytest.raises(RmfabError) as caught:
        transport.exchange("proto-ver", b"")
    assert (caught.value.cause, isinstance(caught.value, StationError)) == ("no-bleak", True)


def test_a_host_without_bluetooth() -> None:
    """A host without Bluetooth is a station error; with Bluetooth, the unit does not advertise."""
    transport = BleTransport("PROV_nobody", scan_timeout=0.2)
    with pytest.raises(LinkError) as caught:
        transport.exchange("proto-ver", b"")
    transport.close()
    assert caught.value.cause in ("no-bluetooth", "not-advertising", "unreachable")
