"""SLIP frames as Espressif's loaders use them (RFC 1055, esptool serial protocol, "Low level protocol")."""

from __future__ import annotations

END = b"\xc0"
_ESCAPE = b"\xdb"
_ESCAPED_END = b"\xdb\xdc"
_ESCAPED_ESCAPE = b"\xdb\xdd"


def encode(payload: bytes) -> bytes:
    """One frame on the wire."""
    return END + payload.replace(_ESCAPE, _ESCAPED_ESCAPE).replace(END, _ESCAPED_END) + END


class Decoder:
    """Cuts a byte stream into frames. Bytes outside of frames, frames with a broken escape, and frames longer than
    *limit* bytes are lost, as in the chip."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._length = 0
        self._inside = False

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that *data* completes, decoded."""
        frames: list[bytes] = []
        first, *rest = data.split(END)
        if self._inside:
            self._keep(first)
        for piece in rest:
            frame = self._close() if self._inside else None
            if frame is None:
                self._inside = True
                self._keep(piece)
            else:
                frames.append(frame)
        return frames

    def _keep(self, piece: bytes) -> None:
        if piece and self._length <= 2 * self._limit:
            self._parts.append(piece)
            self._length += len(piece)

    def _close(self) -> bytes | None:
        """The frame that ends here, or None where nothing stood between two END bytes or what stood there is broken."""
        raw = b"".join(self._parts)
        self._parts.clear()
        self._length = 0
        if not raw:
            return None
        self._inside = False
        if raw.count(_ESCAPE) != raw.count(_ESCAPED_END) + raw.count(_ESCAPED_ESCAPE):
            return b""
        frame = raw.replace(_ESCAPED_END, END).replace(_ESCAPED_ESCAPE, _ESCAPE)
        return frame if len(frame) <= self._limit else b""
