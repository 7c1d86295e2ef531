"""AWS Signature Version 4: the headers that authorise a request.

Source: AWS General Reference, "Create a signed AWS API request" (canonical request, string to sign, signing key). The
path is encoded twice, as all services but S3 want it. botocore's SigV4Auth is the oracle of the tests.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from rmfab.secret import Secret

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class AwsCredentials:
    """Temporary credentials of AWS."""

    access_key_id: str
    secret_access_key: Secret[str]
    session_token: Secret[str]


@dataclass(frozen=True)
class Scope:
    """For which *region* and *service* a signature counts."""

    region: str
    service: str


def signed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: AwsCredentials,
    scope: Scope,
    now: datetime,
) -> dict[str, str]:
    """Return *headers* and those that sign the request: exactly these bytes as *body*, at the time *now*."""
    parts = urlsplit(url)
    moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    sent = {
        **headers,
        "X-Amz-Date": moment,
        "X-Amz-Security-Token": credentials.session_token.reveal(),
    }
    canonical = {name.lower(): " ".join(value.split()) for name, value in {**sent, "Host": parts.netloc}.items()}
    names = ";".join(sorted(canonical))
    request = "\n".join(
        (
            method,
            quote(parts.path or "/", safe="/~"),
            "&".join(sorted(parts.query.split("&"))) if parts.query else "",
            *(f"{name}:{canonical[name]}" for name in sorted(canonical)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    place = f"{moment[:8]}/{scope.region}/{scope.service}/aws4_request"
    text = f"{_ALGORITHM}\n{moment}\n{place}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(_key(credentials, moment[:8], scope), text.encode(), "sha256").hex()
    credential = f"Credential={credentials.access_key_id}/{place}"
    return {**sent, "Authorization": f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"}


def _key(credentials: AwsCredentials, day: str, scope: Scope) -> bytes:
    key = b"AWS4" + credentials.secret_access_key.reveal().encode()
    for part in (day, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
