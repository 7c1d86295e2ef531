"""What AWS checks on a signed request: the signature, recomputed from what arrived, its time, and the credentials.

Source: AWS General Reference, "Signature Version 4 signing process", "Troubleshooting Signature Version 4 errors".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

from rmfab.virtual.cloud.request import ApiRequest

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request,"
    r" ?SignedHeaders=(?P<names>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_SKEW = timedelta(minutes=5)


class UnsignedError(Exception):
    """A request that AWS refuses with 403; its message is AWS's."""


@dataclass(frozen=True)
class IssuedKey:
    """Temporary credentials that a cloud gave, valid until *until*."""

    secret: str
    session: str
    until: datetime


def judge_signature(request: ApiRequest, keys: dict[str, IssuedKey], region: str, service: str, now: datetime) -> None:
    """Raise UnsignedError unless *request* is signed with one of *keys* for *region* and *service*."""
    if not request.token:
        raise UnsignedError("Missing Authentication Token")
    found = _AUTHORIZATION.fullmatch(request.token)
    if found is None:
        raise UnsignedError("Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'")
    key = keys.get(found["key"])
    if key is None or request.fields.get("x-amz-security-token") != key.session:
        raise UnsignedError("The security token included in the request is invalid.")
    if (found["region"], found["service"]) != (region, service):
        raise UnsignedError(f"Credential should be scoped to a valid region and correct service: '{service}'.")
    moment = _time(request.fields.get("x-amz-date", ""), found["day"])
    names = found["names"].split(";")
    if names != sorted(set(names)) or not {"host", "x-amz-date", "x-amz-security-token"} <= set(names):
        raise UnsignedError("'Host' or 'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization.")
    expected = _signature(request, names, key.secret, f"{found['day']}/{region}/{service}/aws4_request")
    if not hmac.compare_digest(expected, found["signature"]):
        raise UnsignedError("The request signature we calculated does not match the signature you provided.")
    if moment < now - _SKEW:
        raise UnsignedError(f"Signature expired: {moment} is now earlier than {now - _SKEW}")
    if moment > now + _SKEW:
        raise UnsignedError(f"Signature not yet current: {moment} is still later than {now + _SKEW}")
    if now >= key.until:
        raise UnsignedError("The security token included in the request is expired")


def _time(text: str, day: str) -> datetime:
    try:
        moment = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise UnsignedError("Date must be in ISO-8601 'basic format'.") from None
    if text[:8] != day:
        raise UnsignedError("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date")
    return moment


def _signature(request: ApiRequest, names: list[str], secret: str, scope: str) -> str:
    parts = urlsplit(request.target)
    lines = [request.method, quote(parts.path, safe="/-_.~"), "&".join(sorted(filter(None, parts.query.split("&"))))]
    lines += [f"{name}:{' '.join(request.fields.get(name, '').split())}" for name in names]
    lines += ["", ";".join(names), hashlib.sha256(request.body).hexdigest()]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    text = "\n".join(("AWS4-HMAC-SHA256", request.fields["x-amz-date"], scope, digest))
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
