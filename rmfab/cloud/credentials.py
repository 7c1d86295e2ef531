"""What a unit shows to its broker: certificate and key, in memory, and a TLS context that holds them.

`ssl` reads certificates and keys only from files: `memory_file` is one.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rmfab.errors import UnitFault
from rmfab.files import memory_file
from rmfab.identity.certificate import common_names
from rmfab.identity.sealed_record import certificate_id
from rmfab.secret import Secret
from rmfab.signing.keyfile import encode_private_key

_AN_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class ClientPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: Secret[bytes]

    def put_in(self, context: ssl.SSLContext) -> None:
        """Let *context* show the certificate. Raise ssl.SSLError if it cannot be used, or does not match the key."""
        with memory_file(self.certificate.rstrip() + b"\n" + self.key.reveal()) as path:
            context.load_cert_chain(path)


@dataclass(frozen=True)
class CloudUnit:
    """A unit as its cloud knows it: *node_id*, which is its client id and the common name in its certificate."""

    node_id: str
    pair: ClientPair

    @property
    def certificate_id(self) -> str | None:
        """The id of the certificate in AWS IoT, None if it cannot be read."""
        try:
            certificate = x509.load_pem_x509_certificate(self.pair.certificate)
        except ValueError:
            return None
        return certificate_id(certificate.public_bytes(serialization.Encoding.DER))


def judge_own(unit: CloudUnit, now: datetime) -> None:
    """Raise UnitFault if the certificate of *unit* is not valid *now*, has a different name, or a different key."""
    try:
        certificate = x509.load_pem_x509_certificate(unit.pair.certificate)
    except ValueError:
        raise UnitFault("the certificate cannot be read", cause="cloud-certificate") from None
    names = common_names(certificate)
    if names != [unit.node_id]:
        raise UnitFault(
            f"the certificate is for {', '.join(names) or 'no name'}, not for {unit.node_id}",
            cause="cloud-name",
        )
    try:
        key = serialization.load_pem_private_key(unit.pair.key.reveal(), None)
    except ValueError:
        raise UnitFault("the private key cannot be read", cause="key-mismatch") from None
    if key.public_key() != certificate.public_key():
        raise UnitFault("the private key does not belong to the certificate", cause="key-mismatch")
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begin <= now <= end:
        when = f"valid from {begin:%Y-%m-%d %H:%M}" if now < begin else f"expired on {end:%Y-%m-%d %H:%M}"
        raise UnitFault(f"the certificate is {when} UTC", hint="check this host's clock", cause="cloud-expired")


def forged(name: str, now: datetime) -> ClientPair:
    """Return a certificate for *name* that no CA signed, with a key of its own: a broker must refuse it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - _AN_HOUR)
        .not_valid_after(now.astimezone(UTC) + _AN_HOUR)
        .sign(key, hashes.SHA256())
    )
    return ClientPair(certificate.public_bytes(serialization.Encoding.PEM), Secret(encode_private_key(key, None)))
