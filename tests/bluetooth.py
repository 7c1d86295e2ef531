"""A host with Bluetooth, as sysfs and the system bus show one to rmfab."""

from __future__ import annotations

from pathlib import Path

import pytest


def with_bluetooth(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process see an adapter, described in *folder*, whatever the host has."""
    (folder / "hci0").mkdir()
    monkeypatch.setattr("rmfab.line.doctor._BLUETOOTH", folder)
    monkeypatch.setattr("rmfab.line.doctor._SYSTEM_BUS", folder)
