"""Fixtures: an owner with a batch of eight, and two factories on machines of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from rmfab.cli import main
from tests.exchange.sides import Side
from tests.terminal import Terminal, copied


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The owner's workspace, which tests only copy."""
    lamp = str(tmp_path_factory.mktemp("owner") / "lamp")
    for argv in (
        ["init", lamp, "--mqtt-host", "mqtt.example.org"],
        ["-C", lamp, "ca", "create", "--no-passphrase"],
        ["-C", lamp, "generate", "--count", "8"],
    ):
        assert main(argv) == 0
    return Path(lamp)


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in an empty folder."""
    return Terminal(tmp_path, capsys, monkeypatch)


@pytest.fixture
def owner(terminal: Terminal, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Side:
    """The owner, with eight free identities."""
    return Side(terminal, copied(template, tmp_path / "lamp"), tmp_path / "owner-state", monkeypatch)


def _factory(name: str, terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Side:
    (tmp_path / name).mkdir()
    return Side(terminal, tmp_path / name, tmp_path / f"{name}-state", monkeypatch)


@pytest.fixture
def factory(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Side:
    """An empty folder on the machine of a factory."""
    return _factory("factory", terminal, tmp_path, monkeypatch)


@pytest.fixture
def rival(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Side:
    """An empty folder on the machine of a different factory."""
    return _factory("rival", terminal, tmp_path, monkeypatch)
