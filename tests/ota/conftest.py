"""Small releases that can be updated, a shelf of them, a CA of this session, and a server on a free port."""

from __future__ import annotations

import datetime as dt
import http.client
import ipaddress
import queue
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from rmfab.ota.http_handler import Access
from rmfab.ota.server import ShelfServer
from rmfab.ota.shelf import publish
from rmfab.ota.tls import load_context
from rmfab.product.vocabulary import Chip
from rmfab.release.build_config import UNKNOWN, BuildConfig
from rmfab.release.edition import Edition
from rmfab.release.parts import Part
from rmfab.release.release import Release
from tests.patience import PATIENCE
from tests.release.conftest import tiny_app, tiny_image
from tests.release.partition_csv import table_from_csv

AN_ENVELOPE = b'{"an":"envelope"}'
OTA_CSV = (
    "nvs,data,nvs,0x10000,16K\notadata,data,ota,0x14000,8K\n"
    "ota_0,app,ota_0,0x20000,64K\nota_1,app,ota_1,,64K\nfctry,data,nvs,,0x6000\n"
)


def a_release(
    version: str = "1.0.0",
    seq: int | None = 1,
    *,
    project: str = "lamp",
    csv: str = OTA_CSV,
    table_offset: int = 0xC000,
    app: bytes | None = None,
    bootloader: bytes | None = None,
    configured: BuildConfig = UNKNOWN,
) -> Release:
    """A release of five kilobytes for the esp32c3 with the given *version*."""
    table = table_from_csv(csv, table_offset, "tiny.csv")
    parts = [
        Part("app", 0x20000, app or tiny_app(project, version)),
        Part("bootloader", 0, bootloader or tiny_image(b"second stage 16")),
        Part("partition-table", table_offset, table.encode()),
    ]
    return Release.assemble(Chip.ESP32C3, parts, f"lamp-{version}", edition=Edition(seq=seq), configured=configured)


@dataclass(frozen=True)
class Papers:
    """PEM files of the CA, the server's certificate, and its key."""

    ca: Path
    cert: Path
    key: Path


@pytest.fixture(scope="session")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    """A CA, and the certificate it issued for 127.0.0.1 and localhost."""
    folder = tmp_path_factory.mktemp("papers")
    papers = Papers(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = _named("bench CA")
    ca = _certificate(issuer, issuer, ca_key, ca_key).add_extension(x509.BasicConstraints(True, None), critical=True)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    cert = _certificate(_named("bench"), issuer, key, ca_key)
    cert = cert.add_extension(x509.SubjectAlternativeName(names), critical=False)
    papers.ca.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    papers.cert.write_bytes(cert.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    papers.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    papers.key.chmod(0o600)
    return papers


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, ca_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - day).not_valid_after(now + 30 * day)
    their = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return builder.add_extension(their, critical=False).add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )


@dataclass
class Bench:
    """A running server; *accesses* grows as requests are answered."""

    server: ShelfServer
    accesses: queue.SimpleQueue[Access]
    trust: ssl.SSLContext
    ca: Path

    @property
    def port(self) -> int:
        """The server's port."""
        return self.server.server_address[1]

    def connect(self) -> http.client.HTTPSConnection:
        """Open a connection that trusts the CA."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.trust, timeout=PATIENCE)

    def speak(self, *lines: str) -> ssl.SSLSocket:
        """Open a TLS connection and send only these lines, the last one without a line end."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        connection = self.trust.wrap_socket(plain, server_hostname="127.0.0.1")
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        return connection

    def answers(self, *lines: str) -> bytes:
        """Return everything that the server sends to these lines until it ends the connection, in any way."""
        said = b""
        with self.speak(*lines) as connection, suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                said += piece
        return said

    def ask(self, target: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
        """Send one request over a separate connection; underscores in names of *headers* become dashes."""
        connection = self.connect()
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, headers=fields)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response, body


@contextmanager
def running(folder: Path, papers: Papers, **options: float) -> Iterator[Bench]:
    """Run a server of *folder* on a free port until the end of the block."""
    accesses: queue.SimpleQueue[Access] = queue.SimpleQueue()
    context = load_context(papers.cert, papers.key, _no_passphrase)
    with ShelfServer(folder, context, on_access=accesses.put, **options) as server:
        server.timeout = 0.02  # how often it looks for `stop`: more than a hundred tests wait for that
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield Bench(server, accesses, ssl.create_default_context(cafile=str(papers.ca)), papers.ca)
        finally:
            server.stop()
            thread.join()


def _no_passphrase(subject: str) -> None:
    raise AssertionError(f"unexpected request for the passphrase of {subject}")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A shelf with one release, signed by an envelope that no test reads."""
    publish(tmp_path / "shelf", a_release(), AN_ENVELOPE, "stable")
    return tmp_path / "shelf"


@pytest.fixture
def bench(shelf: Path, papers: Papers) -> Iterator[Bench]:
    """A server of the shelf."""
    with running(shelf, papers) as bench:
        yield bench
