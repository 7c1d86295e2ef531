"""The address of a ledger on a PostgreSQL server: a URL as libpq understands it, without a password.

Source: postgresql.org/docs/15/libpq-connect.html, "Connection URIs". The password comes from libpq's password file
(PGPASSFILE, by default ~/.pgpass) or service file, never from the URL: URLs end up in shell histories and lists of
processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from rmfab.errors import InputError, one_line

_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_SECRETS = ("password", "sslpassword")
_HINT = "such as postgresql://rmfab@db.factory.example/rmfab; libpq's parameters may follow after ?"


@dataclass(frozen=True)
class ServerAddress:
    """An address: the *url* for libpq, how it is *shown*, and libpq's *parameters* in it."""

    url: str
    shown: str
    parameters: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address in *text*. Raise InputError if it is not one, or contains a password."""
        from urllib.parse import parse_qsl

        scheme, separator, rest = text.partition("://")
        if not separator or scheme not in _SCHEMES or not rest.isprintable():
            raise InputError(
                "not the address of a PostgreSQL server", where=_scheme(scheme), hint=_HINT, cause="ledger-url"
            )
        place, _, query = rest.partition("?")
        parameters = dict(parse_qsl(query, keep_blank_values=True))
        authority, slash, database = place.partition("/")
        user, at, hosts = authority.rpartition("@")
        if ":" in user or any(name in parameters for name in _SECRETS):
            raise InputError(
                "a password does not belong in the address of the ledger",
                where=f"postgresql://{hosts}{slash}{database}",
                hint="put it into libpq's password file (PGPASSFILE, by default ~/.pgpass, mode 0600) or service file",
                cause="ledger-url",
            )
        return cls(
            f"postgresql://{rest}",
            one_line(f"postgresql://{user}{at}{hosts}{slash}{database}{_host_of(parameters)}"),
            parameters,
        )


def crosses_network(hosts: str) -> bool:
    """Return whether a server at *hosts* (libpq's parameter) may be on a different host: not a socket in the file
    system, not this host's loopback."""
    return any(host and not host.startswith(("/", "@")) and host not in _LOCAL for host in hosts.split(","))


_LOCAL = ("localhost", "127.0.0.1", "::1")


def is_url(location: object) -> bool:
    """Return whether *location* is a URL, not a path."""
    return "://" in str(location)


def _host_of(parameters: Mapping[str, str]) -> str:
    """Return the parameters that say which server it is."""
    named = [f"{name}={parameters[name]}" for name in ("host", "port", "dbname", "service") if name in parameters]
    return f"?{'&'.join(named)}" if named else ""


def _scheme(text: str) -> str:
    return one_line(text, 30) + "://…"
