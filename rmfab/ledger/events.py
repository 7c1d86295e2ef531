"""Events: what happened, and when.

An `Event` is a value; `rmfab.ledger.chains` stores it. Times and MACs have one spelling each.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum, unique
from functools import lru_cache
from typing import Any

from rmfab.errors import InputError
from rmfab.field_types import mistyped
from rmfab.ledger.states import State

_TIMESTAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")
_BARE_MAC = re.compile(r"[0-9a-f]{12}(?:[0-9a-f]{4})?")
_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}(?:(?::[0-9a-f]{2}){2})?")


@unique
class EventKind(StrEnum):
    """The subject of an event."""

    BATCH = "batch"
    CLAIM = "claim"
    STEP = "step"
    UNIT = "unit"
    VOID = "void"
    LABEL = "label"
    ADMIT = "admit"
    RELEASE = "release"
    TRUST = "trust"
    QUARANTINE = "quarantine"
    MOVE = "move"
    ADOPT = "adopt"
    HANDOVER = "handover"
    RECEIVE = "receive"
    RETURN = "return"
    MERGE = "merge"
    RECONCILE = "reconcile"
    EXPORT = "export"
    CHECK = "check"
    UPDATE = "update"
    REGISTER = "register"
    LOOKUP = "lookup"

    @property
    def of_cloud(self) -> bool:
        """Whether it is about the identity in its cloud, not about the unit on the line."""
        return self in (EventKind.CHECK, EventKind.REGISTER, EventKind.LOOKUP)


@unique
class Outcome(StrEnum):
    """The result of a step.

    FAIL: the unit is bad. ERROR: the station or its cable is bad. MARGINAL and SKIP are never verdicts. SEEN: the unit
    was finished before, and nothing was done to it.
    """

    PASS = "PASS"  # noqa: S105
    MARGINAL = "MARGINAL"
    FAIL = "FAIL"
    ERROR = "ERROR"
    ABORTED = "ABORTED"
    SKIP = "SKIP"
    SEEN = "SEEN"


def timestamp(moment: datetime) -> str:
    """Return *moment*, which must have a time zone, in the ledger's format: `2026-01-31T12:00:00.000Z`."""
    if moment.tzinfo is None:
        raise ValueError("the time zone is missing")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


@lru_cache  # an event gets its unit, its operator and its place after it was made
def refuse_other_times(ts: str) -> None:
    """Raise ValueError if *ts* does not have the format of `timestamp`."""
    if _TIMESTAMP.fullmatch(ts) is None:
        raise ValueError(f"{ts!r} is not a ledger time; use timestamp()")


@lru_cache
def normal_mac(text: str) -> str:
    """Return the MAC in lower case with colons. Raise InputError if *text* is not a MAC of 6 (or 8) bytes."""
    mac = text.strip().lower().replace("-", ":")
    if _BARE_MAC.fullmatch(mac) is not None:
        mac = ":".join(mac[at : at + 2] for at in range(0, len(mac), 2))
    if _MAC.fullmatch(mac) is None:
        raise InputError(f'"{text}" is not a MAC', hint="give six bytes such as 24:0a:c4:00:01:10")
    return mac


@dataclass(frozen=True)
class Event:
    """One fact and its time. It never contains a secret.

    *state*: the state of the unit from this event on, None if it does not change. *cause*: the stable name of the
    reason (`class` in the JSON of line commands). *details*: any JSON, such as measurements and versions. Raise
    ValueError if the time is not `YYYY-MM-DDTHH:MM:SS.mmmZ`, or a field is of a wrong type.
    """

    ts: str
    kind: EventKind
    batch: str | None = None
    serial: str | None = None
    mac: str | None = None
    slot: str | None = None
    step: str | None = None
    outcome: Outcome | None = None
    state: State | None = None
    cause: str | None = None
    reason: str | None = None
    seconds: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = mistyped(self)
        if wrong is not None:
            raise ValueError(f"the {wrong} of an event has a wrong type")
        refuse_other_times(self.ts)
        if self.mac is not None:
            object.__setattr__(self, "mac", normal_mac(self.mac))
        for name in ("slot", "cause", "reason"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _storable(value))
        if self.seconds is not None:
            object.__setattr__(self, "seconds", round(float(self.seconds), 3))

    @property
    def release(self) -> Mapping[str, Any] | None:
        """What it records of the release that was written to the unit: `digest`, `version`, `signers`, perhaps `seq`;
        None for any other event, such as one of a user's own step that measures a "release".
        """
        if self.step != "flash" and self.kind is not EventKind.UPDATE:
            return None
        found = self.details.get("release")
        return found if isinstance(found, dict) and _is_release(found) else None

    def of(self, serial: str | None, batch: str | None, details: Mapping[str, Any] | None = None) -> Event:
        """Return this event as one of the identity *serial* of *batch*, with other *details* if there are any.

        What is judged at birth stays as it is.
        """
        event = object.__new__(Event)
        others = {} if details is None else {"details": details}
        vars(event).update(vars(self), serial=serial, batch=batch, **others)
        return event


@dataclass(frozen=True)
class StoredEvent:
    """An event in its chain. *order* is its place among the events of all stations."""

    order: int
    station: str
    seq: int
    event: Event


def _is_release(named: Mapping[str, Any]) -> bool:
    signers = named.get("signers")
    return (
        isinstance(named.get("digest"), str)
        and isinstance(named.get("version"), str)
        and isinstance(signers, list)
        and all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in signers)
    )


def _storable(text: str) -> str:
    """Return *text* in a form that every database stores: no NUL, no lone surrogates.

    Both occur in bytes that were read from a console.
    """
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode()
