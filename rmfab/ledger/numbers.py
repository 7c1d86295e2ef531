"""The numbers of serials: which were given, or may have been, so that no two devices get the same serial.

A ledger counts on from its own batches. That is not enough if a ledger was lost, because the backup ends before the
last numbers, or if two ledgers count the same series, as after a workspace was copied before its first batch. So the
record of the host (`rmfab.ledger.host_record`) keeps the end of each series that a ledger gave. Where no record covers
it, the operator says which number is surely unused.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, select

from rmfab.errors import InputError
from rmfab.ledger.host import PoolHost
from rmfab.ledger.host_record import Given, Holding, Unusable
from rmfab.ledger.queries import meta_value, set_meta
from rmfab.ledger.sql import schema

_META = "loss"
_FAR = 1000
"""More handovers than a ledger makes between a backup and its loss."""


class SerialsUnsure(InputError):
    """It is not sure which serials are unused; those from number *first* on may be."""

    cause = "serials-unsure"
    first = 1


@dataclass(frozen=True)
class Numbers:
    """What this host knows of numbers: the *record* of this ledger at *where*, and *others* of its ledgers."""

    record: Holding | Unusable
    others: tuple[Holding | Unusable, ...] = ()
    where: str = ""

    def own(self, series: str) -> int:
        """Return the first number of *series* that this ledger has not given, as far as this host knows."""
        return self.record.numbers[series].end if series in self.record.numbers else 1

    def ahead(self, series: str) -> Given | None:
        """Return the numbers of *series* that a different ledger gave: of the one that is furthest."""
        given = [other.numbers[series] for other in self.others if series in other.numbers]
        return max(given, key=lambda one: one.end, default=None)


@dataclass(frozen=True)
class Loss:
    """The last loss of the ledger: the id of the last batch before it, the series whose end is known since, and the
    least number of a later handover."""

    last_batch: int
    known: frozenset[str]
    first_handover: int = 1


def note_loss(
    connection: Connection, record: Holding | Unusable, host: PoolHost, last_chain: str | None, last_handover: int
) -> Mapping[str, Given]:
    """Record in the ledger that it is adopted after a loss. Return the numbers for the record of the new holder.

    *record*: that of *host* until now. It covers the lost ledger if this host held the pool last: it was not moved
    away, and the record contains *last_chain*, the chain of the last adoption or move that the ledger has.
    *last_handover*: the highest number of a handover that the ledger has.
    """
    covers = (
        isinstance(record, Holding)
        and record.is_on(host)
        and not record.moved
        and (last_chain is None or last_chain in record.heads)
    )
    numbers = record.numbers if covers else doubtful(record.numbers)
    last_batch = connection.execute(select(func.max(schema.batch.c.id))).scalar() or 0
    # Handovers that were lost have numbers, too, which no one here knows: the next ones are far from them.
    first_handover = last_handover + _FAR * secrets.randbelow(_FAR) + _FAR + 1
    sure = frozenset(series for series, given in numbers.items() if given.sure)
    _write(connection, Loss(last_batch, sure, first_handover))
    return numbers


def doubtful(numbers: Mapping[str, Given]) -> Mapping[str, Given]:
    """Return *numbers* as what was given at least."""
    return {series: replace(given, sure=False) for series, given in numbers.items()}


def last_loss(connection: Connection) -> Loss | None:
    """Return the last loss of this ledger, None if it never was adopted after one."""
    text = meta_value(connection, _META)
    if text is None:
        return None
    value = json.loads(text)
    return Loss(int(value["last_batch"]), frozenset(value["known"]), int(value.get("first_handover", 1)))


def first_number(
    connection: Connection,
    series: str,
    numbers: Numbers,
    serial_of: Callable[[int], str],
    *,
    counted: int,
    wanted: int | None,
) -> int:
    """Return the first number of a new batch of *series*: *wanted*, or the first after all that were given.

    *counted*: the first that this ledger has not given. Raise SerialsUnsure if it may have been given all the same.
    """
    own = max(counted, numbers.own(series))
    ahead = numbers.ahead(series)
    least = max(own, ahead.end if ahead else 1)
    loss = last_loss(connection)
    unsure = loss if loss is not None and series not in loss.known else None
    if wanted is not None:
        if wanted < least:
            raise may_be_given(serial_of(wanted), least)
        if unsure is not None:
            _write(connection, replace(unsure, known=unsure.known | {series}))
        return wanted
    if unsure is not None:
        raise _unsure(
            f"the ledger that was lost may have given serials from {serial_of(least)} on",
            least,
            "look at the last labels and devices, then name a number after all of them: ",
        )
    if ahead is not None and ahead.end > own:
        raise _given_elsewhere(ahead, serial_of(ahead.end - 1), least, here=ahead.where == numbers.where)
    return own


def _given_elsewhere(ahead: Given, last: str, least: int, *, here: bool) -> SerialsUnsure:
    """Return the error for serials up to *last* that a different ledger gave; *here*: it was where this one is."""
    if here:
        what = f"the ledger that was here before has given serials up to {last} of this product: {ahead.where}"
        look = "put that ledger back, or a backup of it (`rmfab ledger restore`); if it is lost, count on after it: "
    else:
        what = f"a different ledger on this host has given serials up to {last} of this product: {ahead.where}"
        look = "use that ledger, or count on after it: "
    return _unsure(what, least, look)


def may_be_given(serial: str, least: int) -> SerialsUnsure:
    """Return the error for a first *serial* that the operator named, if those from number *least* on are unused."""
    return _unsure(f"serial {serial} may be given already", least)


def _unsure(what: str, least: int, look: str = "") -> SerialsUnsure:
    error = SerialsUnsure(what, hint=f"{look}`rmfab generate --first-serial N`, with N {least} or higher")
    error.first = least
    return error


def _write(connection: Connection, loss: Loss) -> None:
    value = {"last_batch": loss.last_batch, "known": sorted(loss.known), "first_handover": loss.first_handover}
    set_meta(connection, _META, json.dumps(value))
