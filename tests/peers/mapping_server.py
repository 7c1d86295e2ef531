"""The two calls of a cloud that maps a node to a user: a challenge is drawn, then its signature is verified."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rmfab.identity.unit_signature import signed_by

TOKEN = "token-of-a-user"


@dataclass
class MappingServer:
    """The cloud at *host*. It knows nodes by *certificates* (PEM) and keeps whom it has mapped in *mapped*."""

    certificates: Mapping[str, bytes]
    host: str = ""
    challenges: dict[str, str] = field(default_factory=dict)
    mapped: list[str] = field(default_factory=list)

    def answer(self, path: str, token: str | None, told: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """The status and JSON of one call."""
        if token != TOKEN:
            return 401, {"status": "failure", "description": "Unauthorized"}
        if path == "/v1/user/nodes/mapping/initiate":
            request_id = secrets.token_urlsafe(12)
            self.challenges[request_id] = secrets.token_urlsafe(32)
            return 200, {"challenge": self.challenges[request_id], "request_id": request_id}
        if path != "/v1/user/nodes/mapping/verify":
            return 404, {"status": "failure"}
        challenge = self.challenges.pop(told["request_id"], None)
        certificate = self.certificates.get(told["node_id"])
        signature = bytes.fromhex(told["challenge_response"])
        if challenge is None or certificate is None or not signed_by(certificate, challenge.encode(), signature):
            return 400, {"status": "failure", "description": "Challenge verification failed"}
        self.mapped.append(told["node_id"])
        return 200, {"status": "success"}


@contextmanager
def mapping_server(certificates: Mapping[str, bytes]) -> Iterator[MappingServer]:
    """The cloud on loopback until the block ends."""
    cloud = MappingServer(certificates)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = cloud.answer(self.path, self.headers["Authorization"], told)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        cloud.host = f"http://127.0.0.1:{server.server_address[1]}/v1/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield cloud
        finally:
            server.shutdown()
            thread.join()
