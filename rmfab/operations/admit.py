"""Stations: the key of this one, and admitting others to the identities made so far."""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.files import make_folder
from rmfab.identity.sealing import check_recipient, create_station_key, unwrap, wrap
from rmfab.ledger.events import timestamp
from rmfab.product.product_file import FILE_NAME
from rmfab.workspace.recipients import add_recipient
from rmfab.workspace.workspace import Workspace


@dataclass(frozen=True)
class Admission:
    """How many data keys were *wrapped* again, each for so many *recipients*."""

    wrapped: int
    recipients: int


def admit(workspace: Workspace, recipient: str, name: str | None = None) -> Admission:
    """Lets the station with *recipient* (age1…) open all identities made so far, and all that are made from now on.

    *name*: what it is called in product.toml, None for the end of the recipient. Raises InputError for a recipient or
    name that cannot be, StationError where this station opens nothing itself.
    """
    check_recipient(recipient)
    product = workspace.product
    recipients = sorted({*product.recipients.values(), recipient})
    chunks = workspace.ledger.chunks() if workspace.has_ledger else iter(())
    wrapped = {chunk.id: wrap(unwrap(chunk.wrapped_key, workspace.station_key), recipients) for chunk in chunks}
    if recipient not in product.recipients.values():
        add_recipient(workspace.root / FILE_NAME, name or f"station-{recipient[-6:]}", recipient)
    if wrapped:
        workspace.ledger.rewrap(
            wrapped, recipients=recipients, station=workspace.station.name, ts=timestamp(workspace.now())
        )
    return Admission(len(wrapped), len(recipients))


def make_station_key(workspace: Workspace) -> str:
    """Makes this host's station key where it has none; returns its recipient."""
    path = workspace.keys_folder / "station.key"
    if not path.exists():
        make_folder(workspace.keys_folder, secret=True)
        create_station_key(path)
    return workspace.station_key.recipient
