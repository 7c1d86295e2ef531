"""Key pairs of devices and of the CA: made by the cryptographic library, kept as SEC1 or PKCS #1.

The official tool writes these forms, and every RainMaker firmware has used them; for EC they are also smaller than PKCS
#8. Source: RFC 5915 (SEC1 EC private key), RFC 8017 appendix A.1.2 (RSA).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rmfab.product.vocabulary import KeyKind
from rmfab.secret import Secret

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

_MAKERS: Mapping[KeyKind, Callable[[], PrivateKey]] = {
    KeyKind.ECDSA_P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyKind.ECDSA_P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyKind.RSA_2048: lambda: rsa.generate_private_key(65537, 2048),
}


def draw(kind: KeyKind) -> PrivateKey:
    """Make a new private key of this *kind*."""
    return _MAKERS[kind]()


def private_der(key: PrivateKey) -> Secret[bytes]:
    """Return *key* as unencrypted DER, SEC1 for EC and PKCS #1 for RSA."""
    return Secret(
        key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


def private_pem(der: Secret[bytes]) -> Secret[bytes]:
    """Return the result of `private_der` as PEM. Raise ValueError if it is neither SEC1 nor PKCS #1."""
    return Secret(pem(der.reveal(), _label(der.reveal())))


def pem(der: bytes, label: str) -> bytes:
    """Return *der* in the textual encoding of RFC 7468: base64 in lines of 64 characters."""
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label.encode(), b"\n".join(lines), label.encode())


def _label(der: bytes) -> str:
    # SEQUENCE, its length in 1, 2 or 3 bytes, then the version: INTEGER 1 in SEC1, INTEGER 0 in PKCS #1.
    start = 2 + (der[1] & 0x7F if der[1] & 0x80 else 0)
    match der[start : start + 3]:
        case b"\x02\x01\x01":
            return "EC PRIVATE KEY"
        case b"\x02\x01\x00":
            return "RSA PRIVATE KEY"
    raise ValueError("neither a SEC1 nor a PKCS #1 private key")
