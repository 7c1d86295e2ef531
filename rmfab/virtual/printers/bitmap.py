"""A label inside a virtual printer: rows of dots on the print head."""

from __future__ import annotations

import io

from PIL import Image

_TALLEST = 32_000


class Bitmap:
    """A page of *width* dots that grows downward; 1 is black."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[int] = []

    def put(self, left: int, top: int, row: bytes) -> None:
        """Add the black dots of *row*, at (*left*, *top*). What is outside of the head is lost."""
        if top >= _TALLEST:
            return
        if top >= len(self.rows):
            self.rows += [0] * (top + 1 - len(self.rows))
        shift = self.width - left - 8 * len(row)
        value = int.from_bytes(row, "big")
        self.rows[top] |= (value << shift if shift >= 0 else value >> -shift) & ((1 << self.width) - 1)

    def turn(self, width: int, height: int) -> None:
        """Turn the part of *width* x *height* dots upside down; the rest is lost."""
        part = self.piece(0, 0, width, height)
        turned = (int(f"{row:0{width}b}"[::-1], 2) for row in reversed(part.rows))
        self.rows = [row << (self.width - width) for row in turned]

    def piece(self, left: int, top: int, width: int, height: int) -> Bitmap:
        """Return the part from (*left*, *top*), with white dots beside and below the page."""
        found = Bitmap(width)
        for value in (self.rows[y] if y < len(self.rows) else 0 for y in range(top, top + height)):
            shift = self.width - left - width
            found.rows.append((value >> shift if shift >= 0 else value << -shift) & ((1 << width) - 1))
        return found

    def png(self, dpi: int) -> bytes:
        """Return a 1-bit PNG."""
        padding = -self.width % 8
        size = (self.width + padding) // 8
        flip = (1 << self.width) - 1
        data = b"".join(((row ^ flip) << padding).to_bytes(size, "big") for row in self.rows)
        stream = io.BytesIO()
        Image.frombytes("1", (self.width, len(self.rows)), data).save(stream, "PNG", dpi=(dpi, dpi))
        return stream.getvalue()
