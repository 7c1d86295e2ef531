"""The environment of the peers: `.venv-peers`, made by `./dev peers` when needed, and kept."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("cli_driver.py")
_MAKING_SECONDS = 900


def peers_python() -> Path:
    """The interpreter of the peers, made up to date first."""
    made = subprocess.run([ROOT / "dev", "peers"], capture_output=True, text=True, timeout=_MAKING_SECONDS)
    assert made.returncode == 0, made.stderr
    return Path(made.stdout.strip())


def call_cli(python: Path, logs: Path, do: str, **request: Any) -> dict[str, Any]:
    """What esp-rainmaker-cli says to one request of `cli_driver.py`; it is repeated where its luck was out."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(logs), "RMAKER_CLI_LOG_DIR": str(logs)}
    for _ in range(4):
        text = json.dumps({"do": do, **request})
        command = [python, "-W", "ignore", DRIVER]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=PATIENCE, env=environment)
        assert done.returncode == 0, done.stderr
        said: dict[str, Any] = json.loads(done.stdout)
        if "unlucky" not in said:
            return said
    raise AssertionError("four unlucky draws in a row are no luck")
