"""Diagnosis of this host and workspace: what the line needs and lacks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from rmfab.errors import RmfabError
from rmfab.line.doctor import Diagnosis, diagnose, diagnose_ports, examine
from rmfab.line.station import Station, host_station
from rmfab.operations.terminal import counted
from rmfab.workspace.workspace import Workspace, find_workspace, open_workspace

T = TypeVar("T")


def examine_host(folder: Path | None) -> Iterator[Diagnosis]:
    """Yield every diagnosis of the host and of the workspace in *folder*, good or bad. Open no port.

    What cannot be read is a diagnosis too. Raise InputError only if there is no workspace.
    """
    root = find_workspace(folder)
    wrong: list[Diagnosis] = []
    workspace = _tried(lambda: open_workspace(root), "product.toml", wrong)
    yield from wrong
    if workspace is None:
        yield from diagnose_ports(examine(), host_station())
        return
    yield from _host(workspace)
    yield from _files(workspace)


def _host(workspace: Workspace) -> Iterator[Diagnosis]:
    """Diagnose the host, as far as station.toml can be read."""
    wrong: list[Diagnosis] = []
    station: Station | None = _tried(lambda: workspace.station, "station.toml", wrong)
    yield from wrong
    yield from diagnose(examine(), station or host_station(), workspace.product)


def _files(workspace: Workspace) -> Iterator[Diagnosis]:
    """Diagnose what the workspace must contain, and whether the line can write there."""
    wrong: list[Diagnosis] = []
    for folder in (workspace.root, workspace.root / "logs"):
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
            hint = "run rmfab as the user who owns it, or get write access"
            yield Diagnosis(f"no permission to write to {folder}", False, hint)
    key = _tried(lambda: workspace.station_key, "this station's key", wrong)
    if key is not None:
        yield Diagnosis(f"this station's key ({key.recipient})", True)
    yield from _ledger(workspace, wrong)
    yield from wrong
    yield from _trust(workspace)


def _ledger(workspace: Workspace, wrong: list[Diagnosis]) -> Iterator[Diagnosis]:
    if not workspace.has_ledger:
        yield Diagnosis("the ledger", False, "`rmfab generate` creates one with the first batch")
        return
    ledger = _tried(lambda: workspace.ledger, "the ledger", wrong)
    if ledger is None:
        return
    read_only = ledger.caveat
    what = "the ledger" if read_only is None else f"the ledger: {read_only}"
    yield Diagnosis(what, read_only is None, "get write access to it and its folder")
    yield from _batches(workspace)


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
    wrong: list[Diagnosis] = []
    trust = _tried(lambda: workspace.trust, "the trust file", wrong)
    if wrong:
        yield from wrong
    elif trust is not None:
        yield Diagnosis(f"the trust file, version {trust.version}, fingerprint {trust.fingerprint}", True)
        if workspace.product.release.allow_unsigned:
            what = "a product.toml that requires signatures: it still has allow_unsigned = true"
            yield Diagnosis(what, False, "remove allow_unsigned from product.toml: there is a trust file")
    elif workspace.product.release.allow_unsigned:
        yield Diagnosis("unsigned releases are accepted: allow_unsigned in product.toml", True)
    else:
        hint = "`rmfab trust import` imports the owner's"
        yield Diagnosis("a trust file, because releases must be signed", False, hint)


def _tried(work: Callable[[], T], what: str, wrong: list[Diagnosis]) -> T | None:
    """Return the result of *work*; if it fails, add a diagnosis of *what* for each complaint, and return None."""
    try:
        return work()
    except RmfabError as error:
        wrong += [Diagnosis(f"{what}: {_why(one, error)}", False, one.hint or "") for one in error.complaints]
    except OSError as error:
        wrong.append(
            Diagnosis(f"{what}: {error.filename}: {(error.strerror or '').lower()}", False, "check permissions")
        )
    return None


def _why(one: RmfabError, error: RmfabError) -> str:
    """Return the reason, with its place if there are several."""
    return str(one) if len(error.complaints) > 1 else one.what
