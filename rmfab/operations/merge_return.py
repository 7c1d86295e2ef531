"""Merge the return of a factory into the owner's ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rmfab.errors import InputError, IntegrityError
from rmfab.exchange.handover_file import HandoverDocument
from rmfab.exchange.parcel import HANDOVER, RETURN, Parcel, open_parcel
from rmfab.exchange.return_file import ReturnDocument, read_blocks, read_document
from rmfab.ledger.events import timestamp
from rmfab.ledger.handovers import Handover
from rmfab.ledger.merge import Merged, Returned
from rmfab.operations.pool import hold_pool
from rmfab.operations.reason import refuse_reason
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.signing import canonical
from rmfab.signing.dsse import Envelope
from rmfab.signing.publickey import VerifyingKey, short
from rmfab.workspace.workspace import Workspace

_MOST_SHOWN = 10


def merge_return(
    workspace: Workspace, file: Path, terminal: Terminal = UNATTENDED, *, dead: Sequence[str] = (), reason: str = ""
) -> tuple[ReturnDocument, Merged]:
    """Merge the return *file*; return what it says, and what it changed. Merging it again changes nothing.

    *dead*: serials of its handovers that become void here for *reason*, whatever the factory did with them.
    Raise IntegrityError, and change nothing, if it is not signed by the station of its handovers, was altered, does not
    follow the return before it, or contradicts the ledger.
    """
    if dead:
        refuse_reason(reason)
    hold_pool(workspace, terminal)
    with open_parcel(file, RETURN) as parcel:
        known = [one for one, _ in workspace.ledger.exchange.handovers()]
        proofs = dict(_proofs(workspace, parcel))
        key = _station(parcel, [*known, *proofs.values()])
        value = parcel.verify(key)
        with parcel.judged():
            document = read_document(value, parcel.envelope.payload)
        told = replace(document.told, proofs={n: one for n, one in proofs.items() if n in document.told.received})
        _judge_stations(told, {**{one.number: one for one in known}, **proofs}, key, str(file))
        parcel.verify_members("handover-")
        merged = workspace.ledger.exchange.merge(
            told,
            read_blocks(parcel, told.spans),
            station=workspace.station.name,
            ts=timestamp(workspace.now()),
            dead=dict.fromkeys(dead, reason),
        )
    _say(told, merged, terminal)
    return document, merged


def _station(parcel: Parcel, handovers: list[Handover]) -> VerifyingKey:
    """Return the key of the station that signed the return, and got a handover. Raise IntegrityError if none did."""
    signers = {one.key_id for one in parcel.envelope.signatures}
    for handover in handovers:
        key = _signing(handover)
        if key.id in signers:
            return key
    names = ", ".join(sorted(map(short, signers))) or "no one"
    raise IntegrityError(
        f"this return is signed by {names}: no station that got a handover has this key",
        where=parcel.where,
        hint="the station signs with the keys of the card that the handover was for",
        cause="unknown-signer",
    )


def _judge_stations(told: Returned, handovers: dict[int, Handover], key: VerifyingKey, where: str) -> None:
    """Raise unless *key* is that of the station of each handover that the return is about."""
    for number in told.received:
        if number not in handovers:
            raise InputError(f"there is no handover {number} in this ledger", where=where, cause="no-batch")
        if _signing(handovers[number]).id != key.id:
            raise IntegrityError(
                f"handover {number} was for a different station than the one that signed this return",
                where=where,
                hint="the station signs with the keys of the card that the handover was for",
                cause="unknown-signer",
            )


def _proofs(workspace: Workspace, parcel: Parcel) -> Iterator[tuple[int, Handover]]:
    """Yield the handovers in a return that this owner signed: a ledger that was restored may not know them any more."""
    key = workspace.ledger_key.public
    for name in parcel.places("handover-"):
        try:
            envelope = Envelope.parse(parcel.peek(name))
            signed = [one.key_id for one in envelope.signatures] == [key.id]
            if not signed or not key.verifies(envelope.signatures[0].value, envelope.signed_bytes):
                continue
            if envelope.payload_type != HANDOVER.payload_type:
                continue
            document = HandoverDocument.from_json(canonical.decode(envelope.payload))
        except (ValueError, KeyError, TypeError, AttributeError, InputError):
            continue  # what proves nothing is left aside: the document of the return is judged as a whole
        if document.origin.pool == workspace.ledger.id:
            number = document.origin.handover
            yield (
                number,
                Handover(number, document.origin.batch, document.count, document.ranges, document.terms, document.made),
            )


def _signing(handover: Handover) -> VerifyingKey:
    return VerifyingKey.from_pem(handover.terms.signing.encode(), f"handover {handover.number}")


def warn_of_quarantine(count: int, terminal: Terminal) -> None:
    """Report that *count* identities that were given back are not free."""
    were = counted(count, "identity that was given back is", "identities that were given back are")
    terminal.warn(
        f"{were} in quarantine: they left this ledger before its loss, and the lost one may have given them again",
        "make new identities instead",
    )


def _say(told: Returned, merged: Merged, terminal: Terminal) -> None:
    if merged.again:
        done = f"{merged.voided} void" if merged.voided else "nothing to do"
        terminal.say(f"return {told.number} was merged before; {done}")
        return
    parts = [counted(merged.events, "event"), counted(merged.units, "new unit")]
    parts += [counted(merged.given_back, "identity", "identities") + " given back"] if merged.given_back else []
    parts += [f"{merged.voided} void"] if merged.voided else []
    terminal.say(f"merged return {told.number}: {', '.join(parts)}")
    if merged.quarantined:
        warn_of_quarantine(merged.quarantined, terminal)
    if merged.kept:
        shown = ", ".join(merged.kept[:_MOST_SHOWN]) + (", …" if len(merged.kept) > _MOST_SHOWN else "")
        terminal.warn(
            f"kept as they are here, because they were worked on here since: {shown}",
            "`rmfab trace SERIAL` shows what the factory did to them",
        )
