"""The HTTP client of an update: it behaves like esp_http_client under esp_https_ota, on Python's standard library.

Source: ESP-IDF `esp_https_ota.c` (partial downloads; facts only): the length from a HEAD request, then ranges, one
connection each. It blocks, so a board calls it in a thread.
"""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import ssl
from functools import cached_property
from http import HTTPStatus
from urllib.parse import SplitResult, urljoin, urlsplit

from rmfab.virtual.bench.trust import trusting

RANGE_SIZE = 16 * 1024  # max_http_request_size of ESP-IDF's example
_TIMEOUT_SECONDS = 5.0  # ESP_RMAKER_HTTPS_OTA_TIMEOUT_MS
_MOST_REDIRECTIONS = 10
_REDIRECTIONS = (301, 302, 303, 307, 308)
_HTTP_CONNECT = 0x7002  # ESP_ERR_HTTP_CONNECT


class NotServed(Exception):
    """The server did not send what was requested. *line* is what esp_https_ota prints, *words* the actual cause."""

    def __init__(self, line: str, words: str) -> None:
        super().__init__(words)
        self.line = line
        self.words = words


class ImageSource:
    """An image at *url*.

    Over https only the certificates *roots* (PEM) are trusted, None: the authorities of this machine; the host name is
    checked. Raise ValueError if *url* is not an http or https URL.
    """

    def __init__(self, url: str, roots: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError(f"{url} is not an http:// or https:// URL")
        self._url = url
        self._roots = roots
        self._closed = False
        self._connection: http.client.HTTPConnection | None = None

    def close(self) -> None:
        """End a request in another thread at once: it raises NotServed, as every later one does."""
        self._closed = True
        opened = None if self._connection is None else self._connection.sock
        if opened is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(opened, socket.SHUT_RDWR)

    def length(self) -> int:
        """Return the length of the image in bytes. Raise NotServed if the server does not provide it."""
        status, headers, _ = self._ask("HEAD", None, 0)
        if status != HTTPStatus.OK:
            status, headers, _ = self._ask("GET", "bytes=0-0", 1)
        if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise NotServed(f"Received incorrect http status {status}", f"HTTP status {status} from the server")
        text = headers.get("Content-Length", "")
        if status == HTTPStatus.PARTIAL_CONTENT:
            text = headers.get("Content-Range", "").rpartition("/")[2]
        if not re.fullmatch(r"\d{1,10}", text):
            line = "Failed to get image length from http response"
            raise NotServed(line, "the server does not send the image's length")
        return int(text)

    def part(self, start: int, total: int, most: int) -> bytes:
        """Return at most *most* bytes from *start* on: a range, or everything if the server does not support ranges.

        Raise NotServed if the server sends an error.
        """
        left = total - start
        wanted = f"bytes={start}-{start + RANGE_SIZE - 1}" if left > RANGE_SIZE else f"bytes={start}-"
        status, _, data = self._ask("GET", None if start == 0 and left <= RANGE_SIZE else wanted, most)
        if status >= HTTPStatus.BAD_REQUEST:
            raise NotServed(_complaint(status), f"HTTP status {status} from the server")
        return data

    @cached_property
    def _context(self) -> ssl.SSLContext:
        return trusting(self._roots)

    def _ask(self, method: str, wanted: str | None, most: int) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Return status, headers and at most *most* bytes, after redirections."""
        url = self._url
        for _ in range(_MOST_REDIRECTIONS + 1):
            try:
                status, headers, data = self._exchange(urlsplit(url), method, wanted, most)
            except http.client.IncompleteRead as error:
                line = "Connection closed before complete data was received!"
                raise NotServed(line, "the connection ended in the middle of a response") from error
            except (OSError, http.client.HTTPException) as error:
                line = f"ESP HTTP client perform failed: {_HTTP_CONNECT}"
                raise NotServed(line, f"{urlsplit(url).netloc}: {str(error) or type(error).__name__}") from error
            if status not in _REDIRECTIONS:
                return status, headers, data
            url = urljoin(url, headers.get("Location", ""))
        raise NotServed("URL redirection Failed", "too many redirections")

    def _exchange(
        self, url: SplitResult, method: str, wanted: str | None, most: int
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        host, port = url.hostname or "", url.port
        connection = (
            http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_SECONDS, context=self._context)
            if url.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=_TIMEOUT_SECONDS)
        )
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        self._connection = connection
        with contextlib.closing(connection):
            if self._closed:
                raise ConnectionAbortedError("the board has ended the download")
            connection.request(method, target, headers={} if wanted is None else {"Range": wanted})
            response = connection.getresponse()
            data = response.read(most)
            if method != "HEAD" and len(data) < most and response.length:
                raise http.client.IncompleteRead(data, response.length)
            return response.status, response.headers, data


def _complaint(status: int) -> str:
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN):
        return f"File not found({status})"
    return f"{'Client' if status < HTTPStatus.INTERNAL_SERVER_ERROR else 'Server'} error ({status})"
