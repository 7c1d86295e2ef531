"""Tokens of a sign-in: how long they are valid, and the file that keeps them between runs.

The file is in the state folder of the host, outside every workspace, with mode 0600. It has no password.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rmfab.errors import RmfabError
from rmfab.files import make_folder, read_input, write_file
from rmfab.json_text import parse_json
from rmfab.privacy import refuse_loose
from rmfab.secret import Secret

_MARGIN = timedelta(minutes=1)
_MOST_BYTES = 1 << 16
_NAMES = ("access", "identity", "refresh")


@dataclass(frozen=True)
class Tokens:
    """The tokens of one sign-in: for requests, of the user's identity, and for new ones of these two."""

    access: Secret[str]
    identity: Secret[str]
    refresh: Secret[str]

    def renewed(self, access: str, identity: str) -> Tokens:
        """Return the tokens after a refresh, which brings no new refresh token."""
        return replace(self, access=Secret(access), identity=Secret(identity))

    def valid(self, now: datetime) -> bool:
        """Return whether the access token is valid for another minute; so is one that does not tell its end."""
        end = expiry(self.access.reveal())
        return end is None or now + _MARGIN < end


@dataclass(frozen=True)
class Account:
    """Who signs in: *user*, with *password*, which is asked for only if it is needed; *tokens* keeps the sign-in."""

    user: str
    password: Callable[[], Secret[str]]
    tokens: TokenFile


@dataclass(frozen=True)
class TokenFile:
    """The tokens of one user of one deployment, in the file *path*."""

    path: Path

    @classmethod
    def of(cls, state: Path, api: str, user: str) -> TokenFile:
        """Return the file for *user* at *api* in the folder *state* of the host."""
        name = hashlib.sha256(f"{api}\n{user}".encode()).hexdigest()[:32]
        return cls(state / "cloud" / f"{name}.tokens")

    def load(self) -> Tokens | None:
        """Return the tokens, None if there are none. Raise InputError if other users of this host can read them."""
        if not self.path.exists():
            return None
        refuse_loose(self.path, "token file")
        try:
            found = parse_json(read_input(self.path, "token file", most=_MOST_BYTES))
        except ValueError:
            return None
        if not isinstance(found, dict) or not all(isinstance(found.get(name), str) for name in _NAMES):
            return None
        return Tokens(*(Secret(found[name]) for name in _NAMES))

    def save(self, tokens: Tokens) -> None:
        """Keep *tokens*. Raise InputError or StationError if the file cannot be written."""
        make_folder(self.path.parent, secret=True)
        text = json.dumps({name: getattr(tokens, name).reveal() for name in _NAMES})
        write_file(self.path, text.encode(), secret=True, force=True)

    def forget(self) -> None:
        """Remove the tokens."""
        with suppress(OSError, RmfabError):
            self.path.unlink(missing_ok=True)


def expiry(token: str) -> datetime | None:
    """Return when a JSON Web Token ends, None if it does not tell (RFC 7519). The server checks its signature."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        value = parse_json(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        end = value.get("exp") if isinstance(value, dict) else None
        return datetime.fromtimestamp(float(end), UTC) if isinstance(end, (int, float)) else None
    except (ValueError, OverflowError, OSError):
        return None
