"""Signatures that a unit makes with its own key, verified with its certificate."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa


def signed_by(certificate_pem: bytes, message: bytes, signature: bytes) -> bool:
    """Whether *signature* over SHA-256 of *message* was made with the key of the certificate.

    ECDSA in DER, or RSA-PSS with MGF1-SHA-256. Raise ValueError if *certificate_pem* is not a certificate. Source:
    esp-rainmaker, src/console/esp_rmaker_commands.c (sign-data) and src/core/esp_rmaker_client_data.c.
    """
    key = x509.load_pem_x509_certificate(certificate_pem).public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
        elif isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.AUTO)
            key.verify(signature, message, pss, hashes.SHA256())
        else:
            return False
    except (InvalidSignature, ValueError):
        return False
    return True
