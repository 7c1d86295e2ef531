"""Decoding what may be an NVS image: the reader's result, unless it is something else or encrypted."""

from __future__ import annotations

from rmfab.errors import InputError
from rmfab.nvs.foreign import foreign_kind, is_encrypted
from rmfab.nvs.reader import Image, read_image


def decode_image(data: bytes) -> Image:
    """Return the image in *data*, with all findings. Raise InputError if it is not an NVS image, or encrypted."""
    kind = foreign_kind(data)
    if kind is not None:
        raise InputError(f"this is not an NVS image but {kind}", cause="not-nvs")
    image = read_image(data)
    if not image.entries and is_encrypted(data):
        raise InputError(
            "this NVS image is encrypted",
            hint="decrypt it with its keys first: nvs_partition_gen decrypt",
            cause="nvs-encrypted",
        )
    return image
