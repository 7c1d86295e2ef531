"""Ports for servers that are started later, or again."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rmfab import listening
from rmfab.errors import StationError
from rmfab.listening import LOOPBACK, bound_to, free_port, free_ports

GIVEN_TO_CLIENTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


@contextmanager
def taken() -> Iterator[int]:
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.skipif(sys.platform != "linux", reason="says what Linux gives to clients")
def test_no_client_gets_it() -> None:
    """A port is none of those that the system gives to clients, and a server can listen at it."""
    lowest = int(GIVEN_TO_CLIENTS.read_text().split()[0])
    if lowest < 32768:
        pytest.skip("this host gives more ports than Linux does by itself")
    port = free_port(LOOPBACK)
    assert port < lowest
    with socket.create_server((LOOPBACK, port)):
        pass


def test_many() -> None:
    """Ports that are asked for at once are all different, and none is one that is not wanted."""
    unwanted = set(range(10_000, 32_700))
    ports = free_ports(LOOPBACK, 20, unwanted)
    assert len(set(ports)) == 20
    assert not unwanted & set(ports)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this host has no IPv6")
def test_ipv6() -> None:
    """An IPv6 address has ports as well."""
    with socket.create_server(("::1", free_port("::1")), family=socket.AF_INET6):
        pass


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this host has no IPv6")
def test_a_name_that_means_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name has the ports of the address that it means."""
    six = (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 0, 0, 0))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [six])
    with socket.create_server(("::1", free_port("six.example")), family=socket.AF_INET6):
        pass


def test_a_name_that_means_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that know no IPv6 reach a server at such a name."""
    six = (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("::1", 80, 0, 0))
    four = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [six, four])
    assert bound_to("both.example", 80) == (socket.AF_INET, ("127.0.0.1", 80))


@pytest.mark.parametrize("address", ["", "0.0.0.0", "localhost"])
def test_any_address_and_names(address: str) -> None:
    """The empty address is any address, as for every server."""
    with socket.create_server((address, free_port(address))):
        pass


@pytest.mark.parametrize("address", ["a" * 300, "\N{LATIN SMALL LETTER A WITH DIAERESIS}" * 80, "no.such.invalid"])
def test_an_address_that_is_none(address: str) -> None:
    """A name that no host can have, or none has, is an error that names it."""
    with pytest.raises(StationError, match="cannot listen"):
        free_port(address)


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that a server has is not given."""
    with taken() as first, taken() as second:
        third = free_port(LOOPBACK)
        monkeypatch.setattr(listening, "_NUMBERS", (first, second, third))
        assert free_port(LOOPBACK) == third
        monkeypatch.setattr(listening, "_NUMBERS", (first, second))
        with pytest.raises(StationError, match="cannot listen: Address already in use") as caught:
            free_port(LOOPBACK)
    assert caught.value.cause == "port-in-use"


def test_an_address_of_a_different_host() -> None:
    """An address that this host does not have is an error, at once."""
    with pytest.raises(StationError, match="cannot listen: Cannot assign requested address"):
        free_port("192.0.2.1")
