"""Workspaces that benchmarks make with the commands of rmfab."""

from __future__ import annotations

import os
from pathlib import Path

from rmfab.cli import main


def with_batch(folder: Path, units: int) -> Path:
    """Return a new workspace in *folder*, with a CA and a batch `big` of *units*; its state is in *folder* too."""
    workspace = folder / "lamp"
    os.environ["RMFAB_STATE"] = str(folder / "state")
    for words in (
        ["-q", "init", str(workspace), "--mqtt-host", "mqtt.example.org"],
        ["-q", "-C", str(workspace), "ca", "create", "--no-passphrase"],
        ["-q", "-C", str(workspace), "generate", "--count", str(units), "--batch", "big"],
    ):
        if main(words) != 0:
            raise RuntimeError(" ".join(words))
    return workspace
