"""A factory for every test, made once per session and copied."""

import os

import pytest

from tests.bluetooth import with_bluetooth
from tests.line.floor import copied, found


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch, tmp_path):
    """Keep the user's configuration and environment out of the tests."""
    for name in [name for name in os.environ if name.startswith("RMFAB_") and name != "RMFAB_STATE"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(autouse=True)
def _radio(tmp_path_factory, monkeypatch):
    """A host with Bluetooth, whatever this one has."""
    with_bluetooth(tmp_path_factory.mktemp("bluetooth"), monkeypatch)


@pytest.fixture(scope="session")
def founded(tmp_path_factory):
    """An ESP32-C3 factory that no test changes."""
    return found(tmp_path_factory.mktemp("founded") / "ws")


@pytest.fixture
def factory(founded, tmp_path):
    """An ESP32-C3 factory with eight identities, for one test."""
    return copied(founded, tmp_path / "ws")
