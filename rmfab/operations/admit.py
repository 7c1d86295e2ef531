"""Station keys: make this station's, show them on its card, and admit a different station to the identities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rmfab.files import make_folder, write_file
from rmfab.identity.sealing import create_station_key, read_recipient, unwrap, wrap
from rmfab.identity.station_card import StationCard, load_card
from rmfab.ledger.events import timestamp
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.product.product_file import FILE_NAME
from rmfab.workspace.recipients import add_recipient, bare_key
from rmfab.workspace.workspace import Workspace


@dataclass(frozen=True)
class Admission:
    """The *recipient* that was admitted, the number of data keys that were *wrapped* again, and of *recipients* of
    each."""

    recipient: str
    wrapped: int
    recipients: int


@dataclass(frozen=True)
class Addressee:
    """The station that `--to` and `admit` name: its *recipient*, and its *card* if a file was given."""

    recipient: str
    card: StationCard | None = None

    @classmethod
    def named(cls, text: str) -> Addressee:
        """Return the station of a card file, or of an age recipient. Raise InputError."""
        if not text or text.strip().lower().startswith(("age1", "age-secret-key")):
            return cls(read_recipient(text))
        card = load_card(Path(text))
        return cls(card.recipient, card)


def admit(workspace: Workspace, station: str, name: str | None = None) -> Admission:
    """Let *station*, named by its card file or recipient (age1…), open all existing and future identities.

    *name*: its name in product.toml, None for the one on the card, or if that is taken the end of the recipient. Raise
    InputError if the station or name is not valid, StationError if this station cannot open the identities.
    """
    to = Addressee.named(station)
    recipient, product = to.recipient, workspace.product
    known = {*product.recipients.values(), recipient}
    chunks = tuple(workspace.ledger.chunks()) if workspace.has_ledger else ()
    if chunks:  # those of a handover are sealed for the station of its card, which product.toml does not name
        known.add(workspace.station_key.recipient)
    recipients = sorted(known)
    wrapped = {chunk.id: wrap(unwrap(chunk.wrapped_key, workspace.station_key), recipients) for chunk in chunks}
    if recipient not in product.recipients.values():
        on_card = bare_key(to.card.name) if to.card is not None else ""
        default = on_card if on_card and on_card not in product.recipients else f"station-{recipient[-6:]}"
        add_recipient(workspace.root / FILE_NAME, name or default, recipient)
    if wrapped:
        workspace.ledger.rewrap(
            wrapped, recipients=recipients, station=workspace.station.name, ts=timestamp(workspace.now())
        )
    return Admission(recipient, len(wrapped), len(recipients))


def make_station_key(workspace: Workspace, terminal: Terminal = UNATTENDED) -> StationCard:
    """Create what is missing of this host's station keys, one to open identities and one to sign; return its card."""
    path = workspace.keys_folder / "station.key"
    if not path.exists():
        make_folder(workspace.keys_folder, secret=True)
        create_station_key(path)
        warn_of_git(terminal, "the private key", path)
    return StationCard(workspace.station.name, workspace.station_key.recipient, workspace.signing_key.public)


def write_card(
    workspace: Workspace, output: Path, terminal: Terminal = UNATTENDED, *, force: bool = False
) -> StationCard:
    """Write this station's card to *output*; its keys are made if they are missing."""
    card = make_station_key(workspace, terminal)
    write_file(output, card.content, force=force)
    return card
