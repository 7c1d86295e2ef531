"""Peers run with `--peers` or in CI, since their environment is made for them: about 500 MB from the package index."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.environment import peers_python


@pytest.fixture(scope="session")
def peers() -> Path:
    """The interpreter that has the peers."""
    return peers_python()
