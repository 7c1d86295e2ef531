"""The ways to a printer that is spoken to directly: a TCP connection, or a device file of this host.

A link is opened for one job and closed after it, because most printers serve one client at a time. Each wait has a
deadline. A link counts the bytes that the other end, or the kernel for it, has accepted.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from rmfab.causes import Cause
from rmfab.label.printers.address import DevicePlace, TcpPlace
from rmfab.label.printers.faults import fault_of
from rmfab.label.printers.patience import Patience
from rmfab.label.printers.printer import PrinterFault

_PIECE = 1 << 14
_MOST_ANSWER = 1 << 16
RETRY = 0.2
"""Seconds between attempts to get the only connection of a printer."""
_NO_HOST = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EINVAL)


class Link(Protocol):
    """An open way to a printer. *accepted*: how many bytes have been accepted so far."""

    accepted: int

    def send(self, data: bytes, seconds: float) -> None:
        """Send all of *data* within *seconds*. Raise PrinterFault."""

    def receive(self, seconds: float) -> bytes:
        """Return what arrives within *seconds*, empty if nothing does. Raise PrinterFault if the link has ended."""

    def finish(self, seconds: float) -> None:
        """Wait until a printer that does not answer has taken everything. Raise PrinterFault."""


def exchange(link: Link, question: bytes, is_whole: Callable[[bytes], bool], seconds: float) -> bytes:
    """Send *question*, and return what arrives until it *is_whole* or *seconds* are over.

    Bytes that arrived before are not part of the answer.
    """
    for _ in range(_MOST_ANSWER // _PIECE):
        if not link.receive(0):
            break
    link.send(question, seconds)
    return collect(link, is_whole, seconds)


def collect(link: Link, is_whole: Callable[[bytes], bool], seconds: float) -> bytes:
    """Return what arrives until it *is_whole*, *seconds* are over, or it is longer than any answer."""
    answer, end = b"", time.monotonic() + seconds
    while not is_whole(answer) and len(answer) < _MOST_ANSWER and (left := end - time.monotonic()) > 0:
        answer += link.receive(left)
    return answer


@contextmanager
def open_link(place: TcpPlace | DevicePlace, address: str, patience: Patience) -> Iterator[Link]:
    """Open the link to *place* for one job. Raise PrinterFault if that fails."""
    if isinstance(place, TcpPlace):
        with _connected(place, address, patience) as connection:
            yield TcpLink(connection, address)
    else:
        descriptor = _opened(place, address, patience)
        try:
            yield DeviceLink(descriptor, address)
        finally:
            with suppress(OSError):
                os.close(descriptor)


class TcpLink:
    """A raw TCP connection, by convention to port 9100."""

    def __init__(self, connection: socket.socket, address: str) -> None:
        self._connection = connection
        self._address = address
        self.accepted = 0

    def send(self, data: bytes, seconds: float) -> None:
        """Send all of *data* within *seconds*."""
        end, view = time.monotonic() + seconds, memoryview(data)
        while view:
            self._connection.settimeout(max(end - time.monotonic(), 0.001))
            try:
                taken = self._connection.send(view[:_PIECE])
            except TimeoutError:
                raise fault_of(Cause.PRINTER_STALLED, self._address) from None
            except OSError as error:
                raise _gone(error, self._address) from None
            self.accepted += taken
            view = view[taken:]

    def receive(self, seconds: float) -> bytes:
        """Return what arrives within *seconds*."""
        self._connection.settimeout(max(seconds, 0.001))
        try:
            data = self._connection.recv(_PIECE)
        except TimeoutError:
            return b""
        except OSError as error:
            raise _gone(error, self._address) from None
        if not data:
            raise fault_of(Cause.PRINTER_GONE, self._address, "the printer has closed the connection")
        return data

    def finish(self, seconds: float) -> None:
        """Close this direction, and wait until the other end closes its own: then it has read everything.

        A connection that only waits for its turn, behind a different client, is not closed.
        """
        end = time.monotonic() + seconds
        try:
            self._connection.shutdown(socket.SHUT_WR)
            while (left := end - time.monotonic()) > 0:
                self._connection.settimeout(left)
                if not self._connection.recv(_PIECE):
                    return
        except TimeoutError:
            pass
        except OSError as error:
            raise _gone(error, self._address) from None
        what = "the printer neither answers nor closes the connection: a different program may be using it"
        raise fault_of(Cause.PRINTER_BUSY, self._address, what)


class DeviceLink:
    """A device file such as /dev/usb/lp0, opened without blocking."""

    def __init__(self, descriptor: int, address: str) -> None:
        self._descriptor = descriptor
        self._address = address
        self.accepted = 0

    def send(self, data: bytes, seconds: float) -> None:
        """Write all of *data* within *seconds*."""
        end, view = time.monotonic() + seconds, memoryview(data)
        while view:
            if not self._wait(select.POLLOUT, end - time.monotonic()):
                raise fault_of(Cause.PRINTER_STALLED, self._address)
            try:
                taken = os.write(self._descriptor, view[:_PIECE])
            except BlockingIOError:
                continue
            except OSError as error:
                raise _gone(error, self._address) from None
            self.accepted += taken
            view = view[taken:]

    def receive(self, seconds: float) -> bytes:
        """Read what arrives within *seconds*. A USB printer may answer with an empty packet: that is nothing yet."""
        end = time.monotonic() + seconds
        while self._wait(select.POLLIN, end - time.monotonic()):
            try:
                data = os.read(self._descriptor, _PIECE)
            except BlockingIOError:
                data = b""
            except OSError as error:
                raise _gone(error, self._address) from None
            if data:
                return data
            self._refuse_hung_up()
            time.sleep(min(0.02, max(end - time.monotonic(), 0)))
        return b""

    def finish(self, seconds: float) -> None:
        """Do nothing: the kernel has handed over what it accepted."""

    def _wait(self, event: int, seconds: float) -> bool:
        """Return whether *event* comes within *seconds*."""
        poll = select.poll()
        poll.register(self._descriptor, event)
        found = poll.poll(max(seconds, 0) * 1000)
        if found and not found[0][1] & event:
            self._refuse_hung_up()
        return bool(found)

    def _refuse_hung_up(self) -> None:
        """Raise PrinterFault if the device is no longer there."""
        poll = select.poll()
        poll.register(self._descriptor, 0)
        if poll.poll(0):  # POLLHUP, POLLERR or POLLNVAL
            raise _gone(OSError(errno.ENODEV, os.strerror(errno.ENODEV)), self._address)


def _gone(error: OSError, address: str) -> PrinterFault:
    return fault_of(Cause.PRINTER_GONE, address, f"the connection to the printer broke: {error.strerror or error}")


@contextmanager
def _connected(place: TcpPlace, address: str, patience: Patience) -> Iterator[socket.socket]:
    """Connect. A printer that refuses may be serving a different client: try again for a while."""
    end = time.monotonic() + patience.busy
    while True:
        try:
            connection = socket.create_connection((place.host, place.port), timeout=patience.connect)
            break
        except ConnectionRefusedError:
            if time.monotonic() >= end:
                what = f"connection refused at port {place.port}"
                raise fault_of(Cause.PRINTER_REFUSED, address, what) from None
            time.sleep(RETRY)
        except socket.gaierror as error:
            raise fault_of(Cause.PRINTER_DNS, address, f"no address for {place.host}: {error.strerror}") from None
        except TimeoutError:
            raise fault_of(Cause.PRINTER_UNREACHABLE, address) from None
        except (OSError, UnicodeError) as error:
            raise _unconnected(error, address) from None
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def _unconnected(error: OSError | UnicodeError, address: str) -> PrinterFault:
    if isinstance(error, OSError) and error.errno in _NO_HOST:
        return fault_of(Cause.PRINTER_UNREACHABLE, address, f"cannot reach the printer: {error.strerror}")
    if isinstance(error, ConnectionResetError):
        return fault_of(Cause.PRINTER_REFUSED, address)
    what = f"cannot connect to the printer: {getattr(error, 'strerror', None) or error}"
    return fault_of(Cause.PRINTER_UNREACHABLE, address, what)


def _opened(place: DevicePlace, address: str, patience: Patience) -> int:
    """Open a device file. One that is in use may become free: try again for a while."""
    end = time.monotonic() + patience.busy
    while True:
        try:
            return _open_once(place)
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise _unopened(error, place, address) from None
        if time.monotonic() >= end:
            raise fault_of(Cause.PRINTER_BUSY, address, "a different program uses this device")
        time.sleep(RETRY)


def _open_once(place: DevicePlace) -> int:
    """Open the device and lock it against other processes of rmfab. Raise OSError, BlockingIOError if it is locked."""
    import fcntl

    descriptor = os.open(place.path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not stat.S_ISCHR(os.fstat(descriptor).st_mode):
            raise OSError(errno.ENODEV, "not a device file")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _unopened(error: OSError, place: DevicePlace, address: str) -> PrinterFault:
    what = f"cannot open {place.path}: {error.strerror or error}"
    cause = Cause.PRINTER_DENIED if isinstance(error, PermissionError) else Cause.PRINTER_ABSENT
    return fault_of(cause, address, what)
