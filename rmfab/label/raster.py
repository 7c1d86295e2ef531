"""The bitmap of one label: black and white dots, exactly those that a printer puts on the label."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image


@dataclass(frozen=True)
class Raster:
    """A bitmap of *width* x *height* dots, from its top left corner.

    *data* are its rows from the top, each padded to whole bytes; the most significant bit is the leftmost dot, and 1 is
    black. The padding is white.
    """

    width: int
    height: int
    data: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1 or len(self.data) != self.row_bytes * self.height:
            raise ValueError(f"{len(self.data)} bytes are not a bitmap of {self.width} x {self.height} dots")
        if spare := -self.width % 8:
            mask = (1 << spare) - 1
            if any(last & mask for last in self.data[self.row_bytes - 1 :: self.row_bytes]):
                raise ValueError("the padding of a row is not white")

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        return -(-self.width // 8)

    @property
    def rows(self) -> tuple[bytes, ...]:
        """The rows from the top."""
        return tuple(self.data[at : at + self.row_bytes] for at in range(0, len(self.data), self.row_bytes))

    @classmethod
    def of_image(cls, image: Image.Image) -> Raster:
        """Return *image*, greyscale or 1-bit, with every value below 128 as black."""
        inverted = image.convert("L").point([255] * 128 + [0] * 128).convert("1", dither=Image.Dither.NONE)
        return cls(image.width, image.height, inverted.tobytes())

    def image(self) -> Image.Image:
        """Return the bitmap as a greyscale image: 0 is black, 255 white."""
        inverted = Image.frombytes("1", (self.width, self.height), self.data).convert("L")
        return inverted.point([255] * 128 + [0] * 128)
