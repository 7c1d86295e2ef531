"""A bad cable: an RFC 2217 proxy that garbles data above a baud."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
from typing import Self
from urllib.parse import urlsplit

from tests.patience import PATIENCE

_SET_BAUD = re.compile(rb"\xff\xfa\x2c\x01(....)\xff\xf0", re.DOTALL)
_NOISE = bytes(0x7E if 0x20 <= byte < 0xF0 else byte for byte in range(256))


_DATA_BLOCK = b"\xc0\x00\x11"


class GarblingProxy:
    """A proxy on loopback to *url*; data from the board is noise above *limit* baud.

    *once*, a pair of bytes, replaces the first by the second one time.
    *lose* is the number of answers to blocks of compressed data that are lost, counted from the first one; `lost`, how
    many were so far.
    Nothing of the board passes while *mute* is set.
    """

    def __init__(self, url: str, limit: int = 1 << 30, lose: int = 0, once: tuple[bytes, bytes] | None = None) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._limit = limit
        self.mute = threading.Event()
        self._baud = 0
        self._lose = lose
        self.lost = 0
        self._losing = False
        self._once = once
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._thread.join(PATIENCE)
        self._listener.close()

    def _serve(self: Self) -> None:
        client, _ = self._listener.accept()
        with client, socket.create_connection(self._target) as board, contextlib.suppress(ConnectionError):
            while True:
                for ready in select.select([client, board], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    if ready is client:
                        for value in _SET_BAUD.findall(data):
                            self._baud = int.from_bytes(value, "big")
                        if self._lose and _DATA_BLOCK in data:
                            self._lose -= 1
                            self._losing = True
                        board.sendall(data)
                    elif self.mute.is_set():
                        continue
                    elif self._losing:
                        self._losing = False
                        self.lost += 1
                    else:
                        client.sendall(self._garbled(data))

    def _garbled(self, data: bytes) -> bytes:
        if self._once is not None and self._once[0] in data:
            data, self._once = data.replace(*self._once, 1), None
        return data.translate(_NOISE) if self._baud > self._limit else data
