"""App and bootloader images."""

from __future__ import annotations

from functools import reduce
from operator import xor

import pytest
from esptool.bin_image import LoadFirmwareImage
from hypothesis import assume, given
from hypothesis import strategies as st

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppImage, spi_speed, xor_checksum
from rmfab.virtual.build.build_folder import FirmwareFacts, make_app, make_bootloader

from .conftest import tiny_app, tiny_image

HASH_APPENDED = 23


def test_header_and_descriptor():
    """Every field of the header and the descriptor is read from its ESP-IDF offset."""
    image = AppImage.parse(tiny_app(), "app.bin")
    assert (image.chip, image.entry, image.flash_mode, image.flash_freq) == (Chip.ESP32C3, 0x40380000, "dio", "80m")
    assert (image.flash_size, image.min_revision, image.max_revision) == (4 << 20, 3, 199)
    assert [(s.load_address, s.file_offset, s.length) for s in image.segments] == [(0x3C000020, 32, 256)]
    app = image.descriptor
    assert app is not None
    assert (app.project, app.version, app.idf_version, app.secure_version) == ("lamp", "1.4.0", "v5.5.1", 7)
    assert (app.date, app.time, len(app.elf_sha256)) == ("Feb  2 2026", "12:00:00", 64)


def test_length_leaves_out_what_follows():
    """The length of an image excludes the partition's padding and a signature."""
    data = tiny_app()
    assert AppImage.parse(data + b"\xff" * 5000, "app.bin").length == len(data)


def test_an_image_without_digest_is_checked_by_its_checksum():
    """With hash_appended = 0 no digest follows, and the checksum is still checked."""
    data = tiny_image(b"x" * 20, hashed=False)
    image = AppImage.parse(data, "x")
    assert (image.digest, image.length) == (None, len(data))


@pytest.mark.parametrize("chip", list(Chip))
def test_reads_what_esptool_reads(chip: Chip):
    """esptool's own parser finds the same segments, chip and digest in app and bootloader of each chip."""
    for data in (make_app(chip, "p", "1", FirmwareFacts(), app_size=0x20000), make_bootloader(chip, 8 << 20)):
        ours, theirs = AppImage.parse(data, "x"), LoadFirmwareImage(chip.value, data)
        assert ours.chip_id == theirs.chip_id
        assert ours.digest == theirs.stored_digest == theirs.calc_digest
        assert ours.entry == theirs.entrypoint
        assert (ours.min_revision, ours.max_revision) == (theirs.min_rev_full, theirs.max_rev_full)
        assert [(s.load_address, s.length) for s in ours.segments] == [(s.addr, len(s.data)) for s in theirs.segments]
        freqs = theirs.ROM_LOADER.FLASH_FREQUENCY
        assert freqs[ours.flash_freq] == theirs.flash_size_freq & 0xF


def _damaged(at: int, data: bytes = b"") -> bytes:
    whole = bytearray(data or tiny_app())
    whole[at] ^= 0x40
    return bytes(whole)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "image-magic"),
        (b"\xff" * 4096, "image-magic"),
        (bytes(4096), "image-magic"),
        (_damaged(0), "image-magic"),
        (_damaged(1), "image-magic"),
        (_damaged(23), "image-magic"),
        (b"\xe9", "image-short"),
        (tiny_app()[:23], "image-short"),
        (tiny_app()[:30], "image-short"),
        (tiny_app()[:200], "image-short"),
        (tiny_app()[:-33], "image-short"),
        (tiny_app()[:-1], "image-short"),
        (_damaged(100), "image-checksum"),
        (_damaged(len(tiny_app()) - 33), "image-checksum"),
        (_damaged(4), "image-digest"),
        (_damaged(len(tiny_app()) - 1), "image-digest"),
    ],
)
def test_each_damage_has_its_cause(data: bytes, cause: str):
    """A missing header, a truncated image, a wrong checksum and a wrong digest have different causes."""
    with pytest.raises(InputError) as caught:
        AppImage.parse(data, "app.bin")
    assert (caught.value.cause, caught.value.where) == (cause, "app.bin")


@pytest.mark.parametrize(
    ("chip_id", "old", "low", "high", "least"),
    [
        (0, 3, 0, 0, 300),
        (0, 1, 0, 0xFFFF, 100),
        (5, 3, 0, 0, 3),
        (5, 3, 4, 199, 4),
        (0, 1, 300, 399, 300),
        (0, 0, 0, 0, 0),
    ],
)
def test_least_revision_of_old_images(chip_id: int, old: int, low: int, high: int, least: int):
    """Images from before ESP-IDF 5.0 have a major revision, on the ESP32-C3 a minor one; later ones have both."""
    data = bytearray(tiny_image(b"x" * 4, chip_id=chip_id, hashed=False))
    data[14] = old
    data[15:19] = low.to_bytes(2, "little") + high.to_bytes(2, "little")
    assert AppImage.parse(bytes(data), "x").min_revision == least


def test_a_maximal_revision_of_nought_is_none():
    """Images of old ESP-IDF leave the maximum revision empty: no limit."""
    data = bytearray(tiny_image(b"x" * 4, hashed=False))
    data[17:19] = bytes(2)
    assert AppImage.parse(bytes(data), "x").max_revision == 0xFFFF


def test_speeds_have_names_by_chip():
    """80m has a different number on the C6, and the H2 has other speeds; an unknown name is an error."""
    assert [spi_speed(Chip.ESP32C3, "80m"), spi_speed(Chip.ESP32C6, "80m"), spi_speed(Chip.ESP32H2, "48m")] == [
        15,
        0,
        15,
    ]
    with pytest.raises(ValueError, match="no flash frequency"):
        spi_speed(Chip.ESP32H2, "80m")


@given(st.binary(max_size=300), st.integers(0, 255))
def test_checksum_is_the_exclusive_or_of_all_bytes(data: bytes, seed: int):
    """Folding a number gives the same checksum as a loop over the bytes."""
    assert xor_checksum(data, seed) == reduce(xor, data, seed)


@given(st.integers(0, 400), st.integers(1, 255))
def test_a_changed_byte_never_passes(at: int, flip: int):
    """With checksum and digest, every changed byte of an image is detected, except the digest flag in the header.

    Without that flag, the data after the image is judged as secure boot blocks.
    """
    data = bytearray(tiny_app())
    assume(at % len(data) != HASH_APPENDED)
    data[at % len(data)] ^= flip
    with pytest.raises(InputError):
        AppImage.parse(bytes(data), "x")
