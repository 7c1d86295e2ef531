"""TCP ports that stay free until their server starts, or comes back."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from collections.abc import Container, Iterator
from contextlib import ExitStack

from rmfab.errors import cannot_listen

LOOPBACK = "127.0.0.1"
_NUMBERS = range(10_000, 32_768)
"""Ports that no system gives to clients unless it is told to.

Linux gives them those from 32768 on (Documentation/networking/ip-sysctl, ip_local_port_range), others those from 49152
on (RFC 6335, section 6).
"""


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
    left = iter(numbers[first:] + numbers[:first])
    try:
        family, *_, place = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise cannot_listen(address, 0, error.strerror or str(error)) from None
    with ExitStack() as held:
        return [_hold(held.enter_context(socket.socket(family)), str(place[0]), left) for _ in range(count)]


def _hold(probe: socket.socket, address: str, numbers: Iterator[int]) -> int:
    """Return the next of *numbers* that is free; *probe* keeps it."""
    why = os.strerror(errno.EADDRINUSE)
    for number in numbers:
        try:
            probe.bind((address, number))
        except OSError as error:
            why = str(error.strerror)
            if error.errno != errno.EADDRINUSE:
                break
        else:
            return number
    raise cannot_listen(address, 0, why)
