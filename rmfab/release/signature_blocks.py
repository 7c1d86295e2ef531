"""Secure boot v2: the signature blocks after bootloader and app, and whether each is valid.

Format: ESP-IDF programming guide, "Secure Boot v2", Signature Block Format (1216 bytes: magic 0xE7, version 2 for
RSA-3072 PSS, 3 for ECDSA, digest of the image, key, signature, CRC-32), and espsecure 5.6. The sector with up to three
blocks follows the image, which is padded to a multiple of 4096 bytes; the digest covers image and padding, on every
chip. Which blocks count depends on the chip: see `blocks_checked_by`.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass
from enum import Enum, unique

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from rmfab.errors import InputError
from rmfab.product.vocabulary import Chip

SECTOR = 0x1000
BLOCK_SIZE = 1216
MOST_BLOCKS = 3
_MAGIC = 0xE7
_RSA, _ECDSA = 2, 3
_SIGNED = 1196  # bytes of a block that its CRC covers
_RSA_BITS = 3072


@unique
class BlockScheme(Enum):
    """How a block is signed."""

    RSA_3072 = "rsa-3072"
    ECDSA_P192 = "ecdsa-p192"
    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"


@dataclass(frozen=True)
class SignatureBlock:
    """A valid block: its scheme, and the SHA-256 of its public key in hex, as eFuses contain it."""

    scheme: BlockScheme
    key_digest: str


@dataclass(frozen=True)
class _Curve:
    """A curve by its number in a block: *octets* of a coordinate, the hash, and the width of the fields."""

    scheme: BlockScheme
    curve: ec.EllipticCurve
    octets: int
    hash: hashes.HashAlgorithm
    sha384: bool = False

    @property
    def field(self) -> int:
        """Size of the point field and of the signature field, in bytes."""
        return 96 if self.sha384 else 64


_CURVES = {
    1: _Curve(BlockScheme.ECDSA_P192, ec.SECP192R1(), 24, hashes.SHA256()),
    2: _Curve(BlockScheme.ECDSA_P256, ec.SECP256R1(), 32, hashes.SHA256()),
    3: _Curve(BlockScheme.ECDSA_P384, ec.SECP384R1(), 48, hashes.SHA384(), sha384=True),
}
_ECDSA_CHIPS = frozenset((Chip.ESP32C2, Chip.ESP32C5, Chip.ESP32C6, Chip.ESP32C61, Chip.ESP32H2, Chip.ESP32P4))
_CHIPS = {
    BlockScheme.RSA_3072: frozenset(Chip) - {Chip.ESP32C2},
    BlockScheme.ECDSA_P192: _ECDSA_CHIPS,
    BlockScheme.ECDSA_P256: _ECDSA_CHIPS,
    BlockScheme.ECDSA_P384: frozenset((Chip.ESP32C5, Chip.ESP32P4)),
}
_ONE_BLOCK = frozenset((Chip.ESP32, Chip.ESP32C2))


def blocks_checked_by(blocks: tuple[SignatureBlock, ...], chip: Chip) -> tuple[SignatureBlock, ...]:
    """Return those of an image's *blocks* that *chip* checks.

    These are the blocks of a supported scheme; on ESP32 and ESP32-C2 only the first block counts. Sources: ESP-IDF
    `tools/test_apps/security/secure_boot/pytest_secure_boot.py` (targets of each scheme), soc_caps.h
    (SOC_ECDSA_SUPPORT_CURVE_P384), `esp_rom`, secure_boot.h (SECURE_BOOT_NUM_BLOCKS).
    """
    seen = blocks[:1] if chip in _ONE_BLOCK else blocks
    return tuple(block for block in seen if chip in _CHIPS[block.scheme])


def signature_blocks(data: bytes, image_length: int, where: str) -> tuple[SignatureBlock, ...]:
    """Return the blocks after the image of *image_length* bytes at the start of *data*; () if it is not signed.

    Raise InputError (cause `secure-boot-signature`) if a block is invalid, or if what follows the image is neither a
    signature sector nor 0xFF.
    """
    end = -(-image_length // SECTOR) * SECTOR
    sector = data[end:]
    if not data[image_length:].strip(b"\xff"):
        return ()
    if len(sector) < SECTOR or sector[0] != _MAGIC or sector[SECTOR:].strip(b"\xff"):
        raise _wrong("the data after the image is not a signature sector", where)
    blocks: list[SignatureBlock] = []
    for number in range(MOST_BLOCKS):
        block = sector[number * BLOCK_SIZE : (number + 1) * BLOCK_SIZE]
        if not block.strip(b"\xff"):
            break
        try:
            blocks.append(_read(block, data[:end]))
        except ValueError as error:
            raise _wrong(f"signature block {number}: {error}", where) from None
    if sector[len(blocks) * BLOCK_SIZE : SECTOR].strip(b"\xff"):
        raise _wrong("unexpected data between or after the signature blocks", where)
    return tuple(blocks)


def _wrong(what: str, where: str) -> InputError:
    return InputError(
        what,
        where=where,
        hint="sign the image again: espsecure sign-data --version 2",
        cause="secure-boot-signature",
    )


def _read(block: bytes, image: bytes) -> SignatureBlock:
    """Return the block, if it is valid for *image*. Raise ValueError."""
    magic, version, sha = block[:3]
    if magic != _MAGIC or version not in (_RSA, _ECDSA):
        raise ValueError("not a block of secure boot v2")
    if zlib.crc32(block[:_SIGNED]) != int.from_bytes(block[_SIGNED : _SIGNED + 4], "little"):
        raise ValueError("its CRC does not match")
    try:
        return _read_rsa(block, image) if version == _RSA else _read_ecdsa(block, image, sha)
    except InvalidSignature:
        raise ValueError("its signature is invalid") from None


def _read_rsa(block: bytes, image: bytes) -> SignatureBlock:
    digest, modulus, exponent, rinv, inverse, signature = struct.unpack_from("<32s384sI384sI384s", block, 4)
    if hashlib.sha256(image).digest() != digest:
        raise ValueError("it signs a different image")
    n = int.from_bytes(modulus, "little")
    # Montgomery constants for the chip's RSA accelerator: if they are wrong, it rejects a good signature
    if n.bit_length() != _RSA_BITS or n % 2 == 0 or int.from_bytes(rinv, "little") != (1 << 2 * _RSA_BITS) % n:
        raise ValueError("its key is not a valid RSA-3072 key for the chip")
    if inverse != -pow(n, -1, 1 << 32) % (1 << 32):
        raise ValueError("its key is not a valid RSA-3072 key for the chip")
    key = rsa.RSAPublicNumbers(exponent, n).public_key()
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
    key.verify(signature[::-1], digest, pss, Prehashed(hashes.SHA256()))
    return SignatureBlock(BlockScheme.RSA_3072, hashlib.sha256(block[36:812]).hexdigest())


def _read_ecdsa(block: bytes, image: bytes, sha: int) -> SignatureBlock:
    at = 4 + (48 if sha == 1 else 32)
    known = _CURVES.get(block[at])
    if known is None or known.sha384 is not (sha == 1) or sha > 1:
        raise ValueError("its curve is not P-192, P-256 or P-384")
    digest = hashlib.new("sha384" if known.sha384 else "sha256", image).digest()
    if digest != block[4:at]:
        raise ValueError("it signs a different image")
    point, signature = block[at + 1 : at + 1 + known.field], block[at + 1 + known.field : at + 1 + 2 * known.field]
    (x, y), (r, s) = _pair(point, known.octets), _pair(signature, known.octets)
    key = ec.EllipticCurvePublicNumbers(x, y, known.curve).public_key()
    key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(known.hash)))
    return SignatureBlock(known.scheme, hashlib.sha256(block[at : at + 1 + known.field]).hexdigest())


def _pair(field: bytes, octets: int) -> tuple[int, int]:
    """Return the two little-endian numbers at the start of *field*."""
    return int.from_bytes(field[:octets], "little"), int.from_bytes(field[octets : 2 * octets], "little")
