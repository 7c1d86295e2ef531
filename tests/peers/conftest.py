"""Peers run with `--peers` or in CI, since their environment is made for them: about 500 MB from the package index."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.environment import peers_python, wanted


@pytest.fixture(scope="session")
def peers(pytestconfig: pytest.Config) -> Path:
    """The interpreter that has the peers."""
    if not wanted(pytestconfig):
        pytest.skip("peers run with --peers or CI=true")
    return peers_python()
