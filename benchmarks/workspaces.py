"""Workspaces that benchmarks make with the commands of rmfab."""

from __future__ import annotations

import os
from pathlib import Path

from rmfab.cli import main


def with_batch(folder: Path, units: int, *, size: str = "0x6000") -> Path:
    """Return a new workspace in *folder*, with a CA and a batch `big` of *units*; its state is in *folder* too.

    *size*: that of a factory image.
    """
    workspace = folder / "lamp"
    os.environ["RMFAB_STATE"] = str(folder / "state")
    run("init", workspace, "--mqtt-host", "mqtt.example.org")
    product = workspace / "product.toml"
    product.write_text(product.read_text().replace("\nsize = 0x6000", f"\nsize = {size}"))
    run("-C", workspace, "ca", "create", "--no-passphrase")
    run("-C", workspace, "generate", "--count", units, "--batch", "big")
    return workspace


def run(*words: object) -> None:
    """Run a command of rmfab. Raise RuntimeError if it fails."""
    if main(["-q", *map(str, words)]) != 0:
        raise RuntimeError(" ".join(map(str, words)))
