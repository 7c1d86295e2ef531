"""The files of a test broker: its certificates, and the configuration of mosquitto.

    broker-ca.crt                 the CA of the broker and of the witness; its key is never written
    server.crt, server.key        the broker's own certificate, for its host names
    witness.crt, witness.key      the client that may see and send everything
    clients.crt                   the CAs whose clients are let in: that of the units, and broker-ca.crt
    broker-ca.crl, clients.crl    revoked certificates: of broker-ca.crt none; then those of the units
    mosquitto.conf, acl           written at every start

Source of the settings: mosquitto.conf(5) of mosquitto 2.0.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rmfab.cloud.broker import names_in
from rmfab.files import is_there, make_folder, read_input, write_file
from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.signing.keyfile import encode_private_key

WITNESS = "rmfab-witness"
_YEARS = timedelta(days=3650)
_A_DAY = timedelta(days=1)


@dataclass(frozen=True)
class BrokerFolder:
    """The files of a broker in the folder *root*."""

    root: Path

    @property
    def ca(self) -> Path:
        """The certificate that clients need to trust the broker."""
        return self.root / "broker-ca.crt"

    @property
    def config(self) -> Path:
        """The configuration of mosquitto."""
        return self.root / "mosquitto.conf"

    @property
    def log(self) -> Path:
        """What mosquitto prints."""
        return self.root / "mosquitto.log"

    def certificate(self, name: str) -> Path:
        """The certificate of `server` or `witness`."""
        return self.root / f"{name}.crt"

    def key(self, name: str) -> Path:
        """The key of `server` or `witness`."""
        return self.root / f"{name}.key"


@dataclass(frozen=True)
class BrokerSettings:
    """Listen at *address* and *port* under *names*; let in the clients of the CA *unit_ca* (PEM) unless *crl* (PEM)
    revokes them."""

    address: str
    port: int
    names: tuple[str, ...]
    unit_ca: bytes
    crl: bytes | None = None


def write_files(folder: BrokerFolder, settings: BrokerSettings, now: datetime) -> None:
    """Write all files; certificates only if there are none yet for these names, or if they have expired."""
    make_folder(folder.root, secret=True)
    if not _still_good(folder, settings.names, now):
        _write_certificates(folder, settings.names, now)
    clients = settings.unit_ca.rstrip() + b"\n" + read_input(folder.ca, "certificate")
    write_file(folder.root / "clients.crt", clients, force=True)
    if settings.crl is not None:
        nothing = read_input(folder.root / "broker-ca.crl", "revocation list")  # OpenSSL wants a list of each CA
        write_file(folder.root / "clients.crl", settings.crl.rstrip() + b"\n" + nothing, force=True)
    write_file(folder.root / "acl", _acl().encode(), secret=True, force=True)
    write_file(folder.config, _config(folder, settings).encode(), secret=True, force=True)


def _config(folder: BrokerFolder, settings: BrokerSettings) -> str:
    lines = [
        "per_listener_settings false",
        f"listener {settings.port} {settings.address}",
        f"cafile {folder.root / 'clients.crt'}",
        f"certfile {folder.certificate('server')}",
        f"keyfile {folder.key('server')}",
        "require_certificate true",
        "use_identity_as_username true",
        "allow_anonymous false",
        f"acl_file {folder.root / 'acl'}",
        "persistence false",
        "message_size_limit 131072",  # as AWS IoT
        "set_tcp_nodelay true",
        "log_dest stderr",
        "log_type all",
    ]
    if settings.crl is not None:
        lines.append(f"crlfile {folder.root / 'clients.crl'}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        lines.append("user root")  # else it becomes a user who may not read keys with mode 0600
    return "\n".join((*lines, ""))


def _acl() -> str:
    """Return the rules: a unit has its own topics, as in RainMaker's policy; %u is the common name."""
    lines = (
        "pattern write $aws/rules/+/node/%u/#",
        "pattern readwrite node/%u/#",
        f"user {WITNESS}",
        "topic readwrite node/#",
        "topic read $aws/rules/#",
    )
    return "\n".join((*lines, ""))


def _still_good(folder: BrokerFolder, names: Sequence[str], now: datetime) -> bool:
    files = (folder.ca, *(place(name) for name in ("server", "witness") for place in (folder.certificate, folder.key)))
    if not all(is_there(path) for path in files):
        return False
    certificate = x509.load_pem_x509_certificate(read_input(folder.certificate("server"), "certificate"))
    return names_in(certificate) >= set(names) and now + _A_DAY < certificate.not_valid_after_utc


def _write_certificates(folder: BrokerFolder, names: Sequence[str], now: datetime) -> None:
    """Make a CA, sign the certificates of the broker and of the witness, and forget its key."""
    ca = CertificateAuthority.create("rmfab test broker CA", CaKeyKind.ECDSA_P256, now - _A_DAY, _YEARS + _A_DAY)
    _write_pem(folder.ca, ca.certificate)
    nothing = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(now - _A_DAY)
        .next_update(now + _YEARS)
        .sign(ca.key, hashes.SHA256())
    )
    write_file(folder.root / "broker-ca.crl", nothing.public_bytes(serialization.Encoding.PEM), force=True)
    for name, subject, usage in (
        ("server", names[0], ExtendedKeyUsageOID.SERVER_AUTH),
        ("witness", WITNESS, ExtendedKeyUsageOID.CLIENT_AUTH),
    ):
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, ca, key.public_key(), now)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if name == "server":
            builder = builder.add_extension(_alternatives(names), critical=False)
        write_file(folder.key(name), encode_private_key(key, None), secret=True, force=True)
        _write_pem(folder.certificate(name), builder.sign(ca.key, hashes.SHA256()))


def _builder(
    subject: str, ca: CertificateAuthority, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject[:64])]))
        .issuer_name(ca.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _A_DAY)
        .not_valid_after(now + _YEARS)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(ca.key_identifier, critical=False)
    )


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_alternative(name) for name in names])


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write_pem(path: Path, certificate: x509.Certificate) -> None:
    write_file(path, certificate.public_bytes(serialization.Encoding.PEM), force=True)
