"""Diagnosis of this host and workspace: what the line needs and lacks."""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.errors import RmfabError
from rmfab.line.doctor import Diagnosis, diagnose, examine
from rmfab.workspace.workspace import Workspace


def examine_host(workspace: Workspace) -> Iterator[Diagnosis]:
    """Yield every diagnosis, good or bad. Open no port."""
    yield from diagnose(examine(), workspace.station, workspace.product)
    yield _station_key(workspace)
    yield Diagnosis("the ledger", workspace.has_ledger, "`rmfab generate` creates one with the first batch")
    yield _trust(workspace)


def _station_key(workspace: Workspace) -> Diagnosis:
    try:
        return Diagnosis(f"this station's key ({workspace.station_key.recipient})", True)
    except RmfabError as error:
        return Diagnosis(f"this station's key: {error.what}", False, error.hint or "")


def _trust(workspace: Workspace) -> Diagnosis:
    """Diagnose whose releases this station accepts."""
    try:
        trust = workspace.trust
    except RmfabError as error:
        return Diagnosis(f"the trust file: {error.what}", False, error.hint or "")
    if trust is not None:
        return Diagnosis(f"the trust file, version {trust.version}, fingerprint {trust.fingerprint}", True)
    if workspace.product.release.allow_unsigned:
        return Diagnosis("unsigned releases are accepted: allow_unsigned in product.toml", True)
    return Diagnosis("a trust file, because releases must be signed", False, "`rmfab trust import` imports the owner's")
