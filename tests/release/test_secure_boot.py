"""Signature blocks of secure boot v2, made and judged by espsecure itself."""

from __future__ import annotations

import io
import zlib
from contextlib import redirect_stdout
from pathlib import Path

import espsecure
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip
from rmfab.release.app_image import AppImage
from rmfab.release.secure_boot import BLOCK_SIZE, SECTOR, Scheme, signature_blocks
from rmfab.virtual.firmware import make_bootloader

KEYS = {
    Scheme.RSA_3072: rsa.generate_private_key(65537, 3072),
    Scheme.ECDSA_P192: ec.generate_private_key(ec.SECP192R1()),
    Scheme.ECDSA_P256: ec.generate_private_key(ec.SECP256R1()),
    Scheme.ECDSA_P384: ec.generate_private_key(ec.SECP384R1()),
}
IMAGE = make_bootloader(Chip.ESP32C3, 4 << 20)
LENGTH = AppImage.parse(IMAGE, "x").length


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
    with redirect_stdout(io.StringIO()):
        espsecure.main(command)
    return (folder / "s.bin").read_bytes()


def resealed(data: bytes, at: int, value: bytes) -> bytes:
    """*data* with *value* at *at* of the first block, whose CRC is put right."""
    start = len(data) - SECTOR
    block = bytearray(data[start : start + BLOCK_SIZE])
    block[at : at + len(value)] = value
    block[1196:1200] = zlib.crc32(block[:1196]).to_bytes(4, "little")
    return data[:start] + bytes(block) + data[start + BLOCK_SIZE :]


@pytest.mark.parametrize("scheme", list(Scheme), ids=lambda scheme: scheme.value)
def test_espsecures_signature_holds(tmp_path: Path, scheme: Scheme):
    """One block of each scheme; the digest of its key is the one that espsecure would burn."""
    (block,) = signature_blocks(signed(tmp_path, KEYS[scheme]), LENGTH, "x")
    assert block.scheme is scheme
    with redirect_stdout(io.StringIO()):
        espsecure.main(
            ["digest-sbv2-public-key", "--keyfile", str(tmp_path / "0.pem"), "--output", str(tmp_path / "digest")]
        )
    assert bytes.fromhex(block.key_digest) == (tmp_path / "digest").read_bytes()


def test_three_keys(tmp_path: Path):
    """Three blocks, in their order."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    blocks = signature_blocks(signed(tmp_path, *keys), LENGTH, "x")
    singles = [signature_blocks(signed(tmp_path, key), LENGTH, "x")[0] for key in keys]
    assert list(blocks) == singles


@pytest.mark.parametrize("tail", [b"", b"\xff" * 100, b"\xff" * 0x5000])
def test_an_unsigned_image(tail: bytes):
    """Nothing, or blank flash, behind an image is no signature and no fault."""
    assert signature_blocks(IMAGE + tail, LENGTH, "x") == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d[:100] + bytes([d[100] ^ 1]) + d[101:], "over another image"),
        (lambda d: d[: LENGTH + 3] + b"\0" + d[LENGTH + 4 :], "over another image"),
        (lambda d: d[: -SECTOR + 900] + b"\0\1" + d[-SECTOR + 902 :], "CRC"),
        (lambda d: resealed(d, 1, b"\x04"), "does not begin"),
        (lambda d: resealed(d, 36, b"\x02"), "no RSA-3072 key"),
        (lambda d: resealed(d, 424, b"\x02"), "no RSA-3072 key"),
        (lambda d: resealed(d, 808, b"\x02"), "no RSA-3072 key"),
        (lambda d: resealed(d, 812, bytes(384)), "does not hold"),
        (lambda d: d[:-SECTOR] + b"\0" + d[-SECTOR + 1 :], "no signature sector"),
        (lambda d: d[:-1], "no signature sector"),
        (lambda d: d + b"\0", "no signature sector"),
        (lambda d: d[:-1] + b"\0", "behind the signature blocks"),
        (lambda d: d[: -SECTOR + BLOCK_SIZE] + b"\0" + d[-SECTOR + BLOCK_SIZE + 1 :], "signature block 1"),
    ],
)
def test_rsa_blocks_that_do_not_hold(tmp_path: Path, change, words: str):
    """Each kind of damage is named, with the file."""
    with pytest.raises(InputError, match=words) as caught:
        signature_blocks(change(signed(tmp_path, KEYS[Scheme.RSA_3072])), LENGTH, "app.bin")
    assert (caught.value.where, caught.value.cause) == ("app.bin", "secure-boot-signature")


@pytest.mark.parametrize("scheme", [Scheme.ECDSA_P256, Scheme.ECDSA_P384], ids=lambda scheme: scheme.value)
def test_ecdsa_blocks_that_do_not_hold(tmp_path: Path, scheme: Scheme):
    """Another image, a point off its curve, a signature of somebody else, an unknown curve."""
    data = signed(tmp_path, KEYS[scheme])
    at, field = (52, 96) if scheme is Scheme.ECDSA_P384 else (36, 64)
    for change, words in (
        (resealed(data, 4, bytes(32)), "over another image"),
        (resealed(data, at + 1, b"\x01\x02"), "signature block 0"),
        (resealed(data, at + 1 + field, b"\x01\x02"), "does not hold"),
        (resealed(data, at, b"\x09"), "its curve is none"),
        (resealed(data, 2, b"\x02"), "its curve is none"),
    ):
        with pytest.raises(InputError, match=words):
            signature_blocks(change, LENGTH, "x")


def test_a_digest_that_was_switched_off(tmp_path: Path):
    """An image that hides its appended SHA-256 (one byte of its header) leaves something unknown behind it."""
    hidden = IMAGE[:23] + b"\0" + IMAGE[24:]
    with pytest.raises(InputError, match="no signature sector"):
        signature_blocks(hidden, AppImage.parse(hidden, "x").length, "x")
