"""One HTTPS request at a time: the standard library's client, with a trust store, time and size limits.

Redirections are not followed: a request carries credentials. A file is sent as it is read. Connections are reused only
for GET: of a POST on a connection that the server has just closed, nobody knows whether it took effect.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import BinaryIO
from urllib.parse import urlsplit

from rmfab.cloud.api.trouble import PassingTrouble, Reply, judge_error
from rmfab.errors import StationError

_CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError, http.client.RemoteDisconnected)
MOST_BYTES = 8 << 20
"""The longest answer that is read. A page of failed units has tens of kilobytes."""


class HttpsClient:
    """Requests to servers whose certificates a CA in *ca* (PEM) signed, None for those that the system trusts.

    *patience*: seconds to wait for each piece of an answer. *now* is this host's clock. Not for several threads at
    once.
    """

    def __init__(self, ca: str | None, now: Callable[[], datetime], patience: float = 30.0) -> None:
        self.now = now
        self._patience = patience
        self._context = _context(ca)
        self._idle: dict[str, http.client.HTTPSConnection] = {}

    def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | BinaryIO | None = None) -> Reply:
        """Send a request; return the answer, whatever its status.

        Raise StationError; PassingTrouble if it is not known whether the request took effect.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise StationError("the server names a URL without TLS", where=parts.netloc, cause="api-answer")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        sent = {"Accept": "application/json", "User-Agent": "rmfab", **headers}
        try:
            return self._replied(parts.netloc, method, target, body, sent)
        except UnicodeError:
            raise StationError("the name of the server is not valid", where=parts.netloc, cause="api-dns") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise judge_error(error, parts.netloc) from None

    def _replied(
        self, place: str, method: str, target: str, body: bytes | BinaryIO | None, headers: Mapping[str, str]
    ) -> Reply:
        """Send a request on the connection of before if that may be, else on a new one."""
        kept = self._idle.pop(place, None)
        if kept is not None and method == "GET":
            with suppress(*_CLOSED):  # the server has closed it meanwhile
                return self._answer(kept, place, method, target, body, headers)
        elif kept is not None:
            kept.close()
        connection = http.client.HTTPSConnection(place, timeout=self._patience, context=self._context)
        return self._answer(connection, place, method, target, body, headers)

    def _answer(
        self,
        connection: http.client.HTTPSConnection,
        place: str,
        method: str,
        target: str,
        body: bytes | BinaryIO | None,
        headers: Mapping[str, str],
    ) -> Reply:
        """Send a request on *connection*, and keep that for the next one if all is well."""
        try:
            connection.request(method, target, body, headers)
            reply = _read(connection.getresponse(), place)
        except BaseException:
            connection.close()
            raise
        self._idle[place] = connection
        return reply

    def close(self) -> None:
        """Close the connections."""
        for connection in self._idle.values():
            with suppress(OSError):
                connection.close()
        self._idle.clear()


def _read(response: http.client.HTTPResponse, place: str) -> Reply:
    body = response.read(MOST_BYTES + 1)
    if len(body) > MOST_BYTES:
        raise PassingTrouble(f"the answer is longer than {MOST_BYTES >> 20} MiB", where=place, cause="api-answer")
    length = response.length
    if length:  # `read` with a size returns what came before the connection ended, without an error
        raise http.client.IncompleteRead(body, length)
    return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def _context(ca: str | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cadata=ca)
    return context
