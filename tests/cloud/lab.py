"""What a check needs: a CA of units, units with good and bad credentials, and the files of a broker."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from rmfab.cloud.broker import Broker
from rmfab.cloud.broker_files import BrokerFolder, BrokerSettings, write_files
from rmfab.cloud.credentials import ClientPair, CloudUnit
from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.identity.certificate import certify
from rmfab.identity.keypair import draw, private_der, private_pem
from rmfab.product.product import CertificatePolicy
from rmfab.product.vocabulary import CertificateProfile, KeyKind
from rmfab.secret import Secret
from tests.patience import PATIENCE

NOW = datetime.now(UTC)
A_YEAR = timedelta(days=365)


@dataclass
class Lab:
    """A folder *root* with the files of a broker, and a CA whose units it lets in."""

    root: Path
    names: tuple[str, ...] = ("localhost", "127.0.0.1")
    ca: CertificateAuthority = field(
        default_factory=lambda: CertificateAuthority.create("units", CaKeyKind.ECDSA_P256, NOW - 2 * A_YEAR)
    )

    @cached_property
    def folder(self) -> BrokerFolder:
        """The files, for any port."""
        folder = BrokerFolder(self.root / "broker")
        self.write(folder, 1)
        return folder

    def settings(self, port: int, crl: bytes | None = None) -> BrokerSettings:
        """The settings of a broker of this lab."""
        ca = self.ca.certificate.public_bytes(serialization.Encoding.PEM)
        return BrokerSettings("127.0.0.1", port, self.names, ca, crl)

    def write(self, folder: BrokerFolder, port: int, crl: bytes | None = None) -> None:
        """Write the files for *port*."""
        write_files(folder, self.settings(port, crl), NOW)

    def broker(self, port: int, host: str = "localhost", patience: float = PATIENCE) -> Broker:
        """The broker on *port* of this host, whose CA is trusted."""
        return Broker(host, port, self.folder.ca.read_text(), patience=patience)

    def unit(self, node_id: str = "node-1", kind: KeyKind = KeyKind.ECDSA_P256, at: datetime = NOW) -> CloudUnit:
        """A unit whose certificate was made *at*, for 30 days."""
        key = draw(kind)
        policy = CertificatePolicy(CertificateProfile.STRICT, 30)
        certificate = certify(self.ca, node_id, key.public_key(), policy, at)
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        return CloudUnit(node_id, ClientPair(pem, private_pem(private_der(key))))

    def expired(self, node_id: str = "node-1") -> CloudUnit:
        """A unit whose certificate has expired."""
        return self.unit(node_id, at=NOW - A_YEAR)

    def revoke(self, *units: CloudUnit) -> bytes:
        """A revocation list of the CA, as PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.ca.certificate.subject)
            .last_update(NOW - timedelta(days=1))
            .next_update(NOW + A_YEAR)
        )
        for unit in units:
            number = x509.load_pem_x509_certificate(unit.pair.certificate).serial_number
            gone = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(NOW).build()
            builder = builder.add_revoked_certificate(gone)
        return builder.sign(self.ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)  # type: ignore[arg-type]

    @property
    def witness(self) -> ClientPair:
        """The credentials of the witness."""
        key, certificate = self.folder.key("witness"), self.folder.certificate("witness")
        return ClientPair(certificate.read_bytes(), Secret(key.read_bytes()))


def with_key_of(unit: CloudUnit, other: CloudUnit) -> CloudUnit:
    """Return *unit* with the key of *other*."""
    return dataclasses.replace(unit, pair=ClientPair(unit.pair.certificate, other.pair.key))
