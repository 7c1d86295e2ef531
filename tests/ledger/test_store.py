"""Opening a ledger, and sharing it between threads."""

import sys
import threading

import pytest

from rmfab.errors import InputError
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import STATION, claim, fresh, now


def test_a_ledger_is_made_once_and_stays_itself(place):
    """Opening a ledger again, even with create, returns the same ledger."""
    with Ledger.open(place, create=True) as one:
        made = one.id
    for create in (True, False):
        with Ledger.open(str(place), create=create) as two:
            assert two.id == made


@pytest.mark.parametrize(
    "url", ["sqlite:///x", "http://host/db", "postgresql://u:geheim@h/d", "postgresql://h/d?password=geheim"]
)
def test_what_is_no_address_of_a_ledger(url):
    """A URL of something else is refused, and one with a password, which is not repeated."""
    with pytest.raises(InputError) as caught:
        Ledger.open(url, create=True)
    assert caught.value.cause == "ledger-url"
    assert "geheim" not in f"{caught.value} {caught.value.hint}"


def test_a_server_needs_psycopg(monkeypatch):
    """Without the extra, the address of a server is an error that says what to install; files need no driver."""
    for name in [name for name in sys.modules if name.startswith(("psycopg", "rmfab.ledger.sql.postgres"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(InputError) as caught:
        Ledger.open("postgresql://h/l", create=False)
    assert caught.value.cause == "no-psycopg"
    assert "[postgres]" in str(caught.value.hint)


def test_threads_share_one_ledger(place):
    """With one thread per slot, all at once, each board gets its own identity."""
    with fresh(place, size=48) as ledger:
        given: list[str] = []

        def slot(number):
            for turn in range(6):
                identity = claim(ledger, number * 100 + turn).identity
                ledger.record(STATION, [Event(now(), EventKind.STEP, serial=identity.serial, step="flash")])
                given.append(identity.serial)

        threads = [threading.Thread(target=slot, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(given) == [f"LMP-{n:06d}" for n in range(1, 49)]
        assert ledger.check() == ()
