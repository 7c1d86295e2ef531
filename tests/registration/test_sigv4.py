"""SigV4: the client's signatures, and what the virtual cloud checks, against botocore and AWS's example."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from rmfab.cloud.api.sigv4 import AwsCredentials, Scope, signed
from rmfab.secret import Secret
from rmfab.virtual.cloud.aws_signature import IssuedKey, UnsignedError, judge_signature
from rmfab.virtual.cloud.request import ApiRequest

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
KEY = AwsCredentials("ASIAEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"), Secret("session//token=="))
ISSUED = {
    KEY.access_key_id: IssuedKey(
        KEY.secret_access_key.reveal(), KEY.session_token.reveal(), datetime.max.replace(tzinfo=UTC)
    )
}
SCOPE = Scope("eu-central-1", "execute-api")
JSON = {"Content-Type": "application/json"}

segments = st.text("abcXYZ019-_.~%2F :@", min_size=1, max_size=12).filter(lambda part: set(part) != {"."})
paths = st.lists(segments, max_size=4).map(
    lambda parts: "/prod/v1/" + "/".join(part.replace("%", "%25").replace(" ", "%20") for part in parts)
)
queries = st.lists(st.tuples(st.sampled_from("abcz"), st.text("abc019-_.~", max_size=6)), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)


def by_botocore(method: str, url: str, body: bytes) -> str:
    """The `Authorization` that botocore adds."""
    request = AWSRequest(method, url, headers=dict(JSON), data=body)
    credentials = Credentials(KEY.access_key_id, KEY.secret_access_key.reveal(), KEY.session_token.reveal())
    with patch("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None)):
        SigV4Auth(credentials, SCOPE.service, SCOPE.region).add_auth(request)
    return str(request.headers["Authorization"])


@given(st.sampled_from(["GET", "POST", "PUT"]), paths, queries, st.binary(max_size=50))
def test_as_botocore_signs(method: str, path: str, query: str, body: bytes) -> None:
    """The client's signature is that of botocore, and the virtual cloud accepts both."""
    url = f"https://api.example.com:8443{path}" + (f"?{query}" if query else "")
    headers = signed(method, url, JSON, body, KEY, SCOPE, NOW)
    assert headers["Authorization"] == by_botocore(method, url, body)
    judge_signature(arrived(method, url, headers, body), ISSUED, *_scope(), NOW)


def _scope() -> tuple[str, str]:
    return SCOPE.region, SCOPE.service


def arrived(method: str, url: str, headers: dict[str, str], body: bytes) -> ApiRequest:
    """The request as the server sees it."""
    target = url.removeprefix("https://api.example.com:8443")
    fields = {name.lower(): value for name, value in headers.items()} | {"host": "api.example.com:8443"}
    return ApiRequest(method, target, fields, body)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"authorization": ""}, "Missing Authentication Token"),
        ({"authorization": "Bearer abc"}, "Authorization header requires"),
        ({"x-amz-date": "20261127T120000Z"}, "does not match YYYYMMDD"),
        ({"x-amz-date": "20261129T120001Z"}, "signature we calculated does not match"),
        ({"x-amz-security-token": "other"}, "security token included in the request is invalid"),
        ({"host": "elsewhere.example"}, "signature we calculated does not match"),
        ({"content-type": "text/plain"}, "signature we calculated does not match"),
    ],
)
def test_what_is_refused(change: dict[str, str], told: str) -> None:
    """A request that was changed after it was signed is refused, with the message of AWS."""
    url = "https://api.example.com:8443/prod/v1/x"
    request = arrived("POST", url, signed("POST", url, JSON, b"{}", KEY, SCOPE, NOW), b"{}")
    changed = ApiRequest(request.method, request.target, {**request.fields, **change}, request.body)
    judge_signature(request, ISSUED, *_scope(), NOW)
    with pytest.raises(UnsignedError, match=told):
        judge_signature(changed, ISSUED, *_scope(), NOW)


@pytest.mark.parametrize(
    ("region", "service", "days", "told"),
    [
        ("us-east-1", "execute-api", 0, "scoped to a valid region"),
        ("eu-central-1", "iot", 0, "scoped to a valid region"),
        ("eu-central-1", "execute-api", 2, "Signature expired"),
        ("eu-central-1", "execute-api", -2, "Signature not yet current"),
    ],
)
def test_a_different_scope_or_time(region: str, service: str, days: int, told: str) -> None:
    """A signature counts for one region, one service and five minutes."""
    url = "https://api.example.com:8443/prod/v1/x"
    request = arrived("POST", url, signed("POST", url, JSON, b"{}", KEY, SCOPE, NOW), b"{}")
    with pytest.raises(UnsignedError, match=told):
        judge_signature(request, ISSUED, region, service, NOW + timedelta(days=days))


def test_another_body() -> None:
    """The body is signed."""
    url = "https://api.example.com:8443/prod/v1/x"
    request = arrived("POST", url, signed("POST", url, JSON, b"{}", KEY, SCOPE, NOW), b'{"a":1}')
    with pytest.raises(UnsignedError, match="does not match"):
        judge_signature(request, ISSUED, *_scope(), NOW)
