"""What a server binds: addresses, and TCP ports that stay free until it starts, or comes back."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Container, Iterator
from contextlib import ExitStack
from typing import Any

from rmfab.errors import cannot_listen

LOOPBACK = "127.0.0.1"
_NUMBERS = range(10_000, 32_768)
"""Ports that no system gives to clients unless it is told to.

Linux gives them those from 32768 on (Documentation/networking/ip-sysctl, ip_local_port_range), others those from 49152
on (RFC 6335, section 6).
"""


def bound_to(address: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Return the family and the socket address of a server at *address*: a name, or an IPv4 or IPv6 address.

    The empty one is any IPv4 address, and a name that means several is the first one of IPv4, as for clients that know
    no IPv6. Raise StationError (cause `port-in-use`) for a name that means none.
    """
    try:
        found = socket.getaddrinfo(address or "0.0.0.0", port, type=socket.SOCK_STREAM)  # noqa: S104 - asked for
    except OSError as error:
        raise cannot_listen(address, port, error.strerror or str(error)) from None
    except UnicodeError:  # one of 300 letters, for example
        raise cannot_listen(address, port, "no host can have this name") from None
    family, *_, place = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, place


def free_port(address: str) -> int:
    """Return one of `free_ports`."""
    return free_ports(address, 1)[0]


def free_ports(address: str, count: int, besides: Container[int] = ()) -> list[int]:
    """Return *count* different TCP ports of *address* that are free now, and are no client's a moment later.

    None is one of *besides*. Port 0 would give ports that the next outgoing connection of any program may get. Raise
    StationError (cause `port-in-use`).
    """
    numbers = [number for number in _NUMBERS if number not in besides]
    first = secrets.randbelow(len(numbers))
    family, (host, _, *scope) = bound_to(address, 0)
    places = ((host, number, *scope) for number in numbers[first:] + numbers[:first])
    with ExitStack() as held:
        return [_hold(held.enter_context(socket.socket(family)), address, places) for _ in range(count)]


def _hold(probe: socket.socket, address: str, places: Iterator[tuple[Any, ...]]) -> int:
    """Return the port of the next of *places*, socket addresses of *address*, that is free; *probe* keeps it."""
    why = os.strerror(errno.EADDRINUSE)
    for place in places:
        try:
            probe.bind(place)
        except OSError as error:
            why = str(error.strerror)
            if error.errno != errno.EADDRINUSE:
                break
        else:
            return int(place[1])
    raise cannot_listen(address, 0, why)
