"""Signature blocks of secure boot v2, made by espsecure and compared with its verdict."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import zlib
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import espsecure
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from esptool import FatalError

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppImage
from rmfab.release.signature_blocks import (
    BLOCK_SIZE,
    SECTOR,
    BlockScheme,
    SignatureBlock,
    blocks_checked_by,
    signature_blocks,
)
from rmfab.virtual.build.build_folder import FirmwareFacts, make_app, make_bootloader

pytestmark = pytest.mark.slow

MAKERS = {
    BlockScheme.RSA_3072: lambda: rsa.generate_private_key(65537, 3072),
    BlockScheme.ECDSA_P192: lambda: ec.generate_private_key(ec.SECP192R1()),
    BlockScheme.ECDSA_P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    BlockScheme.ECDSA_P384: lambda: ec.generate_private_key(ec.SECP384R1()),
}
IMAGE = make_bootloader(Chip.ESP32C3, 4 << 20)
LENGTH = AppImage.parse(IMAGE, "x").length
APP = make_app(Chip.ESP32C3, "lamp", "1.0", FirmwareFacts(), app_size=128 * 1024 + 48)


@cache  # made when a test asks for it: every process that collects the tests would wait for a key of RSA
def key_of(scheme: BlockScheme, _number: int = 0):
    """The private key that tests sign with by *scheme*; there is one for each number."""
    return MAKERS[scheme]()


def key_file(folder: Path, key, name: str = "k.pem") -> Path:
    """The private key as espsecure reads it."""
    path = folder / name
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    return path


def signed(folder: Path, *keys, image: bytes = IMAGE) -> bytes:
    """*image* as espsecure signs it with *keys*."""
    (folder / "image.bin").write_bytes(image)
    paths = [key_file(folder, key, f"{number}.pem") for number, key in enumerate(keys)]
    arguments = [word for path in paths for word in ("--keyfile", str(path))]
    command = ["sign-data", "--version", "2", *arguments, "--output", str(folder / "s.bin"), str(folder / "image.bin")]
    assert espsecure_does(*command)
    return (folder / "s.bin").read_bytes()


def espsecure_does(*command: str) -> bool:
    """Whether espsecure succeeds."""
    with redirect_stdout(io.StringIO()):
        try:
            espsecure.main(list(command))
        except FatalError:
            return False
    return True


def espsecure_verifies(folder: Path, data: bytes, key: str = "0.pem") -> bool:
    """Whether espsecure finds a valid signature of this key after *data*."""
    (folder / "v.bin").write_bytes(data)
    command = ["verify-signature", "--version", "2", "--keyfile", str(folder / key), str(folder / "v.bin")]
    return espsecure_does(*command)


def holds(data: bytes, length: int) -> bool:
    """Whether rmfab finds blocks after the image, all of them valid."""
    try:
        return bool(signature_blocks(data, length, "x"))
    except InputError:
        return False


def flipped(data: bytes, at: int, mask: int = 0x10) -> bytes:
    """*data* with the bits of *mask* flipped in the byte at *at*: always a different byte."""
    changed = bytearray(data)
    changed[at] ^= mask
    return bytes(changed)


def resealed(data: bytes, at: int, mask: int = 0x10) -> bytes:
    """*data* with one byte of the first block flipped, and the block's CRC corrected."""
    return crc_mended(flipped(data, len(data) - SECTOR + at, mask))


def without_signature(data: bytes) -> bytes:
    """*data* with zeros as RSA signature, which is in range but invalid; the block's CRC corrected."""
    at = len(data) - SECTOR + 812
    return crc_mended(data[:at] + bytes(384) + data[at + 384 :])


def crc_mended(data: bytes) -> bytes:
    """*data* with the correct CRC of its first block."""
    start = len(data) - SECTOR
    block = bytearray(data[start : start + BLOCK_SIZE])
    block[1196:1200] = zlib.crc32(block[:1196]).to_bytes(4, "little")
    return data[:start] + bytes(block) + data[start + BLOCK_SIZE :]


@pytest.mark.parametrize("image", [IMAGE, APP], ids=["bootloader", "app"])
@pytest.mark.parametrize("scheme", list(BlockScheme), ids=lambda scheme: scheme.value)
def test_espsecures_signature_holds(tmp_path: Path, scheme: BlockScheme, image: bytes):
    """One block of each scheme is valid, and its key digest is the one that espsecure burns."""
    data = signed(tmp_path, key_of(scheme), image=image)
    (block,) = signature_blocks(data, AppImage.parse(data, "x").length, "x")
    assert block.scheme is scheme
    assert espsecure_verifies(tmp_path, data)
    digest = tmp_path / "digest"
    assert espsecure_does("digest-sbv2-public-key", "--keyfile", str(tmp_path / "0.pem"), "--output", str(digest))
    assert bytes.fromhex(block.key_digest) == digest.read_bytes()
    # in this process its messages may already go to the line's logger
    told = subprocess.run(
        [sys.executable, "-m", "espsecure", "signature-info-v2", str(tmp_path / "v.bin")],
        check=True, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"},
    ).stdout  # fmt: skip
    assert [bytes.fromhex(one).hex() for one in re.findall(r"block \d: ([0-9a-f ]+)", told)] == [block.key_digest]


@pytest.mark.parametrize(
    "schemes",
    [
        [BlockScheme.ECDSA_P256] * 3,
        [BlockScheme.RSA_3072] * 2,
        [BlockScheme.RSA_3072, BlockScheme.ECDSA_P192, BlockScheme.ECDSA_P384],
    ],
    ids=["ecdsa", "rsa", "mixed"],
)
def test_several_keys(tmp_path: Path, schemes: list[BlockScheme]):
    """Up to three blocks are read, in order."""
    keys = [MAKERS[scheme]() for scheme in schemes]
    data = signed(tmp_path, *keys)
    blocks = signature_blocks(data, LENGTH, "x")
    singles = [signature_blocks(signed(tmp_path, key), LENGTH, "x")[0] for key in keys]
    assert list(blocks) == singles
    assert [block.scheme for block in blocks] == schemes


@pytest.mark.parametrize("scheme", [BlockScheme.RSA_3072, BlockScheme.ECDSA_P256], ids=lambda scheme: scheme.value)
def test_agrees_with_espsecure_on_every_kind_of_damage(tmp_path: Path, scheme: BlockScheme):
    """espsecure and rmfab reject a flipped bit in image, padding or block; both ignore the tail of a block."""
    data = signed(tmp_path, key_of(scheme))
    block = len(data) - SECTOR
    for at in (0, 23, 5000, LENGTH - 1, LENGTH, block - 1, *range(block, block + 1200, 97), block + 1199, block + 1205):
        damaged = flipped(data, at)
        sound = block + 1200 <= at
        assert espsecure_verifies(tmp_path, damaged) is sound, at
        assert holds(damaged, LENGTH) is sound, at


@pytest.mark.parametrize("tail", [b"", b"\xff" * 100, b"\xff" * 0x5000])
def test_an_unsigned_image(tail: bytes):
    """No data or blank flash after an image means unsigned, which is not a fault."""
    assert signature_blocks(IMAGE + tail, LENGTH, "x") == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: flipped(d, 100), "signs a different image"),
        (lambda d: flipped(d, LENGTH + 3), "signs a different image"),
        (lambda d: flipped(d, -SECTOR + 900), "CRC"),
        (lambda d: resealed(d, 1), "not a block of secure boot v2"),
        (lambda d: resealed(d, 36), "not a valid RSA-3072 key"),
        (lambda d: resealed(d, 424), "not a valid RSA-3072 key"),
        (lambda d: resealed(d, 808), "not a valid RSA-3072 key"),
        (without_signature, "its signature is invalid"),
        (lambda d: flipped(d, -SECTOR), "not a signature sector"),
        (lambda d: d[:-1], "not a signature sector"),
        (lambda d: d + b"\0", "not a signature sector"),
        (lambda d: flipped(d, -1), "after the signature blocks"),
        (lambda d: flipped(d, -SECTOR + BLOCK_SIZE), "signature block 1"),
    ],
)
def test_rsa_blocks_that_do_not_hold(tmp_path: Path, change, words: str):
    """Each kind of damage is named, with the file."""
    with pytest.raises(InputError, match=words) as caught:
        signature_blocks(change(signed(tmp_path, key_of(BlockScheme.RSA_3072))), LENGTH, "app.bin")
    assert (caught.value.where, caught.value.cause) == ("app.bin", "secure-boot-signature")


@pytest.mark.parametrize("scheme", [BlockScheme.ECDSA_P256, BlockScheme.ECDSA_P384], ids=lambda scheme: scheme.value)
def test_ecdsa_blocks_that_do_not_hold(tmp_path: Path, scheme: BlockScheme):
    """A different image, a point off the curve, a foreign signature and an unknown curve are rejected."""
    data = signed(tmp_path, key_of(scheme))
    at, field = (52, 96) if scheme is BlockScheme.ECDSA_P384 else (36, 64)
    for change, words in (
        (resealed(data, 4), "signs a different image"),
        (resealed(data, at + 1), "signature block 0"),
        (resealed(data, at + 1 + field), "its signature is invalid"),
        (resealed(data, at), "its curve is not"),
        (resealed(data, 2), "its curve is not"),
    ):
        with pytest.raises(InputError, match=words):
            signature_blocks(change, LENGTH, "x")


@pytest.mark.parametrize("chip", list(Chip), ids=lambda chip: chip.value)
def test_what_a_chip_looks_at(chip: Chip):
    """A chip checks supported schemes only, and only the first block if it has room for one digest."""
    known = {scheme for scheme in BlockScheme if blocks_checked_by((SignatureBlock(scheme, "0" * 64),), chip)}
    rsa_only = {Chip.ESP32, Chip.ESP32S2, Chip.ESP32S3, Chip.ESP32C3}
    assert (BlockScheme.RSA_3072 in known) is (chip is not Chip.ESP32C2)
    assert ({BlockScheme.ECDSA_P192, BlockScheme.ECDSA_P256} <= known) is (chip not in rsa_only)
    assert (BlockScheme.ECDSA_P384 in known) is (chip in {Chip.ESP32C5, Chip.ESP32P4})
    pair = tuple(SignatureBlock(next(iter(known)), digit * 64) for digit in "01")
    assert blocks_checked_by(pair, chip) == (pair[:1] if chip in {Chip.ESP32, Chip.ESP32C2} else pair)


def test_a_second_block_never_stands_in_for_the_first():
    """An ESP32 that finds an ECDSA block first does not check the RSA block after it."""
    blocks = (SignatureBlock(BlockScheme.ECDSA_P256, "0" * 64), SignatureBlock(BlockScheme.RSA_3072, "1" * 64))
    assert blocks_checked_by(blocks, Chip.ESP32) == ()
    assert blocks_checked_by(blocks, Chip.ESP32S3) == blocks[1:]


def test_a_digest_that_was_switched_off(tmp_path: Path):
    """If the digest flag of an image is cleared, its SHA-256 is unexpected data after the image."""
    hidden = IMAGE[:23] + b"\0" + IMAGE[24:]
    with pytest.raises(InputError, match="not a signature sector"):
        signature_blocks(hidden, AppImage.parse(hidden, "x").length, "x")
