"""Receive a handover: identities of an owner, for this station only. The factory's side."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rmfab.errors import InputError, IntegrityError, StationError
from rmfab.exchange import handover_file
from rmfab.exchange.handover_file import HandoverDocument
from rmfab.exchange.parcel import HANDOVER, Parcel, open_parcel
from rmfab.files import is_there, make_folder, read_input, write_file
from rmfab.identity.make_identities import judge_opening
from rmfab.identity.policy import differences
from rmfab.identity.sealed_record import SealedRecord
from rmfab.identity.sealing import unwrap
from rmfab.ledger.events import timestamp
from rmfab.ledger.receipts import Receipt
from rmfab.operations.change_trust import follow_trust
from rmfab.operations.pool import hold_pool
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.product.product_file import FILE_NAME, parse_product
from rmfab.signing.fingerprint import fingerprint as fingerprint_of
from rmfab.signing.fingerprint import is_same
from rmfab.signing.judge_signatures import judge_clock
from rmfab.signing.publickey import VerifyingKey
from rmfab.workspace.gitignore import ignore_secrets
from rmfab.workspace.workspace import Workspace, open_workspace


@dataclass(frozen=True)
class Received:
    """What was received: *count* identities as the batch *batch*, from handover *handover* of the pool *pool*.

    *again*: it was received before.
    """

    pool: str
    handover: int
    batch: str
    count: int
    until: str
    again: bool


def receive(
    workspace: Workspace,
    file: Path,
    terminal: Terminal = UNATTENDED,
    *,
    fingerprint: str | None = None,
    force: bool = False,
) -> Received:
    """Receive the handover *file* in the folder of *workspace*, which need not have a product.toml yet.

    The owner is known by their *fingerprint*: for the first handover the operator is asked for it, before anything
    inside is parsed. Raise IntegrityError if it is not signed by the owner, was altered, or was received elsewhere on
    this host; InputError if it is for a different station, has expired, or *force* is needed to replace a file;
    StationError if this station has no keys.
    """
    if workspace.has_ledger:
        hold_pool(workspace, terminal)
    with open_parcel(file, HANDOVER) as parcel:
        _judge_keys(workspace)
        owner = _owner(workspace, parcel, fingerprint, terminal)
        value = parcel.verify(owner)
        with parcel.judged():
            document = HandoverDocument.from_json(value)
        _judge_addressee(workspace, document, str(file))
        earlier = workspace.ledger.exchange.receipts() if workspace.has_ledger else ()
        if any(one.origin == document.origin for one in earlier):
            terminal.say(f"handover {document.origin.handover} was received here already; nothing to do")
            return _received(document, again=True)
        _judge_time(document, workspace.now(), str(file))
        if workspace.has_ledger:
            workspace.ledger.exchange.refuse_foreign(document.origin)
        parcel.verify_members()
        files = _read_files(parcel, document)
        _judge_product(workspace.root, document, files[FILE_NAME])
        _write_files(workspace.root, files, earlier, force=force)
        opened = open_workspace(workspace.root)
        _add(opened, parcel, document, owner, files, terminal)
    return _received(document, again=False)


def _judge_keys(workspace: Workspace) -> None:
    """Raise StationError if there are no keys here: a handover is for those of a card."""
    if not workspace.has_station_key:
        raise StationError(
            "there is no station key here, and a handover is for the keys of a card",
            where=str(workspace.keys_folder / "station.key"),
            hint="receive it in the folder with the keys of its card; if this station has none yet, send its card to "
            "the owner, and ask for a handover to it: `rmfab station card -o FILE` makes the keys and the card",
            cause="no-station-key",
        )


def _owner(workspace: Workspace, parcel: Parcel, typed: str | None, terminal: Terminal) -> VerifyingKey:
    """Return the key of the owner: the one that signed earlier handovers, or the one with the *typed* fingerprint."""
    key = VerifyingKey.from_pem(handover_file.owner_key(parcel), f"{parcel.where}: {handover_file.OWNER}")
    known = workspace.ledger.exchange.receipts()[-1:] if workspace.has_ledger else ()
    if typed is None and known:
        if known[0].owner != key.id:
            raise IntegrityError(
                "this handover is signed by a different key than the ones before",
                where=parcel.where,
                hint="ask the owner; if they have a new key, pass its fingerprint with --fingerprint",
                cause="unknown-signer",
            )
        return key
    if typed is None:
        if not terminal.interactive:
            raise InputError(
                "the first handover requires the fingerprint of its owner, and there is no terminal to ask on",
                where=parcel.where,
                hint="pass --fingerprint F, as `rmfab handover` printed it",
                cause="fingerprint",
            )
        typed = terminal.ask("Fingerprint that the owner of the identities gave you")
    if not is_same(typed, fingerprint_of(key.der)):
        raise IntegrityError(
            "fingerprint does not match the owner of this handover",
            where=parcel.where,
            hint="check for a typing error, and ask the owner whether this is the right file",
            cause="fingerprint",
        )
    return key


def _judge_addressee(workspace: Workspace, document: HandoverDocument, where: str) -> None:
    terms = document.terms
    ours = terms.recipient == workspace.station_key.recipient
    if not ours or VerifyingKey.from_pem(terms.signing.encode(), where).id != workspace.signing_key.public.id:
        raise InputError(
            f"this handover is for the station {terms.name} with the card {terms.fingerprint}",
            where=where,
            hint="receive it in the folder with the keys of that card, or ask the owner for one for this station",
            cause="other-recipient",
        )


def _judge_time(document: HandoverDocument, now: datetime, where: str) -> None:
    made = datetime.strptime(document.made, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    judge_clock(now, made, "this handover was made", where)
    if timestamp(now) >= document.terms.until:
        raise InputError(
            f"this handover expired on {document.terms.until[:10]}",
            where=where,
            hint="set the clock, if it is wrong; else ask the owner to declare it lost, and for a new one",
            cause="handover-expired",
        )


def _read_files(parcel: Parcel, document: HandoverDocument) -> dict[str, bytes]:
    """Return the files of a handover by their path in the workspace."""
    with parcel.judged():
        files = {path: parcel.read(name) for name, path in document.files.items()}
        if FILE_NAME not in files or len(files) != len(document.files):
            raise ValueError(f"{FILE_NAME} is missing, or two files have one path")
    return files


def _judge_product(root: Path, document: HandoverDocument, data: bytes) -> None:
    product = parse_product(data.decode("utf-8-sig"), root / FILE_NAME)
    if product.name != document.product:
        raise InputError(f'{FILE_NAME} is that of "{product.name}", not of "{document.product}"', cause="other-product")


def _write_files(root: Path, files: Mapping[str, bytes], earlier: Sequence[Receipt], *, force: bool) -> None:
    """Write the files. One that an earlier handover wrote is replaced; one that was changed since needs *force*.

    product.toml comes last: it makes the folder a workspace.
    """
    for path in sorted(files, key=lambda path: path == FILE_NAME):
        there = root / path
        written = {one.files[path] for one in earlier if path in one.files}
        untouched = is_there(there) and hashlib.sha256(read_input(there)).hexdigest() in written
        make_folder(there.parent)
        write_file(there, files[path], force=force or untouched)


def _add(
    workspace: Workspace,
    parcel: Parcel,
    document: HandoverDocument,
    owner: VerifyingKey,
    files: Mapping[str, bytes],
    terminal: Terminal,
) -> None:
    """Put the owner's trust file in force, and add the identities to the ledger."""
    odd = differences(document.policy, workspace.product)
    if odd:
        raise InputError(f"these identities do not fit {FILE_NAME}: {', '.join(odd)}", cause="policy-mismatch")
    ignore_secrets(workspace.root)
    if handover_file.TRUST in parcel.names():
        follow_trust(workspace, parcel.read(handover_file.TRUST), f"{parcel.where}: {handover_file.TRUST}", terminal)
    workspace.make_ledger()
    digests = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    envelope = parcel.envelope.encode().decode("ascii")
    receipt = Receipt(document.origin, owner.id, digests, envelope, ts=timestamp(workspace.now()))
    station = workspace.station.name
    workspace.ledger.exchange.receive(document.order, _chunks(workspace, parcel, document), receipt, station=station)
    origin = document.origin
    terminal.say(
        f"received {counted(document.count, 'identity', 'identities')} of {origin.batch} as batch {origin.local_name}, "
        f"valid until {origin.until[:10]}"
    )


def _chunks(
    workspace: Workspace, parcel: Parcel, document: HandoverDocument
) -> Iterator[tuple[bytes, Sequence[SealedRecord]]]:
    """Yield the chunks of identities; this station opens one of each, so that the line does not find out."""
    left = document.count
    for name in parcel.names("chunk-"):
        with parcel.judged():
            wrapped_key, records = handover_file.decode_chunk(parcel.read(name))
        if len(records) != min(left, handover_file.CHUNK) or not records:
            raise parcel.altered("it does not contain as many identities as it says")
        left -= len(records)
        key = unwrap(wrapped_key, workspace.station_key)
        judge_opening(records[0], key, document.origin.pool, document.origin.batch)
        yield wrapped_key, records
    if left:
        raise parcel.altered("it does not contain as many identities as it says")


def _received(document: HandoverDocument, *, again: bool) -> Received:
    origin = document.origin
    return Received(origin.pool, origin.handover, origin.local_name, document.count, origin.until, again)
