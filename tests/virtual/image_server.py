"""A server of images that fails on request, and the authority of its certificate."""

from __future__ import annotations

import re
import ssl
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class ImageServer(ThreadingHTTPServer):
    """Serves *image* as /app.bin.

    *before* is called with each request and may spoil the response by its return value: a status, or `cut`, `whole`,
    `no-length`.
    """

    daemon_threads = True

    def __init__(self, image, before, context):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.image = image
        self.before = before
        self.asked = []
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.server_port}/app.bin"

    def handle_error(self, request, client_address):
        """Ignore clients that disconnect, which some of these tests need."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        wanted = self.headers.get("Range")
        self.server.asked.append((self.command, wanted))
        spoilt = self.server.before(self.command, wanted)
        image = self.server.image
        if self.path != "/app.bin":
            spoilt = 404
        if isinstance(spoilt, int):
            self._send(spoilt, b"", {"Location": "/app.bin"} if spoilt == 302 else {})
        elif wanted is None or spoilt == "whole":
            self._send(200, image, {}, spoilt)
        else:
            start, end = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted).groups()
            data = image[int(start) : int(end) + 1 if end else None]
            self._send(206, data, {"Content-Range": f"bytes {start}-{int(start) + len(data) - 1}/{len(image)}"}, spoilt)

    def _send(self, status, data, headers, spoilt=None):
        self.send_response(status)
        for name, value in ({} if spoilt == "no-length" else {"Content-Length": str(len(data))} | headers).items():
            self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[: len(data) // 2] if spoilt == "cut" else data)
        self.close_connection = True

    def log_message(self, *_):
        """Print nothing."""


@contextmanager
def serving(image, *, tls=None, before=lambda _command, _range: None):
    server = ImageServer(image, before, tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _certificate(subject, key, issuer, issuer_key, *, ca=False, host=None):
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if host is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([host]), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _pem(folder, name, *items):
    path = folder / name
    path.write_bytes(b"".join(items))
    return path


class Authority:
    """A certificate authority in *folder*: its `ca_file`, and the server side of TLS for a host."""

    def __init__(self, folder):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._own = _certificate("test authority", self._key, None, self._key, ca=True)
        self.ca_file = _pem(folder, "ca.pem", self._own.public_bytes(Encoding.PEM))

    def context(self, host=None):
        """Return a context for a server of this name, or of the loopback address."""
        host = host or x509.IPAddress(ip_address("127.0.0.1"))
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("test server", key, self._own, self._key, host=host)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = _pem(self._folder, f"server-{time.monotonic_ns()}.pem", private, certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context
