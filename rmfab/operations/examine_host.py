"""What this host and workspace lack for the line."""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.errors import RmfabError
from rmfab.line.doctor import Diagnosis, diagnose, examine
from rmfab.workspace.workspace import Workspace


def examine_host(workspace: Workspace) -> Iterator[Diagnosis]:
    """Everything that was looked at, good or not. Opens no port."""
    yield from diagnose(examine(), workspace.station, workspace.product)
    yield _station_key(workspace)
    yield Diagnosis("the ledger", workspace.has_ledger, "`rmfab generate` begins one with the first batch")
    yield _trust(workspace)


def _station_key(workspace: Workspace) -> Diagnosis:
    try:
        return Diagnosis(f"this station's key ({workspace.station_key.recipient})", True)
    except RmfabError as error:
        return Diagnosis(f"this station's key: {error.what}", False, error.hint or "")


def _trust(workspace: Workspace) -> Diagnosis:
    """Whose releases this station takes."""
    try:
        trust = workspace.trust
    except RmfabError as error:
        return Diagnosis(f"the trust file: {error.what}", False, error.hint or "")
    if trust is not None:
        return Diagnosis(f"the trust file, version {trust.version}, fingerprint {trust.fingerprint}", True)
    if workspace.product.release.allow_unsigned:
        return Diagnosis("releases are flashed unsigned: allow_unsigned in product.toml", True)
    return Diagnosis("a trust file: releases must be signed", False, "`rmfab trust import` takes the owner's")
