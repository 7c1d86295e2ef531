"""SLIP frames as Espressif's loaders use them.

Sources: RFC 1055; esptool documentation, "Serial Protocol", section "Low Level Protocol".
"""

from __future__ import annotations

from enum import Enum, unique

END = b"\xc0"
_ESCAPE = b"\xdb"
_ESCAPED_END = b"\xdb\xdc"
_ESCAPED_ESCAPE = b"\xdb\xdd"


@unique
class BrokenFrame(Enum):
    """Why a frame cannot be decoded."""

    ESCAPE = "invalid escape sequence"
    LENGTH = "too long"


def encode(payload: bytes) -> bytes:
    """Return one frame as it is sent on the wire."""
    return END + payload.replace(_ESCAPE, _ESCAPED_ESCAPE).replace(END, _ESCAPED_END) + END


class Decoder:
    """Cuts a byte stream into frames of at most *limit* bytes. Bytes outside frames are lost, as in the chip."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._length = 0
        self._inside = False

    def feed(self, data: bytes) -> list[bytes | BrokenFrame]:
        """Return the decoded frames that *data* completes."""
        frames: list[bytes | BrokenFrame] = []
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

    def _close(self) -> bytes | BrokenFrame | None:
        """Return the frame that ends here; None if it is empty (two END bytes in a row)."""
        raw = b"".join(self._parts)
        self._parts.clear()
        self._length = 0
        if not raw:
            return None
        self._inside = False
        if len(raw) > 2 * self._limit:  # even if every byte of it were escaped
            return BrokenFrame.LENGTH
        if raw.count(_ESCAPE) != raw.count(_ESCAPED_END) + raw.count(_ESCAPED_ESCAPE):
            return BrokenFrame.ESCAPE
        frame = raw.replace(_ESCAPED_END, END).replace(_ESCAPED_ESCAPE, _ESCAPE)
        return frame if len(frame) <= self._limit else BrokenFrame.LENGTH
