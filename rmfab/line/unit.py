"""The board on a slot while the line works on it: what is open, what is known, and who is told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rmfab.board.bootlog import BootLog
from rmfab.board.esp.facts import BoardFacts
from rmfab.board.esp.loader import Loader
from rmfab.board.esp.payload import Region
from rmfab.board.port import SerialPort
from rmfab.board.unit_console import UnitConsole
from rmfab.identity.identity import Identity
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.line.events import LineEvent, Message
from rmfab.line.job import Job
from rmfab.line.station import Slot
from rmfab.secret import Secret


class Aborted(Exception):
    """The operator stops the line; raised where a step waits, and caught at the slot."""


class Skipped(Exception):
    """The step has nothing to do here; the text says why."""


@dataclass(frozen=True)
class Marginal:
    """What a step returns that passed, but only just: the cause and reason beside its *measurements*."""

    cause: str
    reason: str
    measurements: dict[str, Any]


@dataclass
class Unit:
    """One board on one slot. Everything None until the step that finds it out.

    *transcript* is the console's text before its last restart; *secrets* are blanked in it beside the PoP. *measured*
    is what the step at work has measured, told also where it fails; *holds_network*: it was given Wi-Fi credentials.
    """

    job: Job
    slot: Slot
    tell: Callable[[LineEvent], None]
    stop: threading.Event
    port: SerialPort
    loader: Loader | None = None
    facts: BoardFacts | None = None
    binding: LedgerIdentity | None = None
    identity: Identity | None = None
    image: bytes | None = None
    proven: set[str] = field(default_factory=set)
    regions: tuple[Region, ...] = ()
    erased: tuple[tuple[str, int, int], ...] = ()
    boot_log: BootLog | None = None
    console: UnitConsole | None = None
    transcript: list[str] = field(default_factory=list)
    secrets: list[Secret[str]] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)
    holds_network: bool = False

    def keep_going(self) -> None:
        """Raises Aborted where the operator stops the line."""
        if self.stop.is_set():
            raise Aborted

    def say(self, level: str, text: str) -> None:
        """Tells the operator a word: *level* is `info` or `warning`."""
        moment = timestamp(self.job.now())
        self.tell(Message(moment, self.job.station, self.slot.name, self.serial, self.mac, level, text))

    @property
    def mac(self) -> str | None:
        """The board's MAC, once it was read in the loader."""
        return self.facts.mac if self.facts else None

    @property
    def serial(self) -> str | None:
        """The unit's serial, once it is bound."""
        return self.binding.serial if self.binding else None
