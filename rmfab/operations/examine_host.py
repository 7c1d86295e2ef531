"""Diagnosis of this host and workspace: what the line needs and lacks."""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.errors import RmfabError
from rmfab.line.doctor import Diagnosis, diagnose, examine
from rmfab.operations.terminal import counted
from rmfab.workspace.workspace import Workspace


def examine_host(workspace: Workspace) -> Iterator[Diagnosis]:
    """Yield every diagnosis, good or bad. Open no port."""
    yield from diagnose(examine(), workspace.station, workspace.product)
    yield _station_key(workspace)
    yield Diagnosis("the ledger", workspace.has_ledger, "`rmfab generate` creates one with the first batch")
    if workspace.has_ledger:
        yield from _batches(workspace)
    yield from _trust(workspace)


def _station_key(workspace: Workspace) -> Diagnosis:
    try:
        return Diagnosis(f"this station's key ({workspace.station_key.recipient})", True)
    except RmfabError as error:
        return Diagnosis(f"this station's key: {error.what}", False, error.hint or "")


def _batches(workspace: Workspace) -> Iterator[Diagnosis]:
    """Report if this station's key opens none of the batches."""
    try:
        recipient = workspace.station_key.recipient
        names = [batch.name for batch in workspace.ledger.batches() if batch.closed]
    except RmfabError:  # reported by other checks
        return
    if names and not any(_opens(workspace, name) for name in names):
        what = f"this key opens 0 of {counted(len(names), 'batch', 'batches')}: send the owner {recipient}"
        yield Diagnosis(what, False, f"the owner runs `rmfab station admit {recipient}`")


def _opens(workspace: Workspace, batch: str) -> bool:
    try:
        workspace.check_key(batch)
    except RmfabError:
        return False
    return True


def _trust(workspace: Workspace) -> Iterator[Diagnosis]:
    """Diagnose whose releases this station accepts."""
    unsigned = workspace.product.release.allow_unsigned
    try:
        trust = workspace.trust
    except RmfabError as error:
        yield Diagnosis(f"the trust file: {error.what}", False, error.hint or "")
        return
    if trust is not None:
        yield Diagnosis(f"the trust file, version {trust.version}, fingerprint {trust.fingerprint}", True)
        if unsigned:
            what = "a product.toml that requires signatures: it still has allow_unsigned = true"
            yield Diagnosis(what, False, "remove allow_unsigned from product.toml: there is a trust file")
        return
    if unsigned:
        yield Diagnosis("unsigned releases are accepted: allow_unsigned in product.toml", True)
        return
    yield Diagnosis("a trust file, because releases must be signed", False, "`rmfab trust import` imports the owner's")
