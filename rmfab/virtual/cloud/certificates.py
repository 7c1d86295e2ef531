"""Which certificates a cloud registers, and the node that each names.

AWS IoT takes any X.509 certificate of RSA from 2048 bits, or of P-256, P-384 or P-521 (AWS IoT Core developer guide,
"X.509 client certificates"), and names it by the SHA-256 of its DER. The node is its common name.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_THING = re.compile(r"[a-zA-Z0-9:_-]{1,128}")
"""A name of a thing (AWS IoT API reference, CreateThing)."""


class UnfitCertificateError(Exception):
    """A text that no cloud registers; its message says why, as the cloud would."""


@dataclass(frozen=True)
class NodeCertificate:
    """A certificate of the node *node_id*; *id* is its name in AWS IoT."""

    node_id: str
    id: str


def read_certificate(pem: str) -> NodeCertificate:
    """Return what *pem* certifies. Raise UnfitCertificateError."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(pem.encode())
        key = certificate.public_key()
    except Exception as error:
        raise UnfitCertificateError("failed to parse certificate: x509: malformed certificate") from error
    if isinstance(key, ec.EllipticCurvePublicKey):
        fits = key.curve.name in _CURVES
    else:
        fits = isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048
    if not fits:
        raise UnfitCertificateError("InvalidCertificateException: the key of the certificate is not supported")
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    if not _THING.fullmatch(name):
        raise UnfitCertificateError("x509: the common name of the certificate is not the name of a thing")
    return NodeCertificate(name, hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest())
