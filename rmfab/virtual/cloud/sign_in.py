"""Sign-ins: tokens that expire, and refresh tokens for new ones. The tokens are JSON Web Tokens with a made-up
signature: whoever made them knows them."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True)
class IssuedTokens:
    """The tokens of the sign-in *origin*."""

    access: str
    identity: str
    refresh: str


@dataclass
class SignIns:
    """The sign-ins of one user with a *password*; tokens are valid for *lifetime* from *now*."""

    now: Callable[[], datetime]
    user: str = "admin@example.com"
    password: str = "rehearsal"  # noqa: S105 - a cloud to rehearse with
    lifetime: timedelta = timedelta(hours=1)
    _access: dict[str, tuple[str, datetime]] = field(default_factory=dict)
    _identity: dict[str, str] = field(default_factory=dict)
    _refresh: dict[str, str] = field(default_factory=dict)

    def knows(self, user: object, password: object) -> bool:
        """Return whether *user* has this *password*."""
        return user == self.user and password == self.password

    def issue(self) -> IssuedTokens:
        """Return the tokens of a new sign-in."""
        origin = secrets.token_hex(8)
        refresh = secrets.token_urlsafe(48)
        self._refresh[refresh] = origin
        return self._tokens(origin, refresh)

    def renew(self, refresh: object) -> IssuedTokens | None:
        """Return new tokens for a refresh token, None if it is not valid."""
        origin = self._refresh.get(refresh) if isinstance(refresh, str) else None
        return None if origin is None or not isinstance(refresh, str) else self._tokens(origin, refresh)

    def refreshes(self, refresh: object) -> bool:
        """Return whether a refresh token is valid."""
        return isinstance(refresh, str) and refresh in self._refresh

    def admits(self, access: str) -> bool:
        """Return whether an access token is valid now."""
        return access in self._access and self.now() < self._access[access][1]

    def pair(self, access: str, identity: object) -> bool:
        """Return whether both tokens are of one sign-in."""
        return isinstance(identity, str) and self._identity.get(identity) == self._access[access][0]

    def revoke(self) -> None:
        """End all sign-ins: no token is valid any more."""
        self._access.clear()
        self._refresh.clear()

    def _tokens(self, origin: str, refresh: str) -> IssuedTokens:
        end = self.now() + self.lifetime
        claims = {"exp": int(end.timestamp()), "origin": origin}
        access, identity = _token(claims | {"use": "a"}), _token(claims | {"use": "i", "email": self.user})
        self._access[access] = origin, end
        self._identity[identity] = origin
        return IssuedTokens(access, identity, refresh)


def _token(claims: dict[str, object]) -> str:
    parts = ({"alg": "RS256", "kid": secrets.token_hex(4)}, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join((*texts, secrets.token_urlsafe(32)))
