"""A board's visit at a slot: whom its steps tell, and what changes while they work on it.

What a step may rely on comes from its stage (`line/stages.py`); what is kept here is for the events, the log and the
way out, which need it also after a step that failed halfway.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rmfab.identity.identity import Identity
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.line.connection import BoardConnection
from rmfab.line.events import LineEvent, Message, Origin
from rmfab.line.job import Job
from rmfab.line.station import Slot
from rmfab.secret import Secret, redact


@dataclass
class Visit:
    """One board on one slot, from the opening of its port to its verdict.

    *keep_going* raises Aborted where the operator stops the line. *record* is the unit's in the ledger, once it is
    known, *state* the one it has since. *secrets* are blanked in what is told. *measured* is what the step at work has
    measured, told also where it fails; *holds_network*: it was given Wi-Fi credentials.
    """

    job: Job
    slot: Slot
    tell: Callable[[LineEvent], None]
    keep_going: Callable[[], None]
    board: BoardConnection
    record: LedgerIdentity | None = None
    state: State | None = None
    secrets: list[Secret[str]] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    holds_network: bool = False

    def is_unit(self, record: LedgerIdentity) -> None:
        """From here on the events tell the serial of *record*."""
        self.record = record
        self.state = record.state

    def open_identity(self, record: LedgerIdentity) -> Identity:
        """The identity in *record*, whose PoP is blanked from here on."""
        identity = self.job.open_identity(record)
        self.secrets.append(identity.pop)
        return identity

    def say(self, level: str, text: str) -> None:
        """Tells the operator a word: *level* is `info` or `warning`."""
        self.tell(Message(*self.origin(), level, text))

    def origin(self) -> Origin:
        """Where an event of this moment comes from."""
        serial = self.record.serial if self.record else None
        return Origin(timestamp(self.job.now()), self.job.station, self.slot.name, serial, self.board.mac)

    def redacted(self, text: str) -> str:
        """*text* without the secrets of this visit."""
        return redact(text, *self.secrets)
