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

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from rmfab.cloud.bench_certificates import A_DAY, YEARS, BenchPair, still_good, write_pairs
from rmfab.files import make_folder, read_input, write_file

WITNESS = "rmfab-witness"


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

    def pairs(self, names: tuple[str, ...]) -> tuple[BenchPair, BenchPair]:
        """The certificates of the broker with the host *names*, and of the witness, with their keys."""
        server, witness = ((self.certificate(name), self.key(name)) for name in ("server", "witness"))
        return BenchPair(*server, names=names), BenchPair(*witness, subject=WITNESS)


_MOST_QUEUED = 50_000
"""For a client that is slower than what it gets. By default mosquitto drops what comes after 1,000, and tells nobody
(mosquitto.conf(5)): a witness of 64 units, each with its budget of 100 messages, would miss some."""


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
    _write_certificates(folder, settings, now)
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
        f"max_queued_messages {_MOST_QUEUED}",
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


def _write_certificates(folder: BrokerFolder, settings: BrokerSettings, now: datetime) -> None:
    """Make a CA, sign the certificates of the broker and of the witness, and forget its key."""
    pairs = folder.pairs(settings.names)
    if still_good(folder.ca, pairs, now):
        return
    ca = write_pairs(folder.ca, "rmfab test broker CA", pairs, now)
    nothing = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(ca.certificate.subject)
        .last_update(now - A_DAY)
        .next_update(now + YEARS)
        .sign(ca.key, hashes.SHA256())
    )
    write_file(folder.root / "broker-ca.crl", nothing.public_bytes(serialization.Encoding.PEM), force=True)
