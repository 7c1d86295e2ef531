"""A board's visit at a slot: what its steps share, and what changes while they run.

What a step may rely on comes from its stage (`line/stages.py`). A visit keeps what the events, the log and the cleanup
need, also after a step that failed halfway.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rmfab.ledger.events import timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.line.connection import BoardConnection
from rmfab.line.events import LabelState, LineEvent, Message, Origin
from rmfab.line.job import Job, PreparedRelease
from rmfab.line.proofs import Proofs
from rmfab.line.recorder import Recorder
from rmfab.line.station import Slot
from rmfab.secret import Secret, redact

if TYPE_CHECKING:
    from rmfab.cloud.node_watch import NodeWatch
    from rmfab.identity.identity import Identity


@dataclass
class Visit:
    """One board on one slot, from the opening of its port to its verdict.

    *keep_going* raises Aborted if the operator stops the line. *began* is when the current step started (monotonic).
    *record* is the unit's record in the ledger, once known, and *state* its current state. *secrets* are removed from
    all output. *measured* contains the measurements of the current step, which are reported even if it fails.
    *label*: what is known of its label, None before the step that prints it. *holds_network*: the unit was given Wi-Fi
    credentials. *silent*: its app has started without a word on the console. *until_end* closes what is open until the
    end of the visit.
    """

    job: Job
    slot: Slot
    tell: Callable[[LineEvent], None]
    keep_going: Callable[[], None]
    board: BoardConnection
    recorder: Recorder
    began: float = 0.0
    record: LedgerIdentity | None = None
    state: State | None = None
    secrets: list[Secret[str]] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    label: LabelState | None = None
    holds_network: bool = False
    silent: bool = False
    until_end: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def proofs(self) -> Proofs:
        """What the unit can prove on this slot. Raise InputError if the product requires more."""
        return self.job.proofs(self.slot)

    @property
    def provisioning_proves(self) -> bool:
        """Whether the step `provision` alone proves which unit it is."""
        return self.job.provisioning_proves(self.proofs)

    @property
    def unresettable(self) -> str | None:
        """Why the unit cannot be reset on this slot, None if it can."""
        if self.board.unwired:
            return "this slot cannot bring the board into its loader"
        if self.job.built.closes_download_mode and not self.proofs.commands.tried:
            return f"the firmware has closed the download mode, and {self.proofs.commands.why}"
        return None

    def has_firmware(self, firmware: PreparedRelease) -> None:
        """Note which release this unit was flashed with, if the job names none. Call it before `proofs` is read."""
        self.job = replace(self.job, firmware=firmware)
        self.board.use_baud(self.job.console_baud)

    def is_unit(self, record: LedgerIdentity) -> None:
        """Report the serial of *record* in the events from now on."""
        self.record = record
        self.state = record.state

    def open_identity(self, record: LedgerIdentity) -> Identity:
        """Open the identity in *record*, and remove its PoP from all output from now on."""
        identity = self.job.open_identity(record)
        self.secrets.append(identity.pop)
        return identity

    def watch(self, node_id: str) -> NodeWatch | None:
        """Watch what *node_id* publishes to its broker until the end of the visit. Return None without a witness.

        Raise StationError (cause `witness`) if the witness has lost its connection.
        """
        if self.job.witness is None:
            return None
        return self.until_end.enter_context(self.job.witness.watching(node_id, self.keep_going))

    def say(self, text: str) -> None:
        """Send information to the operator."""
        self.tell(Message(*self.origin(), "info", text))

    def warn(self, text: str) -> None:
        """Send a warning to the operator."""
        self.tell(Message(*self.origin(), "warning", text))

    def origin(self) -> Origin:
        """Return the origin of an event that happens now."""
        serial = self.record.serial if self.record else None
        return Origin(timestamp(self.job.now()), self.job.station, self.slot.name, serial, self.board.mac)

    def redacted(self, text: str) -> str:
        """Return *text* without the secrets of this visit."""
        return redact(text, *self.secrets)
