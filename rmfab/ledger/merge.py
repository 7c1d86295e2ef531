"""The owner's side of a return: the chains of a factory's ledger become evidence in this one, and change its units.

The events of the factory are kept as they are, in their own chains, from the heads of the return before: nothing can be
left out or changed in between. They change no standing by themselves. For every unit that they touch, this ledger adds
an event of its own (kind `merge`) with the standing that follows; so the history of a unit is whole, and what counts is
what the owner took over. A unit that the owner worked on since is evidence only.

What is given back is free here, unless this ledger was adopted after a loss since it handed it over: the lost ledger
may have merged the same return, and given the identity to a board. Then it is in quarantine.

All is one transaction: if anything contradicts this ledger, nothing is merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from rmfab.errors import InputError, IntegrityError, RmfabError
from rmfab.files import is_safe_name
from rmfab.identity.sealed_record import is_pool_name
from rmfab.json_text import DEEPEST, parse_json
from rmfab.ledger import handovers
from rmfab.ledger.chains import OWN, append, genesis
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.handovers import Handover
from rmfab.ledger.host_record import Head
from rmfab.ledger.numbers import last_loss
from rmfab.ledger.queries import by_serial, standing_changes, standing_columns, standing_value
from rmfab.ledger.receipts import Span
from rmfab.ledger.sql import schema
from rmfab.ledger.standing import Standing, project
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import canonical, chain_hash, event_in, stored

_MOST_CONFLICTS = 20
_SPELLED = ("mac", "slot", "cause", "reason", "seconds")
"""The fields of which a ledger stores one spelling."""
_WAY_OUT = (
    "; if one board has two identities, void the one that is not on it: yours with `rmfab void`, the factory's with "
    "`rmfab merge FILE --void SERIAL`"
)
_NOT_A_FACTORYS = frozenset({EventKind.HANDOVER, EventKind.MERGE})
_ADD = insert(schema.event)
_UNBIND = update(schema.identity).where(schema.identity.c.serial == bindparam("of_serial"))


@dataclass(frozen=True)
class Receiver:
    """Who received a handover: the *ledger*, its *holder* at that time, and the time."""

    ledger: str
    holder: str
    ts: str

    def __str__(self) -> str:
        return f"ledger {self.ledger[:8]}, holder {self.holder[:8]}, received at {self.ts}"


@dataclass(frozen=True)
class Returned:
    """What a return says: number *number* of the ledger *ledger*, about the handovers in *received*, with the events in
    *spans*. *digest* is that of its signed document. *proofs*: those handovers, as the owner signed them."""

    pool: str
    ledger: str
    number: int
    digest: str
    received: Mapping[int, Receiver]
    spans: tuple[Span, ...]
    proofs: Mapping[int, Handover] = field(default_factory=dict)


@dataclass
class Merged:
    """What a merge changed: how many *events*, *units* bound to boards, identities *given_back* and *voided*.

    *quarantined*: how many of those given back are in quarantine, because the lost ledger may have given them again.
    *kept*: the serials that stay as they are here. *again*: the return was merged before.
    """

    events: int = 0
    units: int = 0
    given_back: int = 0
    quarantined: int = 0
    voided: int = 0
    kept: list[str] = field(default_factory=list)
    again: bool = False


def merge(
    connection: Connection,
    ledger_id: str,
    station: str,
    ts: str,
    told: Returned,
    blocks: Iterable[Sequence[dict[str, Any]]],
    dead: Mapping[str, str] = MappingProxyType({}),
) -> Merged:
    """Merge the return *told*, whose events are *blocks* (columns of the event table, without hashes); see above.

    *dead*: names or serials of identities that are out in its handovers, with a reason each: they become void here,
    whatever the factory did with them.

    Raise IntegrityError (`return-gap`, `second-holder`, `handover-lost`, `return-conflict`), InputError for a return
    that belongs to a different ledger.
    """
    if told.pool != ledger_id:
        raise InputError(
            "this return is about identities of a different ledger", hint="give the right workspace with -C DIR"
        )
    if _was_merged(connection, told):
        return Merged(again=True, voided=handovers.give_up(connection, ledger_id, station, ts, told.received, dead))
    known = {one.number: one for one in handovers.handovers(connection)}
    for number, receiver in told.received.items():
        proof = told.proofs.get(number)
        if number not in known and proof is not None:
            known[number] = handovers.recover(connection, ledger_id, station, ts, proof)
        _judge_handover(known[number], receiver, proof)
    voided = handovers.give_up(connection, ledger_id, station, ts, told.received, dead)
    settled = frozenset[str]().union(*(known[number].settled for number in told.received))
    merger = _Merger(connection, ledger_id, station, ts, told, settled)
    merger.open_chains()
    for block in blocks:
        merger.take(block)
    merger.close_chains()
    if merger.conflicts:
        raise _conflict(merger.conflicts, leased=any(known[number].lease is not None for number in told.received))
    details = {
        "ledger": told.ledger,
        "return": told.number,
        "digest": told.digest,
        "handovers": sorted(told.received),
        "receivers": {str(number): vars(receiver) for number, receiver in told.received.items()},
    }
    append(connection, ledger_id, station, [Event(ts, EventKind.MERGE, details=details)])
    merger.merged.voided += voided
    return merger.merged


def merged_returns(connection: Connection, ledger: str) -> dict[int, str]:
    """Return the digests of the returns of *ledger* that were merged here, by their numbers."""
    table = schema.event
    query = select(table).where(table.c.batch.is_(None), table.c.kind == EventKind.MERGE.value, OWN)
    events = (stored(row._mapping).event for row in connection.execute(query.where(table.c.serial.is_(None))))
    return {one.details["return"]: one.details["digest"] for one in events if one.details["ledger"] == ledger}


def _was_merged(connection: Connection, told: Returned) -> bool:
    """Return whether *told* was merged. Raise IntegrityError if a different one has its number, or one is missing."""
    known = merged_returns(connection, told.ledger)
    if told.number in known:
        if known[told.number] == told.digest:
            return True
        raise IntegrityError(
            f"two different returns of the same ledger have the number {told.number}",
            hint="a copy of the factory's ledger is in use, or it goes on from a backup: stop its lines and ask",
            cause="second-holder",
        )
    missing = [number for number in range(1, told.number) if number not in known]
    if missing:
        names = ", ".join(map(str, missing[:_MOST_CONFLICTS]))
        raise IntegrityError(
            f"this is return {told.number} of this factory; not merged yet: {names}",
            hint=f"merge them first; the factory writes a lost one again: `rmfab return --again {missing[0]}`",
            cause="return-gap",
        )
    return False


def _judge_handover(known: Handover, receiver: Receiver, proof: Handover | None) -> None:
    if proof is not None and proof != known.agreed:
        raise IntegrityError(
            f"handover {known.number} of this return is not the one in this ledger, which was restored",
            hint="stop the line: both factories may have the same identities",
            cause="return-conflict",
        )
    if known.lost:
        raise IntegrityError(
            f"handover {known.number} was declared lost: its identities are void",
            hint="stop the factory from using them, and hand over new ones",
            cause="handover-lost",
        )
    first = known.receiver
    if first is not None and first != vars(receiver):
        raise IntegrityError(
            f"handover {known.number} was received twice: by {Receiver(**first)}, and by {receiver}",
            hint="stop both lines: two boards may have the same identity; then declare the handover lost",
            cause="second-holder",
        )
    lease = known.lease
    if lease is not None and (receiver.ledger, receiver.holder) != (lease.ledger, lease.holder):
        raise IntegrityError(
            f"lease {known.number} belongs to ledger {lease.ledger[:8]}, holder {lease.holder[:8]}, and was received "
            f"by {receiver}",
            hint="a copy of a station is in use: stop the line; then declare the lease lost",
            cause="second-holder",
        )


def _conflict(conflicts: Sequence[str], *, leased: bool) -> IntegrityError:
    more = ", and more" if len(conflicts) > _MOST_CONFLICTS else ""
    return IntegrityError(
        f"this return contradicts the ledger: {'; '.join(conflicts[:_MOST_CONFLICTS])}{more}",
        hint=f"nothing was merged; stop the line, and find out which is right{'' if leased else _WAY_OUT}",
        cause="return-conflict",
    )


def _gap(what: str) -> IntegrityError:
    return IntegrityError(
        what,
        hint="ask the factory to write it again: `rmfab return --again N`; if it is the same, their ledger was changed",
        cause="return-gap",
    )


class _Merger:
    """The merge of one return, block by block: memory does not grow with the number of events."""

    def __init__(
        self, connection: Connection, ledger_id: str, station: str, ts: str, told: Returned, settled: frozenset[str]
    ) -> None:
        self._connection = connection
        self._own = ledger_id, station
        self._ts = ts
        self._told = told
        self._settled = settled
        loss = last_loss(connection)
        self._first_sure = 1 if loss is None else loss.first_handover
        self._heads: dict[str, Head] = {}
        self._stations = {span.chain: span.station for span in told.spans}
        self._kept: dict[str, str | None] = {}
        """The units that stay as they are here, and the board of each that is on one."""
        self.merged = Merged()
        self.conflicts: list[str] = []

    def open_chains(self) -> None:
        """Start at the head of each chain, a new one at its genesis. Raise IntegrityError for a gap."""
        table = schema.chain
        for span in self._told.spans:
            row = self._connection.execute(select(table).where(table.c.id == span.chain)).one_or_none()
            if row is not None and (row.ledger, row.station) != (self._told.ledger, span.station):
                raise _gap(f"the chain {span.chain[:8]} belongs to a different ledger")
            if row is not None:
                head = Head(row.last_seq, row.last_hash)
            else:
                head = Head(0, genesis(self._told.ledger, span.chain, span.station))
                self._begin(span, head)
            if head != span.before:
                raise _gap(
                    f"the events of station {span.station} begin after number {span.before.seq}, but those up to "
                    f"{head.seq} were merged"
                )
            self._heads[span.chain] = head

    def _begin(self, span: Span, head: Head) -> None:
        if not is_safe_name(span.station):
            raise _gap("a chain has no valid station name")
        values = {"id": span.chain, "station": span.station, "open": False, "ledger": self._told.ledger}
        values |= {"last_seq": head.seq, "last_hash": head.hash}
        self._connection.execute(insert(schema.chain).values(values))

    def close_chains(self) -> None:
        """Compare the heads with those that were signed, and store them. Raise IntegrityError."""
        for span in self._told.spans:
            if self._heads[span.chain] != span.after:
                raise _gap(f"the events of station {span.station} do not end as it signed")
            values = {"last_seq": span.after.seq, "last_hash": span.after.hash}
            self._connection.execute(update(schema.chain).where(schema.chain.c.id == span.chain).values(values))
        self.merged.kept.extend(self._kept)

    def take(self, block: Sequence[dict[str, Any]]) -> None:
        """Add the events of *block*, and change the units that they touch."""
        events = [self._chained(columns) for columns in block]
        if not events:
            return
        self._connection.execute(_ADD, [dict(columns) for columns in block])
        self.merged.events += len(events)
        serials = sorted({event.serial for event in events if event.serial is not None})
        before = self._standings(serials)
        after = dict(before)
        for event in events:
            serial = event.serial
            if serial is not None and serial in after and event.kind not in _NOT_A_FACTORYS:
                self._project(after, serial, event)
            elif serial is not None and event.state is State.CLAIMED:
                self._judge_kept(serial, event)
        new = {serial: one for serial, one in after.items() if one != before[serial]}
        changed = {serial: self._standing_here(one, before[serial]) for serial, one in new.items()}
        self._write(changed, before)

    def _chained(self, columns: dict[str, Any]) -> Event:
        """Complete *columns* with their hashes; return the event. Raise IntegrityError if it does not follow."""
        chain = columns["chain"]
        head = self._heads.get(chain)
        if head is None or columns["seq"] != head.seq + 1:
            raise _gap(f"event {columns['seq']} does not follow the one before it in its chain")
        columns["station"] = self._stations[chain]
        columns["prev_hash"] = head.hash
        columns["hash"] = chain_hash(head.hash, columns)
        self._heads[chain] = Head(columns["seq"], columns["hash"])
        event = self._event_in(columns)
        if event.kind in _NOT_A_FACTORYS:
            self._complain(f"event {columns['seq']} of station {columns['station']} is a {event.kind}")
        return event

    def _event_in(self, columns: Mapping[str, Any]) -> Event:
        """Return the event of *columns*. Raise IntegrityError unless a ledger would store it exactly like this."""
        try:
            details: str = columns["details"]
            if "\\ud" in details or details.count("{") + details.count("[") > DEEPEST:
                parse_json(details)  # the rare texts for which its limits matter
            event = event_in(columns)
            spelled = canonical(event.details) == details and isinstance(event.details, dict)
        except (ValueError, TypeError, InputError) as error:
            raise _gap(f"event {columns['seq']} of station {columns['station']} is invalid: {error}") from None
        if not spelled or any(getattr(event, name) != columns[name] for name in _SPELLED):
            raise _gap(f"event {columns['seq']} of station {columns['station']} is not as a ledger stores it")
        return event

    def _standings(self, serials: list[str]) -> dict[str, Standing]:
        """Return the factory's view of the units *serials*, as merged so far; without those that are kept."""
        table = schema.identity
        rows = {}
        if serials:
            query = select(table).where(table.c.serial.in_(serials))
            rows = {row.serial: row for row in self._connection.execute(query)}
        touched = self._touched_here(serials)
        kept, found = self._kept, {}
        for serial in serials:
            row = rows.get(serial)
            if row is None or (row.handover not in self._told.received and serial not in self._settled):
                whose = (
                    "does not exist here" if row is None else "was not handed over to this factory, or was given back"
                )
                self._complain(f"{serial} {whose}")
            elif serial in touched or serial in self._settled:
                kept[serial] = row.mac if State(row.state).bound else None
            else:
                standing = standing_value(row._mapping)
                out = standing.state is State.HANDED_OVER
                found[serial] = replace(standing, state=State.GENERATED) if out else standing
        return found

    def _touched_here(self, serials: list[str]) -> set[str]:
        """Return those of *serials* on which the owner worked after the handover, or after the last merge."""
        if not serials:
            return set()
        event = schema.event
        last = select(func.max(event.c.id)).where(event.c.serial.in_(serials), OWN).group_by(event.c.serial)
        query = select(event.c.serial, event.c.kind).where(event.c.id.in_(last))
        passive = (EventKind.HANDOVER, EventKind.MERGE)
        return {row.serial for row in self._connection.execute(query) if row.kind not in passive}

    def _project(self, after: dict[str, Standing], serial: str, event: Event) -> None:
        given = event.details.get("serial") if event.state is State.CLAIMED else None
        if given is not None and not (is_pool_name(serial) and isinstance(given, str) and is_safe_name(given)):
            self._complain(f"{serial} was given a serial that it cannot have")
            del after[serial]
            return
        try:
            after[serial] = project(after[serial], event)
        except RmfabError as error:
            self._complain(f"{serial}: {error.what}")
            del after[serial]

    def _judge_kept(self, serial: str, claim: Event) -> None:
        """Complain if a unit that stays as it is here is a different board there."""
        mac = self._kept.get(serial)
        if mac is not None and mac != claim.mac:
            self._complain(f"{serial} is board {mac} here, and {claim.mac} there")

    def _standing_here(self, standing: Standing, before: Standing) -> Standing:
        """Return what a unit is here if the factory has it as *standing*: given back it is free, or in quarantine if it
        was handed over before a loss; free there it is out."""
        if standing.state is State.HANDED_OVER:
            sure = before.handover is not None and before.handover >= self._first_sure
            return replace(standing, state=State.GENERATED if sure else State.QUARANTINED, handover=None)
        if standing.state in (State.GENERATED, State.QUARANTINED):
            return replace(standing, state=State.HANDED_OVER)
        return standing

    def _write(self, changed: dict[str, Standing], before: Mapping[str, Standing]) -> None:
        """Write the standings *changed*, with an event for each. A MAC of a different live unit is a conflict."""
        macs = {standing.mac: serial for serial, standing in changed.items() if standing.live}
        table = schema.identity
        query = select(table.c.serial, table.c.mac).where(
            table.c.mac.in_(list(macs)), table.c.state != State.VOID.value
        )
        for row in self._connection.execute(query.where(table.c.serial.not_in(list(changed)))) if macs else ():
            self._complain(f"board {row.mac} is {row.serial} here, and {macs[row.mac]} there")
        self._refuse_given(changed)
        if self.conflicts or not changed:
            return
        unbound = {"state": State.VOID.value, "mac": None}
        self._connection.execute(_UNBIND, [unbound | {"of_serial": serial} for serial in changed])
        batches = self._batches(list(changed))
        events = [self._event(name, batches[name], one) for name, one in changed.items()]
        append(self._connection, *self._own, events, standing_changes(changed))
        for serial, standing in changed.items():
            self._count(standing, before[serial])

    def _refuse_given(self, changed: Mapping[str, Standing]) -> None:
        """Complain of each serial that came with a board there, and belongs to a different unit."""
        given: dict[str, str] = {}
        for name, standing in changed.items():
            if standing.given_serial is not None and standing.live:
                other = given.setdefault(standing.given_serial, name)
                if other != name:
                    self._complain(f"serial {standing.given_serial} is both {other} and {name} there")
        for serial in given:
            holder = by_serial(self._connection, serial)
            if holder is not None and holder.name not in changed:
                self._complain(f"serial {serial} is {holder.name} here, and {given[serial]} there")

    def _batches(self, serials: list[str]) -> dict[str, str]:
        query = select(schema.identity.c.serial, schema.batch.c.name).join(schema.batch)
        rows = self._connection.execute(query.where(schema.identity.c.serial.in_(serials)))
        return {row.serial: row.name for row in rows}

    def _event(self, serial: str, batch: str, standing: Standing) -> Event:
        details = {"return": self._told.number, "standing": standing_columns(standing)}
        return Event(
            self._ts,
            EventKind.MERGE,
            batch=batch,
            serial=serial,
            mac=standing.mac,
            state=standing.state,
            details=details,
        )

    def _count(self, standing: Standing, before: Standing) -> None:
        self.merged.units += standing.live and not before.live
        self.merged.given_back += standing.state in (State.GENERATED, State.QUARANTINED)
        self.merged.quarantined += standing.state is State.QUARANTINED
        self.merged.voided += standing.state is State.VOID and before.state is not State.VOID

    def _complain(self, what: str) -> None:
        if len(self.conflicts) <= _MOST_CONFLICTS and what not in self.conflicts:
            self.conflicts.append(what)
