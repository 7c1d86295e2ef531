"""Station keys: make this station's, and admit a different station to the identities."""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.files import make_folder
from rmfab.identity.sealing import create_station_key, read_recipient, unwrap, wrap
from rmfab.ledger.events import timestamp
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.product.product_file import FILE_NAME
from rmfab.workspace.recipients import add_recipient
from rmfab.workspace.workspace import Workspace


@dataclass(frozen=True)
class Admission:
    """The number of data keys that were *wrapped* again, and of *recipients* of each."""

    wrapped: int
    recipients: int


def admit(workspace: Workspace, recipient: str, name: str | None = None) -> Admission:
    """Let the station with *recipient* (age1…) open all existing and future identities.

    *name*: its name in product.toml, None for the end of the recipient. Raise InputError if the recipient or name is
    not valid, StationError if this station cannot open the identities.
    """
    read_recipient(recipient)
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


def make_station_key(workspace: Workspace, terminal: Terminal = UNATTENDED) -> str:
    """Create this host's station key if there is none; return its recipient."""
    path = workspace.keys_folder / "station.key"
    if not path.exists():
        make_folder(workspace.keys_folder, secret=True)
        create_station_key(path)
        warn_of_git(terminal, "the private key", path)
    return workspace.station_key.recipient
