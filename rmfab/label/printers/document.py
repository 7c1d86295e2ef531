"""A label as a document for a driver: a PDF page or a PNG of its exact size. Neither has any metadata."""

from __future__ import annotations

import io
import math
import zlib

from rmfab.label.raster import Raster

_POINTS = 72
_INVERTED = bytes(255 - value for value in range(256))


def png_of(label: Raster, dpi: int) -> bytes:
    """Return a 1-bit PNG with its resolution."""
    stream = io.BytesIO()
    label.image().convert("1").save(stream, "PNG", dpi=(dpi, dpi))
    return stream.getvalue()


def page_points(label: Raster, dpi: int) -> tuple[int, int]:
    """Return width and height of the page for *label*, in whole points: drivers round a page down to them."""
    return math.ceil(label.width * _POINTS / dpi), math.ceil(label.height * _POINTS / dpi)


def pdf_of(label: Raster, dpi: int) -> bytes:
    """Return a PDF with one page that has the bitmap in its top left corner, dot for dot.

    PDF counts from the bottom, so the bitmap starts a whole number of dots above that.
    """
    wide, tall = page_points(label, dpi)
    width, height = label.width * _POINTS / dpi, label.height * _POINTS / dpi
    below = int((tall - height) * dpi / _POINTS) * _POINTS / dpi
    picture = zlib.compress(label.data.translate(_INVERTED))
    page = f"{width:.4f} 0 0 {height:.4f} 0 {below:.4f} cm /L Do".encode()
    image = (
        f"/Type /XObject /Subtype /Image /Width {label.width} /Height {label.height} /ColorSpace /DeviceGray"
        " /BitsPerComponent 1 /Interpolate false /Filter /FlateDecode"
    )
    return _pdf(
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {wide} {tall}] /Contents 4 0 R"
        " /Resources << /XObject << /L 5 0 R >> >> >>".encode(),
        _stream("", page),
        _stream(image, picture),
    )


def _stream(entries: str, data: bytes) -> bytes:
    return f"<< {entries} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"


def _pdf(*objects: bytes) -> bytes:
    body, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n".encode() + content + b"\nendobj\n"
    rows = "".join(f"{place:010} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{rows}"
    return body + f"{head}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n".encode()
