"""Where a ledger of a test is: in a file, and in a database of a real server. Every rule holds in both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rmfab.ledger.host import STATE_ENVIRONMENT
from rmfab.ledger.store import Ledger
from tests.ledger.workshop import FILE, fresh
from tests.postgres import databases, server

__all__ = ["databases", "server"]


@pytest.fixture(autouse=True)
def _state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host of its own for each test: the ledgers of all tests have the same series of serials."""
    monkeypatch.setenv(STATE_ENVIRONMENT, str(tmp_path_factory.mktemp("state")))


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.peers)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where a new ledger may be made: a path, then the address of a database."""
    if request.param == "sqlite":
        return tmp_path / FILE
    databases: Callable[[], str] = request.getfixturevalue("databases")
    return databases()


@pytest.fixture
def make_fresh(place: Path | str) -> Iterator[Callable[[int], Ledger]]:
    """Return a function that makes a ledger with one closed batch of a size; the ledgers are closed at the end."""
    made = []

    def make(size: int) -> Ledger:
        made.append(fresh(place, size))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()
