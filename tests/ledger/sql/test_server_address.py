"""Addresses of a ledger on a server."""

import pytest

from rmfab.errors import InputError
from rmfab.ledger.sql.server_address import ServerAddress, crosses_network


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("postgresql://h/l", "postgresql://h/l", "postgresql://h/l"),
        ("postgres://u@h:5433/l", "postgresql://u@h:5433/l", "postgresql://u@h:5433/l"),
        ("postgresql+psycopg://h/l", "postgresql://h/l", "postgresql://h/l"),
        ("postgresql://u@a,b:5433/l?sslmode=verify-full", None, "postgresql://u@a,b:5433/l"),
        ("postgresql://u@[::1]:5432/l", None, "postgresql://u@[::1]:5432/l"),
        ("postgresql:///l?host=/run/postgresql", None, "postgresql:///l?host=/run/postgresql"),
        ("postgresql://?service=rmfab", None, "postgresql://?service=rmfab"),
    ],
)
def test_addresses(text, url, shown):
    """Every form of a libpq URI is taken, whatever SQLAlchemy calls it, and shown with what tells servers apart."""
    address = ServerAddress.parse(text)
    assert address.url == (url or text)
    assert address.shown == shown


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://u:geheim@h/l",
        "postgresql://u:geheim@h,i/l?sslmode=require",
        "postgresql://:geheim@/l",
        "postgresql://h/l?password=geheim",
        "postgresql://h/l?sslmode=require&sslpassword=geheim",
        "postgresql://h/l?pass%77ord=geheim",
        "mysql://u:geheim@h/l",
        "geheim://h/l",
        "postgresql://h/l\x1b[31m",
        "postgresql:/h",
    ],
)
def test_what_is_refused(text):
    """A password, in whatever spelling, other programs' addresses, and control characters are refused, not shown."""
    with pytest.raises(InputError) as caught:
        ServerAddress.parse(text)
    assert caught.value.cause == "ledger-url"
    if text.startswith("postgresql"):
        assert "geheim" not in f"{caught.value} {caught.value.hint}"
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("hosts", "crosses"),
    [
        ("", False),
        ("/run/postgresql", False),
        ("localhost", False),
        ("127.0.0.1,::1", False),
        ("db.example", True),
        ("localhost,db", True),
    ],
)
def test_what_crosses_a_network(hosts, crosses):
    """A socket of this host and its loopback are no network."""
    assert crosses_network(hosts) == crosses
