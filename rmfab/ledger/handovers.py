"""The owner's side of a handover: free identities leave the pool for a factory, and return only by a merge.

Each handover has a number in its ledger. One event without a serial describes it (`Handover`), and one per identity
takes it out of the pool; all are one transaction. The rest of a handover that is declared lost is void.

A *lease* is a handover from a shared ledger to the ledger of one of its own stations, which gives the identities while
the server is away. It belongs to that ledger and its holder from the start: no other one can receive it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, exists, func, or_, select, update

from rmfab.errors import BatchUsedUp, InputError, IntegrityError
from rmfab.ledger.chains import OWN, append
from rmfab.ledger.events import Event, EventKind
from rmfab.ledger.numbers import last_loss
from rmfab.ledger.queries import PAGE, closed_batch, identities_query, identity_value, named, standing_changes
from rmfab.ledger.records import Batch, LedgerIdentity
from rmfab.ledger.sql import schema
from rmfab.ledger.standing import project
from rmfab.ledger.states import State
from rmfab.ledger.stored_events import canonical, stored

_FREE = (State.GENERATED.value, State.QUARANTINED.value)
_GIVEN_FROM = (State.GENERATED.value, State.HANDED_OVER.value)
"""In these states an identity may be given to a board by somebody who does not know of the handover."""


@dataclass(frozen=True)
class Terms:
    """What was agreed on a handover: the station on the card with *fingerprint*, whose *name* and *recipient* it names
    and whose returns *signing* (PEM) verifies; *until*: the ledger time after which no board gets an identity of it."""

    name: str
    fingerprint: str
    recipient: str
    signing: str
    until: str


@dataclass(frozen=True)
class Lessee:
    """The *ledger* of a station that has a lease, and its *holder*."""

    ledger: str
    holder: str


@dataclass(frozen=True)
class Handover:
    """A handover: *count* identities of *batch*, at the positions *ranges* (first, count), handed over at *ts*.

    *lost*: it was declared lost. *written*: its file was complete once. *receiver*: ledger, holder and time of its
    receipt, as the first return of it says; None before. *lease*: who has it if it is a lease. *settled*: the names of
    those that were on boards here, or void, when it was recovered (`recover`).
    """

    number: int
    batch: str
    count: int
    ranges: tuple[tuple[int, int], ...]
    terms: Terms
    ts: str
    lost: bool = False
    written: bool = False
    receiver: Mapping[str, str] | None = None
    lease: Lessee | None = None
    settled: frozenset[str] = frozenset()

    @property
    def agreed(self) -> Handover:
        """What the owner signed: the handover without what became of it."""
        return replace(self, **LATER)


LATER: Mapping[str, Any] = {"lost": False, "written": False, "receiver": None, "settled": frozenset()}
"""What a handover gets later, as it is at first."""


def hand_over(
    connection: Connection,
    ledger_id: str,
    station: str,
    ts: str,
    batch: str,
    count: int | None,
    terms: Terms,
    lease: Lessee | None = None,
) -> Handover:
    """Take the *count* lowest free identities of *batch*, None for all, out of the pool; return the new handover.

    What a receiver had and gave back it never gets again: its ledger still has it. A *lease* takes what is left if
    there are fewer. Raise BatchUsedUp if there are fewer, or for a lease none;
    InputError if the batch was received from somebody else.
    """
    source = closed_batch(connection, batch)
    if source.origin is not None:
        raise InputError(
            f"the identities of batch {batch} were received in a handover",
            hint="only their owner hands them over, or leases them to a station",
            cause="handed-over",
        )
    taken = _lowest_free(connection, source, count, _numbers_to(connection, terms), fewer=lease is not None)
    loss = last_loss(connection)
    number = max(last_number(connection) + 1, loss.first_handover if loss is not None else 1)
    ranges = _ranges(row.position for row in taken)
    for at in range(0, len(taken), PAGE):
        _take_out(connection, ledger_id, station, ts, batch, number, taken[at : at + PAGE])
    given = Handover(number, batch, len(taken), tuple(ranges), terms, ts, lease=lease)
    _describe(connection, ledger_id, station, given)
    return given


def handovers(connection: Connection) -> tuple[Handover, ...]:
    """Return all handovers, oldest first."""
    table = schema.event
    query = select(table).where(table.c.batch.is_(None), table.c.serial.is_(None), OWN)
    query = query.where(table.c.kind.in_([EventKind.HANDOVER.value, EventKind.MERGE.value])).order_by(table.c.id)
    found: dict[int, dict[str, Any]] = {}
    for row in connection.execute(query):
        event = stored(row._mapping).event
        details = dict(event.details)
        if event.kind is EventKind.MERGE:
            for number in details["handovers"]:
                found[number].setdefault("receiver", details["receivers"][str(number)])
        elif "number" not in details:
            (name,) = details.keys() & {"lost", "written"}
            found[details[name]][name] = True
        else:
            found[details["number"]] = details | {"ts": event.ts}
    return tuple(_value(details) for details in found.values())


def last_number(connection: Connection) -> int:
    """Return the highest number of a handover, 0 if there is none."""
    return max((one.number for one in handovers(connection)), default=0)


def handover(connection: Connection, number: int) -> Handover:
    """Return the handover *number*. Raise InputError if there is none."""
    for one in handovers(connection):
        if one.number == number:
            return one
    raise InputError(f"there is no handover {number}", hint="list them with `rmfab handover`", cause="no-batch")


def page(connection: Connection, number: int, after: int) -> Sequence[LedgerIdentity]:
    """Return up to `PAGE` identities that are out in handover *number* after position *after*, in order."""
    table = schema.identity
    query = identities_query().where(table.c.handover == number, table.c.state == State.HANDED_OVER.value)
    rows = connection.execute(query.where(table.c.position > after).order_by(table.c.position).limit(PAGE))
    return [identity_value(row._mapping) for row in rows]


def out(connection: Connection, number: int) -> int:
    """Count the identities of handover *number* that no return has mentioned as used or given back."""
    table = schema.identity
    query = select(func.count()).where(table.c.handover == number, table.c.state == State.HANDED_OVER.value)
    return int(connection.execute(query).scalar_one())


def note_written(connection: Connection, ledger_id: str, station: str, ts: str, number: int) -> None:
    """Record that the file of handover *number* is complete."""
    append(connection, ledger_id, station, [Event(ts, EventKind.HANDOVER, details={"written": number})])


def recover(connection: Connection, ledger_id: str, station: str, ts: str, proof: Handover) -> Handover:
    """Record again a handover that this ledger lost when it was restored; the owner's signature proves it.

    Its identities are in quarantine since, and leave it. Those that a board brought here meanwhile, or that are void,
    stay as they are. Raise IntegrityError if one is free, or was handed over again.
    """
    batch, table = closed_batch(connection, proof.batch), schema.identity
    settled: set[str] = set()
    for first, count in proof.ranges:
        here = table.c.position.between(first, first + count - 1)
        query = select(table.c.id, table.c.serial, table.c.position, table.c.state, table.c.handover).where(here)
        rows = connection.execute(query.where(table.c.batch_id == batch.id).order_by(table.c.position)).all()
        out = [row for row in rows if row.state == State.QUARANTINED.value]
        others = [row for row in rows if row.state != State.QUARANTINED.value]
        wrong = next((row for row in others if row.state in _GIVEN_FROM or row.handover is not None), None)
        if wrong is not None or len(rows) != count:
            what = f"{wrong.serial} is {wrong.state} here" if wrong else f"batch {batch.name} is shorter"
            raise IntegrityError(
                f"handover {proof.number} is not in this ledger, and {what}",
                hint="this ledger was restored: stop the line, and find out which boards have these identities",
                cause="return-conflict",
            )
        settled.update(row.serial for row in others)
        for at in range(0, len(out), PAGE):
            _take_out(connection, ledger_id, station, ts, batch.name, proof.number, out[at : at + PAGE])
    _describe(connection, ledger_id, station, replace(proof, settled=frozenset(settled)))
    return handover(connection, proof.number)


def declare_lost(connection: Connection, ledger_id: str, station: str, ts: str, number: int, reason: str) -> int:
    """Void every identity of handover *number* that is still out; return how many.

    Raise InputError if it is lost already, or nothing of it is out.
    """
    known = handover(connection, number)
    if known.lost or not out(connection, number):
        what = "was declared lost already" if known.lost else "has no identity that is still out"
        raise InputError(f"handover {number} {what}", hint="list them with `rmfab handover`", cause="handed-over")
    voided = 0
    while some := page(connection, number, -1):
        append(connection, ledger_id, station, [one.voided(ts, reason) for one in some])
        table = schema.identity
        values = {"state": State.VOID.value, "void_ts": ts, "cause": "void", "reason": reason}
        names = [one.name for one in some]
        connection.execute(update(table).where(table.c.serial.in_(names)).values(values))
        voided += len(some)
    details = {"lost": number, "count": voided}
    append(connection, ledger_id, station, [Event(ts, EventKind.HANDOVER, reason=reason, details=details)])
    return voided


def give_up(
    connection: Connection,
    ledger_id: str,
    station: str,
    ts: str,
    numbers: Container[int],
    dead: Mapping[str, str],
) -> int:
    """Void the identities *dead*, terms (see `queries.named`) with a reason each; return how many were not void.

    Raise InputError for one that is not out in a handover of *numbers*.
    """
    voided = 0
    for term, reason in dead.items():
        one = named(connection, term, lock=True)
        if one.state is State.VOID:
            continue
        if one.state is not State.HANDED_OVER or one.standing.handover not in numbers:
            raise InputError(
                f"{one.serial} is not out in a handover of this return: it is {one.state}",
                hint=f'`rmfab void {one.serial} --reason "…"` retires what is yours',
                cause="handed-over",
            )
        event = one.voided(ts, reason)
        append(connection, ledger_id, station, [event], standing_changes({one.name: project(one.standing, event)}))
        voided += 1
    return voided


def _describe(connection: Connection, ledger_id: str, station: str, given: Handover) -> None:
    said = {"number": given.number, "batch": given.batch, "count": given.count, "ranges": given.ranges}
    lease = {} if given.lease is None else {"lease": vars(given.lease)}
    settled = {"settled": sorted(given.settled)} if given.settled else {}
    details = said | vars(given.terms) | lease | settled
    append(connection, ledger_id, station, [Event(given.ts, EventKind.HANDOVER, details=details)])


def _numbers_to(connection: Connection, terms: Terms) -> list[int]:
    """Return the numbers of the handovers to the station of *terms*, or to the ledger that it received one into."""
    every = handovers(connection)
    own = {one.number for one in every if one.terms.fingerprint == terms.fingerprint}
    ledgers = {one.receiver["ledger"] for one in every if one.number in own and one.receiver is not None}
    return [one.number for one in every if one.number in own or (one.receiver and one.receiver["ledger"] in ledgers)]


def _lowest_free(
    connection: Connection, batch: Batch, count: int | None, before: Sequence[int], *, fewer: bool
) -> Sequence[Any]:
    """Return the rows of the *count* lowest free identities that were in none of the handovers *before*; if there are
    *fewer*, those, if that will do."""
    table, event = schema.identity, schema.event
    query = select(table.c.id, table.c.serial, table.c.position)
    query = query.where(table.c.batch_id == batch.id, table.c.state == State.GENERATED.value)
    if before:
        alone = [canonical({"handover": number}) for number in before]  # without an operator
        signed = [event.c.details.startswith(f"{one[:-1]},", autoescape=True) for one in alone]
        there = exists().where(event.c.serial == table.c.serial, event.c.kind == EventKind.HANDOVER.value)
        query = query.where(~there.where(or_(event.c.details.in_(alone), *signed)))
    rows = connection.execute(query.order_by(table.c.position).limit(count).with_for_update(of=table)).all()
    if not rows or (len(rows) < (count or 0) and not fewer):
        again = ", not counting what this station gave back before" if before else ""
        raise BatchUsedUp(
            f"batch {batch.name} has only {len(rows)} free{again}" if rows else f"batch {batch.name} is used up{again}"
        )
    return rows


def _take_out(
    connection: Connection, ledger_id: str, station: str, ts: str, batch: str, number: int, rows: Sequence[Any]
) -> None:
    details = {"handover": number}
    events = [
        Event(ts, EventKind.HANDOVER, batch=batch, serial=row.serial, state=State.HANDED_OVER, details=details)
        for row in rows
    ]
    append(connection, ledger_id, station, events)
    table = schema.identity
    values = {"state": State.HANDED_OVER.value, "handover": number}
    written = connection.execute(
        update(table).where(table.c.id.in_([row.id for row in rows]), table.c.state.in_(_FREE)).values(values)
    ).rowcount
    if written != len(rows):
        raise IntegrityError("an identity was given while it was handed over", where=batch, cause="ledger-constraint")


def _ranges(positions: Iterable[int]) -> list[tuple[int, int]]:
    """Return ascending *positions* as ranges: first position and count."""
    ranges: list[tuple[int, int]] = []
    for position in positions:
        if ranges and position == sum(ranges[-1]):
            ranges[-1] = ranges[-1][0], ranges[-1][1] + 1
        else:
            ranges.append((position, 1))
    return ranges


def _value(details: Mapping[str, Any]) -> Handover:
    terms = Terms(**{name: details[name] for name in ("name", "fingerprint", "recipient", "signing", "until")})
    ranges = tuple((first, count) for first, count in details["ranges"])
    known = {name: details[name] for name in ("number", "batch", "count", "ts")}
    return Handover(
        **known,
        ranges=ranges,
        terms=terms,
        lost="lost" in details,
        written="written" in details,
        receiver=details.get("receiver"),
        lease=Lessee(**details["lease"]) if "lease" in details else None,
        settled=frozenset(details.get("settled", ())),
    )
