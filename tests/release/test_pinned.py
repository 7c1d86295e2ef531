"""The certificates that an app trusts, as they stand in its image."""

from __future__ import annotations

from datetime import UTC, datetime

from cryptography.hazmat.primitives.serialization import Encoding

from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.release.pinned import certificates_in

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE, OTHER = (
    CertificateAuthority.create(name, CaKeyKind.ECDSA_P256, NOW).certificate for name in ("one CA", "other CA")
)


def test_what_an_image_contains() -> None:
    """Each certificate that stands in the image as PEM is found, with the line ends of any system; noise is skipped."""
    one, other = ONE.public_bytes(Encoding.PEM), OTHER.public_bytes(Encoding.PEM).replace(b"\n", b"\r\n")
    begin = b"-----BEGIN CERTIFICATE-----\n"
    image = (
        b"\xe9\0\xff" + one + b"\0" + begin + b"\xff" * 99 + other + begin + b"A" * 65 + b"-----END CERTIFICATE-----"
    )
    assert certificates_in(image) == {ONE.public_bytes(Encoding.DER), OTHER.public_bytes(Encoding.DER)}
    assert certificates_in(one + one) == {ONE.public_bytes(Encoding.DER)}
    assert certificates_in(b"\xe9" * 4096) == set()
