"""Apps that compress as real ones do, for measurements of speed.

Like machine code, the bytes repeat short runs of what came shortly before, and the rest comes from a skewed alphabet.
The numbers are chosen so that zlib at level 9 leaves 57.5 %, as of a public ESP32 app of 1,851,472 bytes (esptool issue
919: 1,063,799 bytes; others leave 60 to 65 %), and libdeflate at level 12 about 2 % less, as of 14 real apps.
"""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import DIGEST_SIZE, AppImage, xor_checksum
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe

APP_SIZE = 1_851_472
_SKEWED = bytes(round(255 * (n / 255) ** 3) for n in range(256))
_REPEATED = 0.305  # share of the steps
_LENGTHS = (4, 4, 4, 6, 6, 8, 8, 12, 16, 24)
_FARTHEST = 0x6000
_KEPT = 0x2000  # of the first segment: descriptor and marker block


def make_real_like_build(folder: Path, chip: Chip = Chip.ESP32C3, app_size: int = APP_SIZE, seed: int = 0) -> Path:
    """Write a build folder whose app compresses as a real one, and return *folder*."""
    recipe = FirmwareRecipe(chip, app_size=app_size, seed=seed)
    app = make_build_folder(folder, recipe) / f"{recipe.project}.bin"
    app.write_bytes(_real_like(app.read_bytes(), seed))
    return folder


def _real_like(image: bytes, seed: int) -> bytes:
    """Return *image* with its segments filled anew, and its checksum and digest for that."""
    segments = AppImage.parse(image, "").segments
    filled = bytearray(image[:-DIGEST_SIZE])
    code = machine_code(seed, len(image))
    for number, segment in enumerate(segments):
        start, end = segment.file_offset + (0 if number else _KEPT), segment.file_offset + segment.length
        filled[start:end] = code[start:end]
    content = b"".join(filled[one.file_offset : one.file_offset + one.length] for one in segments)
    filled[-1] = xor_checksum(content)
    return bytes(filled + hashlib.sha256(filled).digest())


def machine_code(seed: int, size: int) -> bytes:
    """Return *size* bytes that depend only on the arguments."""
    source = random.Random(f"rmfab real-like {seed}")
    fresh = source.randbytes(size).translate(_SKEWED)
    code = bytearray(fresh[:_FARTHEST])
    draw, at = source.random, len(code)
    while len(code) < size:
        if draw() < _REPEATED:
            start = len(code) - 1 - int(draw() * draw() * (_FARTHEST - 1))
            length = _LENGTHS[int(draw() * len(_LENGTHS))]
            code += code[start - length : start]
        else:
            code += fresh[at : at + 4]
            at += 4
    return bytes(code[:size])
