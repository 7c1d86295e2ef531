"""A logo: a PNG in black and white, as large as its place, by a threshold or dithered."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import lru_cache

from PIL import Image

from rmfab.errors import InputError, one_line
from rmfab.label.style import LogoMethod

PAGE_DOT = 25.4 / 600
"""The size in mm of a dot of a logo on a page."""
_MOST_PIXELS = 4_000_000
_PNG = b"\x89PNG\r\n\x1a\n"
_IHDR = (16, 20)
"""Where a PNG has its width and its height."""
_MIDDLE_GREY = 128


@dataclass(frozen=True)
class Logo:
    """A logo: *data* is its PNG file."""

    data: bytes = field(repr=False)
    method: LogoMethod

    @property
    def proportion(self) -> float:
        """The width, in units of the height."""
        width, height = _grey(self.data).size
        return width / height

    def on_dots(self, width: int, height: int) -> Image.Image:
        """Return the logo in *width* x *height* dots, 0 for black and 255 for white."""
        return _on_dots(self.data, self.method, width, height)


def judge_logo(data: bytes, method: LogoMethod) -> None:
    """Raise InputError if *data* is not a PNG, has too many pixels, or nothing of it is black by *method*."""
    if _on_dots(data, method, *_grey(data).size).getextrema() == (255, 255):
        raise InputError("the logo is white all over", hint='draw it in black, or set method = "dither" if it is grey')


@lru_cache(maxsize=16)
def _grey(data: bytes) -> Image.Image:
    """Return a PNG in grey on white. Raise InputError if it is not one, or has more than 4 million pixels."""
    width, height = (int.from_bytes(data[at : at + 4], "big") for at in _IHDR)  # before Pillow, which warns of more
    if data.startswith(_PNG) and width * height > _MOST_PIXELS:
        raise InputError(f"{width} x {height} pixels are too many for a logo", hint="make it 2000 x 2000 at most")
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            seen = image.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        what = f"cannot read this PNG: {one_line(str(error))}" if data.startswith(_PNG) else "not a PNG"
        raise InputError(what, hint="a logo is a PNG file") from error
    paper = Image.new("RGBA", seen.size, "white")
    return Image.alpha_composite(paper, seen).convert("L")


@lru_cache(maxsize=64)
def _on_dots(data: bytes, method: LogoMethod, width: int, height: int) -> Image.Image:
    scaled = _grey(data).resize((width, height), Image.Resampling.LANCZOS)
    if method is LogoMethod.DITHER:
        return scaled.convert("1", dither=Image.Dither.FLOYDSTEINBERG).convert("L")
    return scaled.point([0] * _MIDDLE_GREY + [255] * (256 - _MIDDLE_GREY))
