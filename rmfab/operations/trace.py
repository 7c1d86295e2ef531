"""Trace: the history of a unit, and the units that got a release or a signer's releases."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import is_there
from rmfab.ledger.events import EventKind, StoredEvent
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.releases import FlashedUnit
from rmfab.operations.read_ledger import ledger_to_read
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.release.opening import open_release
from rmfab.signing.publickey import load_public_key
from rmfab.workspace.workspace import Workspace

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class UnitTrace:
    """The identities of a serial, node id or MAC, including void ones, and their events in order."""

    identities: tuple[LedgerIdentity, ...]
    events: tuple[StoredEvent, ...]


def trace_unit(workspace: Workspace, unit: str, terminal: Terminal = UNATTENDED) -> UnitTrace:
    """Return the history of *unit*, a serial, node id or MAC. Raise InputError if the ledger has nothing about it."""
    ledger = ledger_to_read(workspace, terminal)
    found = UnitTrace(ledger.find(unit), ledger.history(unit))
    if not found.identities and not found.events:
        hint = workspace.ledger.hint_for_unknown(unit) or "pass a serial, a node id or a MAC"
        raise InputError(f'"{unit}" is not in the ledger', hint=hint)
    return UnitTrace(found.identities, tuple(_with_whole_path(one, workspace.root) for one in found.events))


def _with_whole_path(stored: StoredEvent, root: Path) -> StoredEvent:
    """Return the event with the whole path of its log, and `log_missing` if it is not on this host.

    The ledger has the path relative to the workspace *root*.
    """
    log = stored.event.details.get("log")
    if not isinstance(log, str) or stored.event.kind is not EventKind.UNIT:
        return stored
    path = root / log
    found = {"log": str(path)} | ({} if _is_here(path) else {"log_missing": True})
    return replace(stored, event=replace(stored.event, details={**stored.event.details, **found}))


def _is_here(path: Path) -> bool:
    try:
        return is_there(path)
    except OSError:  # a name that this host's file system does not accept
        return False


@dataclass(frozen=True)
class Recipients:
    """The *units* that were flashed with the release of *digest*, or with the releases of the signer *digest*."""

    digest: str
    units: tuple[FlashedUnit, ...]


def trace_release(workspace: Workspace, release: str, terminal: Terminal = UNATTENDED) -> Recipients:
    """Return the units that got *release*, a file or its digest. Signatures are not checked."""
    digest = _digest(release)
    return Recipients(digest, tuple(ledger_to_read(workspace, terminal).flashed_units(digest)))


def trace_signer(workspace: Workspace, signer: str, terminal: Terminal = UNATTENDED) -> Recipients:
    """Return the units that got a release signed by *signer*: a name or id of the trust file, or a .pub file."""
    key_id = _key_id(workspace, signer)
    return Recipients(key_id, tuple(ledger_to_read(workspace, terminal).flashed_units(key_id)))


def _digest(release: str) -> str:
    path = Path(release)
    if path.exists():
        return open_release(path).digest
    if not _HEX.fullmatch(release.lower()):
        raise InputError(
            "neither a file nor a digest", where=release, hint="pass a bundle, or the 64 hex digits of its digest"
        )
    return release.lower()


def _key_id(workspace: Workspace, signer: str) -> str:
    """Return the id of a key of the trust file, revoked or not, by its name or id, or of the public key in a file."""
    if Path(signer).exists():
        return load_public_key(Path(signer)).id
    trust = workspace.trust
    ids = {one.id for one in trust.meant(signer)} if trust is not None else set()
    if len(ids) > 1:
        raise InputError(f'"{signer}" matches {len(ids)} keys', hint="pass the id; `rmfab trust list` shows it")
    if not ids and not _HEX.fullmatch(signer.lower()):
        raise InputError(
            f'no key matches "{signer}"',
            hint="pass a name or 8 digits of an id from `rmfab trust list`, a .pub file, or a whole id",
        )
    return ids.pop() if ids else signer.lower()
