"""Device certificates in two profiles.

`strict` contains SKI, AKI, BasicConstraints, KeyUsage and EKU clientAuth. `rainmaker` is what the official admin CLI
issues: CN = node id and a critical BasicConstraints. A leaf may outlive its CA, and does by default: RainMaker
registers each certificate by itself, and a device in the field cannot get a new one. Source: RFC 5280, sections 4.1.2.5
(9999-12-31 for no well-defined expiry) and 4.2.1.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rmfab.errors import InputError, IntegrityError
from rmfab.identity.ca import CertificateAuthority, judge_validity, signature_hash, utc
from rmfab.identity.keypair import PublicKey
from rmfab.product.product import CertificatePolicy
from rmfab.product.vocabulary import CertificateProfile

NO_EXPIRY = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
MAX_NAME_LENGTH = 64

_BACKDATED = timedelta(days=1)
_NO_CA = x509.BasicConstraints(ca=False, path_length=None)
_CLIENT_AUTH = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
_DIGITAL_SIGNATURE = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def certify(
    ca: CertificateAuthority, node_id: str, public_key: PublicKey, policy: CertificatePolicy, now: datetime
) -> x509.Certificate:
    """Return a certificate of *ca* for the device *node_id*, valid from a day before *now* but not from before the CA.

    Raise InputError if the node id is longer than 64 characters (RFC 5280, ub-common-name) or *now* is outside the
    validity of the CA; IntegrityError if the certificate does not match the request.
    """
    judge_validity(ca.certificate, now)
    start, end = validity(ca, policy, now)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(node_id))
        .issuer_name(ca.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(_NO_CA, critical=True)
    )
    if policy.profile is CertificateProfile.STRICT:
        builder = (
            builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(ca.key_identifier, critical=False)
            .add_extension(_DIGITAL_SIGNATURE, critical=True)
            .add_extension(_CLIENT_AUTH, critical=False)
        )
    certificate = builder.sign(ca.key, signature_hash(ca.key))
    _check(certificate, node_id, public_key)
    return certificate


def validity(ca: CertificateAuthority, policy: CertificatePolicy, now: datetime) -> tuple[datetime, datetime]:
    """Return the start and end of validity of a certificate made *now*: whole seconds, UTC."""
    start = max(utc(now).replace(microsecond=0) - _BACKDATED, ca.certificate.not_valid_before_utc)
    if policy.validity_days is None:
        return start, NO_EXPIRY
    moment = utc(now).replace(microsecond=0)
    return start, moment + min(timedelta(days=policy.validity_days), NO_EXPIRY - moment)


def common_names(certificate: x509.Certificate) -> list[str]:
    """Return the common names in the subject of *certificate*: exactly the node id in one of a device.

    Raise ValueError if the subject cannot be read.
    """
    return [str(one.value) for one in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def names_in(certificate: x509.Certificate) -> set[str]:
    """Return the DNS names and IP addresses for which *certificate* is valid (RFC 9525: the common name is not)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return addresses | set(names.get_values_for_type(x509.DNSName))


def is_issued_by(certificate: x509.Certificate, ca: x509.Certificate) -> bool:
    """Return whether *ca* signed *certificate*, and is named as its issuer."""
    try:
        certificate.verify_directly_issued_by(ca)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def _name(node_id: str) -> x509.Name:
    if not 1 <= len(node_id) <= MAX_NAME_LENGTH:
        raise InputError(
            f'node id "{node_id[:80]}" has {len(node_id)} characters',
            hint=f"use 1 to {MAX_NAME_LENGTH}, the limit of a certificate's common name",
            cause="node-id",
        )
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node_id)])


def _check(certificate: x509.Certificate, node_id: str, public_key: PublicKey) -> None:
    if certificate.public_key() != public_key or common_names(certificate) != [node_id]:
        raise IntegrityError("the signed certificate has the wrong name or key", where=node_id, cause="certificate")
