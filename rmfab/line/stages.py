"""Stages: what is true of the board on a slot between two steps. Each contains only what earlier steps found out.

    OnSlot ─ detect ─► Writable ─ claim ─► Claimed ─ flash ─► Written ─ readback ─► Flashed ─┐
       │        └────► InLoader ─────────────────────────────────────────────────────────────┤
       └─────────────────────────────────────────────────────────────────────────────────────┴─ boot ─► Running
    Running ─ identify ─► Identified ─ provision ─► Identified or Joined ─ cloud ─► the same ─ reset ─► AsNew ─ label
    Joined ─ update ─► Joined ─ back ─► Joined ─ reset ─► AsNew ─ recheck ─► AsNew, with `rmfab ota try`

`verify` writes nothing: its detect ends at `InLoader`, or stays `OnSlot` if the loader cannot be reached. `reset` may
start from `OnSlot`. A skipped step leaves the stage as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmfab.board.bootlog import BootLog
from rmfab.board.esp.facts import BoardFacts
from rmfab.board.esp.loader import Loader
from rmfab.board.esp.payload import Region
from rmfab.board.unit_console import UnitConsole
from rmfab.ledger.records import LedgerIdentity
from rmfab.line.job import PreparedRelease
from rmfab.release.plan import Erase

if TYPE_CHECKING:
    from rmfab.cloud.node_watch import NodeWatch
    from rmfab.identity.identity import Identity


@dataclass(frozen=True)
class Bound:
    """The unit that the board is: its record in the ledger, and the opened identity."""

    record: LedgerIdentity
    identity: Identity


@dataclass(frozen=True)
class OnSlot:
    """The port is open; nothing was sent to a board."""


@dataclass(frozen=True)
class InLoader:
    """The board waits in its loader and has reported its facts; it must not be written to."""

    facts: BoardFacts


@dataclass(frozen=True)
class Writable:
    """The board waits in its stub, and *firmware* may be written to it."""

    loader: Loader
    mac: str
    firmware: PreparedRelease


@dataclass(frozen=True)
class Claimed:
    """The board has its identity *record* in the ledger."""

    loader: Loader
    mac: str
    firmware: PreparedRelease
    record: LedgerIdentity


@dataclass(frozen=True)
class Written:
    """The flash should hold *regions* and be blank in *erased*; *proven* are the regions that it already held."""

    loader: Loader
    mac: str
    bound: Bound
    regions: tuple[Region, ...]
    erased: tuple[Erase, ...]
    proven: frozenset[str]


@dataclass(frozen=True)
class Flashed:
    """The flash was read back and is as expected; the board still waits in its stub."""

    bound: Bound


@dataclass(frozen=True)
class Running:
    """The firmware runs and *log* is its boot; *bound* is the expected unit, None if the ledger has none."""

    bound: Bound | None
    console: UnitConsole
    log: BootLog


@dataclass(frozen=True)
class Identified:
    """The unit runs and has proven that it is the expected unit."""

    bound: Bound
    console: UnitConsole


@dataclass(frozen=True)
class Joined(Identified):
    """The unit has an address in the factory network since *joined_at* (monotonic).

    *watch* has seen what the unit publishes to its broker since before that; None without a witness. *started_at*:
    when the unit was last restarted, if that was after it joined.
    """

    joined_at: float
    watch: NodeWatch | None
    started_at: float = float("-inf")


@dataclass(frozen=True)
class AsNew:
    """The unit runs, holds no network, and offers provisioning under its own name."""

    bound: Bound


Stage = OnSlot | InLoader | Writable | Claimed | Written | Flashed | Running | Identified | AsNew
