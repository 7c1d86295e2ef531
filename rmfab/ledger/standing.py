"""The standing of an identity: what its events add up to, and how the next event changes it.

Pure functions. The ledger updates a `Standing` per identity with every write; `check` and `rebuild` recompute it from
the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rmfab.errors import BoardConflict, InputError
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.label_words import LabelWord, copies_in, word_in
from rmfab.ledger.states import State, allowed


@dataclass(frozen=True)
class Standing:
    """The sum of the events of one identity.

    *given_serial* is the serial that the identity got with its board, None before, or if it was made with one.
    *attempts* counts claims. *flashed_ts*, *verified_ts*, *cause* and *reason* (of the last FAIL or ERROR, or of the
    void) cover the time since the last claim. *labelled_count* counts all labels; those that a printer took (*sent*) or
    proved (*printed*), and those that were read on the board (*scanned*), are counted besides. Each `_ts` of them is
    the time of the last one. *doubt_ts*: since when it is in doubt whether a label came out. *handover*: the number
    of the handover in which it left this pool.
    """

    state: State = State.GENERATED
    mac: str | None = None
    given_serial: str | None = None
    attempts: int = 0
    claimed_ts: str | None = None
    flashed_ts: str | None = None
    verified_ts: str | None = None
    void_ts: str | None = None
    labelled_count: int = 0
    labelled_ts: str | None = None
    sent_count: int = 0
    sent_ts: str | None = None
    printed_count: int = 0
    printed_ts: str | None = None
    scanned_count: int = 0
    scanned_ts: str | None = None
    doubt_ts: str | None = None
    cause: str | None = None
    reason: str | None = None
    handover: int | None = None

    @property
    def live(self) -> bool:
        """Whether the identity is bound to a board."""
        return self.state.bound

    @property
    def may_have_label(self) -> bool:
        """Whether a label was made, or one may have come out of a printer."""
        return self.labelled_count > 0 or self.doubt_ts is not None

    @property
    def scanned(self) -> bool:
        """Whether the last label was read on its board."""
        return self.scanned_ts is not None and self.scanned_ts >= (self.labelled_ts or "")

    @property
    def label_facts(self) -> tuple[int, int, str | None]:
        """What printing a label changes: two that are equal mean that nothing was printed in between."""
        return self.labelled_count, self.scanned_count, self.doubt_ts


def project(standing: Standing, event: Event) -> Standing:
    """Return the standing after *event*.

    Raise InputError (cause `state`) if the event's state is not allowed next, BoardConflict (cause `mac-mismatch`) if
    the event's MAC is not the unit's.
    """
    if event.kind is EventKind.MERGE:
        return merged(event.details["standing"])
    standing = _noted(standing, event)
    if event.state is None:
        return standing
    _judge(standing, event)
    if event.state is State.CLAIMED:
        return replace(
            standing,
            state=State.CLAIMED,
            mac=event.mac,
            given_serial=standing.given_serial or event.details.get("serial"),
            attempts=standing.attempts + 1,
            claimed_ts=event.ts,
            flashed_ts=None,
            verified_ts=None,
            cause=None,
            reason=None,
        )
    if event.state is State.FLASHED:
        flashed_ts = standing.flashed_ts if event.kind is EventKind.UPDATE else event.ts
        return replace(standing, state=State.FLASHED, flashed_ts=flashed_ts, verified_ts=None)
    if event.state is State.VERIFIED:
        return replace(standing, state=State.VERIFIED, verified_ts=event.ts, cause=None, reason=None)
    if event.state is State.VOID:
        return replace(standing, state=State.VOID, void_ts=event.ts, cause=event.cause, reason=event.reason)
    if event.state is State.HANDED_OVER:
        return replace(standing, state=State.HANDED_OVER, handover=event.details.get("handover"))
    return replace(standing, state=event.state)


def merged(columns: Mapping[str, Any]) -> Standing:
    """Return the standing in the details of a merge: what the events of a different ledger add up to."""
    return Standing(**{**columns, "state": State(columns["state"])})


def replay(events: Iterable[Event]) -> Standing:
    """Return what *events* of one identity add up to, in their order. Raise what `project` raises."""
    standing = Standing()
    for event in events:
        standing = project(standing, event)
    return standing


def _noted(standing: Standing, event: Event) -> Standing:
    """Apply the facts besides the state: labels printed, and why the unit did not pass.

    What happens in the cloud is about the identity, not about the unit on the line.
    """
    if event.kind is EventKind.LABEL:
        return _with_label(standing, event)
    if event.outcome in (Outcome.FAIL, Outcome.ERROR) and not event.kind.of_cloud:
        return replace(standing, cause=event.cause, reason=event.reason)
    return standing


def _with_label(standing: Standing, event: Event) -> Standing:
    """Apply what is known of a label. A word of a later version changes nothing."""
    ts, word, copies = event.ts, word_in(event.details), copies_in(event.details)
    if word == LabelWord.SENDING:
        return replace(standing, doubt_ts=ts)
    if word == LabelWord.NOT_PRINTED:
        return replace(standing, doubt_ts=None)
    if word == LabelWord.SCANNED:
        return replace(standing, scanned_count=standing.scanned_count + 1, scanned_ts=ts)
    if word is not None and word not in (LabelWord.SENT, LabelWord.PRINTED):
        return standing
    standing = replace(standing, labelled_count=standing.labelled_count + copies, labelled_ts=ts)
    if word == LabelWord.SENT:
        return replace(standing, sent_count=standing.sent_count + copies, sent_ts=ts, doubt_ts=None)
    if word == LabelWord.PRINTED:
        return replace(standing, printed_count=standing.printed_count + copies, printed_ts=ts, doubt_ts=None)
    return standing


def _judge(standing: Standing, event: Event) -> None:
    state = event.state
    if state is None:
        return
    updated = event.kind is EventKind.UPDATE
    if not allowed(standing.state, state, flashed=standing.flashed_ts is not None, updated=updated):
        raise InputError(
            f"a {standing.state} unit cannot become {state}",
            where=event.serial,
            hint=None if standing.state is State.VOID else "run it again: it is claimed again and keeps its identity",
            cause="state",
        )
    if state is State.CLAIMED and event.mac is None:
        raise InputError("a claim needs the MAC of a board", where=event.serial, cause="state")
    if event.mac is not None and standing.mac is not None and event.mac != standing.mac:
        raise BoardConflict(
            f"this unit is board {standing.mac}, not {event.mac}", where=event.serial, cause="mac-mismatch"
        )
