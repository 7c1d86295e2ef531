"""A TCP connection that can be given up while it is made."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time

from rmfab.provisioning.patience import SLICE_SECONDS, Patience

_UNDER_WAY = (0, errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN)


def dial(place: tuple[str, int], seconds: float, patience: Patience) -> socket.socket:
    """Connect to host and port within *seconds*, at the first address that answers.

    Raise OSError, or what `Patience.keep_going` raises.
    """
    ending = time.monotonic() + seconds
    refusal = OSError("the host has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(*place, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        try:
            _connect(connection, address, ending, patience)
        except OSError as error:
            connection.close()
            refusal = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise refusal


def _connect(connection: socket.socket, address: object, ending: float, patience: Patience) -> None:
    connection.setblocking(False)
    _judge(connection.connect_ex(address), under_way=True)  # type: ignore[arg-type]  # of getaddrinfo
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_WRITE)
        while not selector.select(min(SLICE_SECONDS, max(0.0, ending - time.monotonic()))):
            patience.keep_going()
            if time.monotonic() >= ending:
                raise TimeoutError("timed out")
    _judge(connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), under_way=False)


def _judge(code: int, *, under_way: bool) -> None:
    if code not in (_UNDER_WAY if under_way else (0,)):
        raise OSError(code, os.strerror(code))
