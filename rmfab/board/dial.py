"""A TCP connection that can be given up while it is made."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable

from rmfab.signals import SLICE_SECONDS

_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)


def dial(place: tuple[str, int], seconds: float, keep_going: Callable[[], None]) -> socket.socket:
    """Connect to host and port within *seconds*, at the first address that answers.

    Raise OSError, or what *keep_going* raises.
    """
    ending = time.monotonic() + seconds
    refusal = OSError("the host has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(*place, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            _connect(connection, address, ending, keep_going)
        except OSError as error:
            connection.close()
            refusal = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise refusal


def _connect(connection: socket.socket, address: object, ending: float, keep_going: Callable[[], None]) -> None:
    connection.setblocking(False)
    _judge(connection.connect_ex(address), under_way=True)  # type: ignore[arg-type]  # of getaddrinfo
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_WRITE)
        while not selector.select(min(SLICE_SECONDS, max(0.0, ending - time.monotonic()))):
            keep_going()
            if time.monotonic() >= ending:
                raise TimeoutError("timed out")
    _judge(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), under_way=False)


def _judge(code: int, *, under_way: bool) -> None:
    if code not in (_UNDER_WAY if under_way else (0,)):
        raise OSError(code, os.strerror(code))
