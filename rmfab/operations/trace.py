"""What happened: to a unit, or where a release or a signer's releases went."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.ledger.events import StoredEvent
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.releases import FlashedUnit
from rmfab.release.opening import open_release
from rmfab.signing.publickey import load_public_key
from rmfab.workspace.workspace import Workspace

_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class UnitTrace:
    """The identities that a name names, void ones too, and their events in order."""

    identities: tuple[LedgerIdentity, ...]
    events: tuple[StoredEvent, ...]


def trace_unit(workspace: Workspace, unit: str) -> UnitTrace:
    """Everything that happened to *unit*, a serial, node id or MAC. Raises InputError where there is nothing."""
    found = UnitTrace(workspace.ledger.find(unit), workspace.ledger.history(unit))
    if not found.identities and not found.events:
        raise InputError(f'nothing in the ledger is called "{unit}"', hint="give a serial, a node id or a MAC")
    return found


@dataclass(frozen=True)
class Recipients:
    """The *units* that were flashed with what *digest* names: a release, or the releases of a signer."""

    digest: str
    units: tuple[FlashedUnit, ...]


def trace_release(workspace: Workspace, release: str) -> Recipients:
    """The units that got *release*, a file or the digest of one; nobody's signature is asked for."""
    digest = _digest(release)
    return Recipients(digest, tuple(workspace.ledger.flashed_units(digest)))


def trace_signer(workspace: Workspace, signer: str) -> Recipients:
    """The units that got a release signed by *signer*: a name or id of the trust file, or a .pub."""
    key_id = _key_id(workspace, signer)
    return Recipients(key_id, tuple(workspace.ledger.flashed_units(key_id)))


def _digest(release: str) -> str:
    path = Path(release)
    if path.exists():
        return open_release(path).digest
    if not _HEX.fullmatch(release.lower()):
        raise InputError(
            "there is no such file, and it is no digest", where=release, hint="a bundle, or the 64 hex digits of one"
        )
    return release.lower()


def _key_id(workspace: Workspace, signer: str) -> str:
    """The id of a key by its name or id in the trust file, revoked or not, or of the public key in a file."""
    if Path(signer).exists():
        return load_public_key(Path(signer)).id
    trust = workspace.trust
    ids = {one.id for one in trust.meant(signer)} if trust is not None else set()
    if len(ids) > 1:
        raise InputError(f'"{signer}" names {len(ids)} keys', hint="give the id; `rmfab trust list` shows it")
    if not ids and not _HEX.fullmatch(signer.lower()):
        raise InputError(
            f'no key is called "{signer}" here',
            hint="a name or 8 digits of an id of `rmfab trust list`, a .pub, or a whole id",
        )
    return ids.pop() if ids else signer.lower()
