"""The certificate authority that signs device certificates: made here, or imported and judged.

It is kept in the workspace as `ca/ca.crt` (0644) and `ca/ca.key` (0600, in a 0700 folder) and is never replaced. For a
key in a token, `ca.key` contains its PKCS #11 URI. Source of what makes a CA: RFC 5280, sections 4.2.1.3 and 4.2.1.9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, unique
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID

from rmfab.errors import InputError
from rmfab.files import make_folder, read_input, write_file
from rmfab.identity.ca_files import CERTIFICATE_FILE, KEY_FILE
from rmfab.identity.keypair import PrivateKey
from rmfab.secret import Secret
from rmfab.signing.keyfile import PassphraseSource, write_private_key
from rmfab.signing.signer import open_private_key
from rmfab.signing.token import TokenKey, open_token_key

DEFAULT_VALIDITY = timedelta(days=36525)
MAX_NAME_LENGTH = 64

_LAST_MOMENT = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_MIN_RSA_BITS = 2048
_TOKEN = b"pkcs11:"
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


@unique
class CaKeyKind(Enum):
    """The kinds of CA key pairs that rmfab makes."""

    ECDSA_P256 = "ecdsa-p256"
    ECDSA_P384 = "ecdsa-p384"
    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"


@dataclass(frozen=True)
class CertificateAuthority:
    """A CA certificate and its private key, which match. Neither is checked against a clock."""

    certificate: x509.Certificate
    key: PrivateKey

    def __post_init__(self) -> None:
        _judge_authority(self.certificate)
        _judge_match(self.certificate, self.key)

    @classmethod
    def create(
        cls, name: str, kind: CaKeyKind, now: datetime, validity: timedelta = DEFAULT_VALIDITY
    ) -> CertificateAuthority:
        """Make a self-signed CA with *name* as its common name, path length 0, valid from *now*.

        Raise InputError if the name is empty or longer than 64 characters.
        """
        if not 1 <= len(name) <= MAX_NAME_LENGTH:
            raise InputError(f"a CA's common name must have 1 to {MAX_NAME_LENGTH} characters, not {len(name)}")
        key = _draw(kind)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        start = utc(now).replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + min(validity, _LAST_MOMENT - start))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_CA_USAGE, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(builder.sign(key, signature_hash(key)), key)

    @classmethod
    def load(cls, folder: Path, passphrase: PassphraseSource, now: datetime) -> CertificateAuthority:
        """Return the CA in the `ca` *folder* of a workspace, judged at *now*. Raise as `read` does."""
        _check_there(folder)
        key = folder / KEY_FILE
        return cls.read(folder / CERTIFICATE_FILE, token_uri(key) or f"file:{key}", passphrase, now, {})

    @classmethod
    def read(
        cls,
        certificate: Path,
        key: str,
        passphrase: PassphraseSource,
        now: datetime,
        environment: Mapping[str, str],
    ) -> CertificateAuthority:
        """Return a CA from a certificate file (PEM or DER) and the URI of its key, judged at *now*.

        Raise InputError if a file is missing or invalid, the certificate is not a CA, the key does not match, or the CA
        is expired or not yet valid; StationError if the key's token does not work.
        """
        authority = load_certificate(certificate)
        try:
            _judge_authority(authority)
            judge_validity(authority, now)
        except InputError as error:
            raise InputError(error.what, where=str(certificate), hint=error.hint, cause=error.cause) from None
        private = open_private_key(key, passphrase, environment)
        try:
            return cls(authority, _ca_key(private))
        except InputError as error:
            if isinstance(private, TokenKey):
                private.close()
            where = key.removeprefix("file:")
            raise InputError(error.what, where=where, hint=error.hint, cause=error.cause) from None

    def save(self, folder: Path, passphrase: Secret[str] | None) -> None:
        """Write the CA into *folder*, its key encrypted unless *passphrase* is None.

        For a key in a token, write its URI. Raise InputError, also if *folder* already contains a CA.
        """
        refuse_existing(folder)
        make_folder(folder, secret=True)
        key = folder / KEY_FILE
        if isinstance(self.key, TokenKey):
            write_file(key, f"{self.key.uri.text}\n".encode(), secret=True)
        else:
            write_private_key(key, self.key, passphrase)
        try:
            write_file(folder / CERTIFICATE_FILE, self.certificate.public_bytes(serialization.Encoding.PEM))
        except BaseException:
            key.unlink(missing_ok=True)
            raise

    @property
    def name(self) -> str:
        """The subject, as RFC 4514 writes it."""
        return self.certificate.subject.rfc4514_string()

    @property
    def certificate_der(self) -> bytes:
        """The certificate as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def portable_key(self) -> Secret[bytes]:
        """The private key for a different process: unencrypted PKCS #8 DER, or a token's URI and PIN."""
        if isinstance(self.key, TokenKey):
            return Secret(f"{self.key.uri.text}\n{self.key.pin.reveal()}".encode())
        return Secret(
            self.key.private_bytes(
                serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    @cached_property
    def key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """The authority key identifier in its certificates: the CA's own SKI, or the digest of its key."""
        try:
            extension = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(extension.value)

    def close(self) -> None:
        """End the session if the key is in a token."""
        if isinstance(self.key, TokenKey):
            self.key.close()

    @classmethod
    def from_portable(cls, certificate: bytes, key: bytes) -> CertificateAuthority:
        """Return the inverse of `certificate_der` and `portable_key`."""
        if is_on_token(key):
            uri, _, pin = key.decode().partition("\n")
            private: PrivateKeyTypes = open_token_key(uri, lambda _: Secret(pin), {})
        else:
            private = serialization.load_der_private_key(key, None)
        return cls(x509.load_der_x509_certificate(certificate), _ca_key(private))


def is_on_token(key: bytes) -> bool:
    """Whether this `portable_key` refers to a key in a token, and does not contain the key itself."""
    return key.startswith(_TOKEN)


def load_certificate(path: Path) -> x509.Certificate:
    """Return the first certificate of a PEM or DER file. Raise InputError."""
    data = read_input(path, "certificate")
    try:
        if b"-----BEGIN" in data:
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except ValueError:
        raise InputError("not an X.509 certificate", where=str(path), cause="ca-certificate") from None


def token_uri(key: Path) -> str | None:
    """Return the URI in a CA's *key* file if the key is in a token, None if the file contains the key itself."""
    data = read_input(key, "CA key")
    return data.decode("utf-8", "replace").strip() if data.startswith(_TOKEN) else None


def load_workspace_certificate(folder: Path) -> x509.Certificate:
    """Return the certificate of the CA in the `ca` *folder* of a workspace. Raise InputError."""
    _check_there(folder)
    return load_certificate(folder / CERTIFICATE_FILE)


def key_description(certificate: x509.Certificate) -> str:
    """Return the kind of the public key in words: `ecdsa-p256`, `rsa-3072` …"""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"rsa-{key.key_size}"
    return f"ecdsa-p{key.key_size}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


def path_length(certificate: x509.Certificate) -> int | None:
    """Return how many CAs may follow below this one, None without a limit or if it is not a CA."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length
    except x509.ExtensionNotFound:
        return None


def refuse_existing(folder: Path) -> None:
    """Raise InputError if *folder* already contains a CA, or half of one."""
    for name in (CERTIFICATE_FILE, KEY_FILE):
        if (folder / name).exists():
            raise InputError(
                "a CA already exists, and rmfab never replaces one",
                where=str(folder / name),
                hint="move the folder away only if no unit was made with this CA",
                cause="exists",
            )


def judge_validity(certificate: x509.Certificate, now: datetime) -> None:
    """Raise InputError, with both dates, if *now* is before or after the validity of *certificate*."""
    if utc(now) < certificate.not_valid_before_utc:
        raise InputError(
            f"the CA is valid from {_day(certificate.not_valid_before_utc)}, but this host's clock reads {_day(now)}",
            hint="set the clock, then try again",
            cause="clock",
        )
    if utc(now) > certificate.not_valid_after_utc:
        raise InputError(
            f"the CA expired on {_day(certificate.not_valid_after_utc)}, but this host's clock reads {_day(now)}",
            cause="ca-expired",
        )


def signature_hash(key: PrivateKey) -> hashes.SHA256 | hashes.SHA384 | hashes.SHA512:
    """Return the hash that fits the strength of a signing *key*."""
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.key_size > 256:
        return hashes.SHA384() if key.curve.key_size == 384 else hashes.SHA512()
    return hashes.SHA256()


def utc(moment: datetime) -> datetime:
    """Return *moment* in UTC. Raise ValueError if it has no time zone."""
    if moment.tzinfo is None:
        raise ValueError("the moment has no time zone")
    return moment.astimezone(UTC)


_CA_USAGE = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _draw(kind: CaKeyKind) -> PrivateKey:
    match kind:
        case CaKeyKind.ECDSA_P256:
            return ec.generate_private_key(ec.SECP256R1())
        case CaKeyKind.ECDSA_P384:
            return ec.generate_private_key(ec.SECP384R1())
        case CaKeyKind.RSA_2048:
            return rsa.generate_private_key(65537, 2048)
        case CaKeyKind.RSA_3072:
            return rsa.generate_private_key(65537, 3072)


def _check_there(folder: Path) -> None:
    if not (folder / CERTIFICATE_FILE).exists():
        raise InputError(
            "no CA here",
            where=str(folder),
            hint="identities are made where the CA is (the owner's workspace); if this product has no CA yet, "
            "`rmfab ca create` or `rmfab ca import` makes one",
        )


def _judge_authority(certificate: x509.Certificate) -> None:
    try:
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise InputError("this certificate is not a CA: BasicConstraints missing", cause="ca-certificate") from None
    except ValueError:
        raise InputError("this certificate has invalid extensions", cause="ca-certificate") from None
    if not constraints.ca:
        raise InputError("this certificate is not a CA: BasicConstraints CA:FALSE", cause="ca-certificate")
    try:
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return
    if not usage.key_cert_sign:
        raise InputError("this CA must not sign certificates: KeyUsage lacks keyCertSign", cause="ca-certificate")


def _ca_key(key: PrivateKeyTypes) -> PrivateKey:
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES):
        return key
    raise InputError(
        "keys of this kind cannot sign device certificates",
        hint=f"use EC P-256, P-384 or P-521, or RSA of at least {_MIN_RSA_BITS} bits",
        cause="ca-key",
    )


def _judge_match(certificate: x509.Certificate, key: PrivateKey) -> None:
    if certificate.public_key() != key.public_key():
        raise InputError("this key does not match the CA certificate", cause="ca-key")


def _day(moment: datetime) -> str:
    return f"{utc(moment):%Y-%m-%d %H:%M:%S} UTC"
