"""A host with Bluetooth and nothing else to remark, as its files show one to rmfab."""

from __future__ import annotations

from pathlib import Path

import pytest


def with_bluetooth(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process see an adapter, described in *folder*, whatever the host has: a container with a radio."""
    (folder / "sys/class/bluetooth/hci0").mkdir(parents=True)
    (folder / "run/dbus").mkdir(parents=True)
    (folder / "run/dbus/system_bus_socket").touch()
    (folder / "run/.containerenv").touch()
    monkeypatch.setattr("rmfab.line.host_facts.ROOT", folder)
