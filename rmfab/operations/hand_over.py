"""Hand identities over to a factory, write such a file again, or declare a handover lost. The owner's side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from rmfab.errors import BatchUsedUp, InputError, IntegrityError, RmfabError, UsageError
from rmfab.exchange import handover_file
from rmfab.exchange.handover_file import HandoverDocument
from rmfab.exchange.parcel import HANDOVER
from rmfab.exchange.pending import PendingParcel, pending_parcel
from rmfab.files import read_input
from rmfab.identity.station_card import StationCard
from rmfab.ledger.events import timestamp
from rmfab.ledger.handovers import Handover, Terms
from rmfab.ledger.records import LedgerIdentity
from rmfab.operations.admit import Addressee
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.pool import hold_pool, more_identities
from rmfab.operations.reason import refuse_reason
from rmfab.operations.resealing import Resealing
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.product.product_file import FILE_NAME
from rmfab.release.bundle import Bundle
from rmfab.release.opening import open_unparsed
from rmfab.signing.fingerprint import fingerprint, is_same
from rmfab.workspace.workspace import Workspace

VALID_DAYS = 90
"""How long a handover is valid if the owner does not say it."""


@dataclass(frozen=True)
class HandoverRequest:
    """Hand over *count* identities of *batch*, None for all that are free, to the station of the card file *to*.

    *until*: None for 90 days from now. *release*: a bundle to include. *fingerprint*: that of the card, None to ask for
    it. *again*: the number of a handover to write again instead.
    """

    to: str
    output: Path
    batch: str | None = None
    count: int | None = None
    until: datetime | None = None
    release: Path | None = None
    fingerprint: str | None = None
    again: int | None = None

    def __post_init__(self) -> None:
        if (self.batch is None) == (self.again is None):
            raise UsageError("give a batch, or --again N")
        if self.count is not None and self.count < 1:
            raise UsageError("--count must be at least 1")


def hand_over(
    workspace: Workspace, request: HandoverRequest, terminal: Terminal = UNATTENDED, *, force: bool = False
) -> Handover:
    """Take identities out of the pool and write the file of the handover; return it.

    Raise InputError for a card that is not confirmed or a batch that has too few; IntegrityError if this host does not
    hold the pool. A file that could not be written leaves the pool as it was.
    """
    card = _card(workspace, request)
    hold_pool(workspace, terminal)
    if request.again is not None:
        return _again(
            workspace, card, request, workspace.ledger.exchange.handover(request.again), terminal, force=force
        )
    _confirm(workspace, card, request.fingerprint, terminal)
    interrupted = _interrupted(workspace, card, request)
    if interrupted is not None:
        terminal.say(f"handover {interrupted.number} was interrupted before its file was complete; this writes it")
        return _again(workspace, card, request, interrupted, terminal, force=force)
    try:
        return _new(workspace, card, request, terminal, force=force)
    except BatchUsedUp as error:
        raise BatchUsedUp(error.what, hint=more_identities(workspace)) from error


def owner_fingerprint(workspace: Workspace) -> str:
    """Return the fingerprint by which factories know this owner."""
    return fingerprint(workspace.ledger_key.public.der)


def lose_handover(
    workspace: Workspace, number: int, reason: str, terminal: Terminal = UNATTENDED, *, yes: bool = False
) -> int:
    """Void every identity of handover *number* that no return has mentioned; return how many.

    Raise InputError if nobody confirms it.
    """
    refuse_reason(reason)
    hold_pool(workspace, terminal)
    known = workspace.ledger.exchange.handover(number)
    what = "handover" if known.lease is None else "lease"
    question = f"Void what is still out of {what} {number} ({known.batch}, {known.terms.name}) permanently?"
    if not yes and not (terminal.interactive and terminal.confirm(question)):
        raise InputError("nothing was changed", hint="pass --yes to declare it lost without a question")
    voided = workspace.ledger.exchange.lose_handover(
        number, reason=reason, station=workspace.station.name, ts=timestamp(workspace.now())
    )
    terminal.say(f"{what} {number} is lost: {counted(voided, 'identity is', 'identities are')} void")
    return voided


def _card(workspace: Workspace, request: HandoverRequest) -> StationCard:
    card = Addressee.named(request.to).card
    if card is None:
        raise InputError(
            "a handover needs the card of the station: its returns are signed",
            where=request.to,
            hint="the station writes one with `rmfab station card -o FILE`",
            cause="station-card",
        )
    if card.recipient == workspace.station_key.recipient:
        raise InputError("this is the card of this station", where=request.to, hint="give that of the factory")
    return card


def _confirm(workspace: Workspace, card: StationCard, typed: str | None, terminal: Terminal) -> None:
    """Compare the fingerprint of a card with the one that was received over a separate channel, once for each card."""
    if typed is None:
        known = (one for one, _ in workspace.ledger.exchange.handovers() if one.lease is None)
        if any(one.terms.fingerprint == card.fingerprint for one in known):
            return
        if not terminal.interactive:
            raise InputError(
                f"the first handover to {card.name} requires the fingerprint of its card",
                hint="pass --fingerprint F, as `rmfab station card` printed it there",
                cause="fingerprint",
            )
        typed = terminal.ask(f"Fingerprint of its card that {card.name} gave you")
    if not is_same(typed, card.fingerprint):
        raise IntegrityError(
            "fingerprint does not match this card",
            where=card.name,
            hint="check for a typing error, and ask the factory whether this is the right card",
            cause="fingerprint",
        )


def _interrupted(workspace: Workspace, card: StationCard, request: HandoverRequest) -> Handover | None:
    """Return the handover that the same request began before it was killed; None if there is none."""
    for one, _ in workspace.ledger.exchange.handovers():
        same = (one.batch, one.terms.fingerprint, one.lease) == (request.batch, card.fingerprint, None)
        if same and request.count in (None, one.count) and not (one.written or one.lost or one.receiver):
            return one
    return None


def _new(
    workspace: Workspace, card: StationCard, request: HandoverRequest, terminal: Terminal, *, force: bool
) -> Handover:
    """Take identities out of the pool, and write their file."""
    batch = request.batch or ""
    workspace.check_policy(batch)
    until = request.until or workspace.now() + timedelta(days=VALID_DAYS)
    if until <= workspace.now():
        raise InputError("the validity date has passed already", where=f"{until:%Y-%m-%d}", hint="give a later --until")
    terms = Terms(card.name, card.fingerprint, card.recipient, card.signing.pem, timestamp(until))
    contents = _Contents(workspace, request.release)
    exchange, before = workspace.ledger.exchange, len(workspace.ledger.exchange.handovers())
    with pending_parcel(request.output, HANDOVER, workspace.ledger_key, force=force) as parcel:
        with parcel.recording(lambda: len(exchange.handovers()) > before):
            given = exchange.hand_over(
                batch,
                request.count,
                terms,
                station=workspace.station.name,
                ts=timestamp(workspace.now()),
                write=lambda handover, identities: contents.write(parcel, handover, identities, request.to),
            )
            parcel.publish()
        _note_written(workspace, given, request.output)
    _say(workspace, given, request.output, terminal)
    return given


def _again(
    workspace: Workspace,
    card: StationCard,
    request: HandoverRequest,
    given: Handover,
    terminal: Terminal,
    *,
    force: bool,
) -> Handover:
    """Write the file of a handover again, for the same card. Raise InputError if that is not possible any more."""
    if given.terms.fingerprint != card.fingerprint:
        raise InputError(
            f"handover {given.number} is for the station {given.terms.name}, with a different card",
            where=request.to,
            hint="declare it lost to hand over new identities to a different station",
            cause="other-recipient",
        )
    if given.lost or given.receiver is not None or given.lease is not None:
        why = "was declared lost" if given.lost else "was received: a return of it was merged"
        why = why if given.lease is None else f"is a lease of station {given.terms.name}"
        raise InputError(f"handover {given.number} {why}", hint="make a new one", cause="handed-over")
    workspace.check_policy(given.batch)
    contents = _Contents(workspace, request.release)
    with pending_parcel(request.output, HANDOVER, workspace.ledger_key, force=force) as parcel:
        with parcel.recording(lambda: True):
            contents.write(parcel, given, workspace.ledger.exchange.handed_over(given.number), request.to)
            parcel.publish()
        _note_written(workspace, given, request.output)
    _say(workspace, given, request.output, terminal)
    return given


def _note_written(workspace: Workspace, given: Handover, output: Path) -> None:
    """Record that the file is complete. If that fails, the error says that the file can be sent."""
    ts = timestamp(workspace.now())
    try:
        workspace.ledger.exchange.note_written(given.number, station=workspace.station.name, ts=ts)
    except RmfabError as error:
        note = f"the note that handover {given.number} was written"
        error.hinted(f"{output} is complete: send it; only {note} is missing")
        raise


def _say(workspace: Workspace, given: Handover, output: Path, terminal: Terminal) -> None:
    warn_of_git(terminal, "the sealed identities", output)
    terminal.say(
        f"{output}: handover {given.number}, {counted(given.count, 'identity', 'identities')} of {given.batch} for "
        f"{given.terms.name}, valid until {given.terms.until[:10]}"
    )
    terminal.say(f"your fingerprint, for their first `rmfab receive`: {owner_fingerprint(workspace)}")


class _Contents:
    """The members of a handover. What it takes from files is read before anything is handed over."""

    def __init__(self, workspace: Workspace, release: Path | None) -> None:
        self._workspace = workspace
        self._resealing = Resealing(workspace)
        self._files: dict[str, tuple[str, bytes]] = {}
        product = workspace.product
        paths = (product.factory.config, product.label.font, *(step.picture for step in product.steps))
        named = [path for path in paths if path is not None]
        for number, path in enumerate(named):
            self._files[f"file-{number:02d}"] = self._path(path), read_input(path)
        self._files[handover_file.PRODUCT] = FILE_NAME, read_input(workspace.root / FILE_NAME, "product")
        if release is not None:
            self._files[handover_file.RELEASE] = self._release(release)
        self._trust = read_input(workspace.trust_path) if workspace.trust is not None else None

    def write(self, parcel: PendingParcel, given: Handover, identities: Iterator[LedgerIdentity], to: str) -> None:
        """Write all members, and complete the parcel for the card file *to*."""
        written = 0
        for number, group in enumerate(iter(lambda: list(islice(identities, handover_file.CHUNK)), [])):
            parcel.add(handover_file.chunk_name(number), self._chunk(given, group))
            written += len(group)
        if written != given.count:
            raise InputError(f"only {written} of {given.count} identities of handover {given.number} are still out")
        names = sorted([*self._files, handover_file.OWNER])
        for name in names:
            owner = name == handover_file.OWNER
            parcel.add(name, self._workspace.ledger_key.public.pem.encode() if owner else self._files[name][1])
        if self._trust is not None:
            parcel.add(handover_file.TRUST, self._trust)
        ledger = self._workspace.ledger
        paths = {name: path for name, (path, _) in self._files.items()}
        document = HandoverDocument.of(ledger.id, ledger.batch(given.batch), given, ledger.unique_key or "", paths)
        parcel.complete(document.to_json(), f"rmfab handover --again {given.number} --to {to} -o FILE")

    def _chunk(self, given: Handover, group: list[LedgerIdentity]) -> bytes:
        """Return a chunk whose secrets only the factory station can open: under a data key of its own."""
        return handover_file.encode_chunk(*self._resealing.chunk(group, given.terms.recipient))

    def _release(self, path: Path) -> tuple[str, bytes]:
        if not isinstance(open_unparsed(path), Bundle):
            raise InputError("a handover contains a release as a bundle", where=str(path), hint="`rmfab release build`")
        same = path.resolve() == self._workspace.product.release.path
        name = self._path(path.resolve()) if same else handover_file.safe_path(path.name)
        return name, read_input(path, "release")

    def _path(self, path: Path) -> str:
        try:
            return handover_file.safe_path(path.relative_to(self._workspace.root).as_posix())
        except ValueError:
            raise InputError(
                "a handover contains only files of the workspace",
                where=str(path),
                hint=f"copy it into the workspace, and name it in {FILE_NAME} by a relative path",
                cause="path-escape",
            ) from None
