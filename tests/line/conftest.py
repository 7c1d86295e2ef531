"""A factory for every test, founded once a session and copied."""

import pytest

from tests.line.floor import copied, found


@pytest.fixture(scope="session")
def founded(tmp_path_factory):
    """An ESP32-C3 factory that no test touches."""
    return found(tmp_path_factory.mktemp("founded") / "ws")


@pytest.fixture
def factory(founded, tmp_path):
    """An ESP32-C3 factory with eight identities, for one test."""
    return copied(founded, tmp_path / "ws")
