"""Fixtures: a terminal, and workspaces that are made once per session and copied for every test."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rmfab.cli import main
from tests.bluetooth import with_bluetooth
from tests.postgres import databases, server
from tests.terminal import Terminal, copied

__all__ = ["databases", "server"]


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Workspaces that tests only copy: `lamp` with a CA and a batch lamp-0001 of three, `fan` for self claiming."""
    root = tmp_path_factory.mktemp("workshop")
    settings = {
        name: os.environ.pop(name) for name in list(os.environ) if name.startswith("RMFAB_") and name != "RMFAB_STATE"
    }
    lamp, fan = str(root / "lamp"), str(root / "fan")
    for argv in (
        ["init", lamp, "--mqtt-host", "mqtt.example.org"],
        ["-C", lamp, "ca", "create", "--no-passphrase"],
        ["-C", lamp, "generate", "--count", "3"],
        ["init", fan, "--cloud-claim"],
    ):
        assert main(argv) == 0
    os.environ.update(settings)
    return root


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in an empty folder."""
    return Terminal(tmp_path, capsys, monkeypatch)


@pytest.fixture(autouse=True)
def _radio(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with Bluetooth, whatever this one has."""
    with_bluetooth(tmp_path_factory.mktemp("bluetooth"), monkeypatch)


@pytest.fixture
def lamp(workshop: Path, tmp_path: Path) -> Path:
    """A copy of the workspace with a CA and a batch of three."""
    return copied(workshop / "lamp", tmp_path / "lamp")


@pytest.fixture
def fan(workshop: Path, tmp_path: Path) -> Path:
    """A copy of the workspace without a batch, for a product that uses self claiming."""
    return copied(workshop / "fan", tmp_path / "fan")
