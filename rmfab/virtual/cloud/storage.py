"""Presigned uploads, as Amazon S3 takes them: each URL is for one object, for a while, and for one method.

Source: Amazon S3 API reference, PutObject; "Authenticating Requests: Using Query Parameters". A request with
`Authorization` besides the signature of its URL is refused, and so is one without a length. Real URLs may be used until
they expire; one that signs `If-None-Match: *` writes only what does not exist, so a second use is refused here, too.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

from rmfab.virtual.cloud.request import ApiAnswer, ApiRequest

PREFIX = "/storage/"
_VALID = timedelta(minutes=10)
_TYPE = "application/octet-stream"


@dataclass
class Storage:
    """Objects by key. *now* is the clock; *once*: URLs sign that nothing is overwritten."""

    now: Callable[[], datetime]
    once: bool
    objects: dict[str, bytes] = field(default_factory=dict)
    _open: dict[str, tuple[str, datetime]] = field(default_factory=dict)

    def presign(self, base: str, key: str) -> str:
        """Return the URL for one upload of *key*."""
        signature = secrets.token_hex(32)
        self._open[key] = signature, self.now() + _VALID
        signed = "host;if-none-match" if self.once else "host"
        query = {"X-Amz-Expires": "600", "X-Amz-SignedHeaders": signed, "X-Amz-Signature": signature}
        return f"{base}{PREFIX}{key}?{urlencode(query)}"

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """Store the body of a PUT with a presigned URL."""
        if request.method != "PUT":
            return _error(405, "MethodNotAllowed")
        if request.token:
            return _error(400, "InvalidArgument", "Only one auth mechanism allowed")
        if "content-length" not in request.fields:
            return _error(411, "MissingContentLength")
        key = request.path.removeprefix(PREFIX)
        signature, until = self._open.get(key, ("", self.now()))
        if not signature or not hmac.compare_digest(signature, request.query.get("X-Amz-Signature", "")):
            return _error(403, "SignatureDoesNotMatch")
        if self.now() >= until:
            return _error(403, "AccessDenied", "Request has expired")
        if self.once and request.fields.get("if-none-match") != "*":
            return _error(403, "SignatureDoesNotMatch", "if-none-match is signed")
        if request.fields.get("content-type") != _TYPE:
            return _error(403, "SignatureDoesNotMatch", "content-type")
        if key in self.objects:
            return _error(412, "PreconditionFailed")
        self.objects[key] = request.body
        return ApiAnswer(200)


def _error(status: int, code: str, told: str = "") -> ApiAnswer:
    return ApiAnswer(status, text=f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{told}</Message></Error>")
