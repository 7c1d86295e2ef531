"""The job: what all slots of one run share, from product, release and ledger to the options of the command.

The common firmware is compressed here, once for all boards, while they connect.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.board.esp.payload import Region, compress
from rmfab.board.native_usb import is_native_usb
from rmfab.ledger.records import LedgerIdentity
from rmfab.line.code_desk import CodeDesk
from rmfab.line.events import Step
from rmfab.line.ledger_opening import LedgerOpening
from rmfab.line.own_work import OwnWork
from rmfab.line.proofs import Proofs, console_baud, proofs_of
from rmfab.line.radio.air import Air
from rmfab.line.station import Slot
from rmfab.product.product import Product
from rmfab.product.vocabulary import Credentials
from rmfab.release.acceptance import Accepted
from rmfab.release.build_config import UNKNOWN, BuildConfig
from rmfab.release.release import Release
from rmfab.signals import SLICE_SECONDS

if TYPE_CHECKING:
    from rmfab.identity.identity import Identity
    from rmfab.line.label_work import LabelWork
    from rmfab.line.line_ledger import LineLedger
    from rmfab.line.line_witness import LineWitness
    from rmfab.line.slot_book import SlotBook

FLASH_STEPS: tuple[Step, ...] = (Step.DETECT, Step.CLAIM, Step.FLASH, Step.READBACK)
VERIFY_STEPS: tuple[Step, ...] = (Step.DETECT, Step.BOOT, Step.IDENTIFY, Step.PROVISION)
RUN_STEPS: tuple[Step, ...] = (*FLASH_STEPS, Step.BOOT, Step.IDENTIFY, Step.PROVISION, Step.RESET, Step.LABEL)
RESET_STEPS: tuple[Step, ...] = (Step.RESET,)
UPDATE_STEPS: tuple[Step, ...] = (*VERIFY_STEPS, Step.UPDATE, Step.RESET, Step.RECHECK)
THERE_AND_BACK_STEPS: tuple[Step, ...] = (*VERIFY_STEPS, Step.UPDATE, Step.BACK, Step.RESET, Step.RECHECK)


class PreparedRelease:
    """An accepted release, and its parts compressed: once, by `compress_meanwhile` or on first use."""

    def __init__(self, accepted: Accepted) -> None:
        self.accepted = accepted
        self._regions: tuple[Region, ...] | None = None
        self._compressing = threading.Lock()

    def compress_meanwhile(self) -> None:
        """Compress the parts in a thread of its own."""
        threading.Thread(target=lambda: self.regions, name="compress", daemon=True).start()

    def wait(self, keep_going: Callable[[], None]) -> None:
        """Wait for the thread that compresses; *keep_going* is called meanwhile, and raises to give up."""
        while not self._compressing.acquire(timeout=SLICE_SECONDS):
            keep_going()
        self._compressing.release()

    @property
    def regions(self) -> tuple[Region, ...]:
        """The compressed parts, in the order in which they are written. Waits until all are compressed."""
        with self._compressing:
            if self._regions is None:
                parts = self.release.parts
                self._regions = tuple(compress(part.name, part.offset, part.data) for part in parts)
            return self._regions

    @classmethod
    def on_unit(cls, release: Release) -> PreparedRelease:
        """Return the release that a unit was flashed with, for a run that writes none of its parts."""
        return cls(Accepted(release))

    @property
    def release(self) -> Release:
        """The release."""
        return self.accepted.release


@dataclass(frozen=True)
class OfferedRelease:
    """A release that units may load over the air: its app is at *url*."""

    accepted: Accepted
    url: str

    @property
    def release(self) -> Release:
        """The release."""
        return self.accepted.release


@dataclass(frozen=True)
class UpdatePlan:
    """What the steps `update` and `back` do: to *to*, and, unless it is None, to *back*, within *timeout* seconds each.

    *before* is what the unit runs, *sent* returns how many bytes of images were sent so far.
    """

    before: Accepted
    to: OfferedRelease
    back: OfferedRelease | None
    timeout: float
    sent: Callable[[], int]


_NO_WORK = OwnWork()


@dataclass(frozen=True)
class Job:
    """One run of the line.

    *opening* opens the ledger on first use, *open_identity* a sealed identity with the station's key. *now* is the
    clock, *logs* the folder of console logs; the ledger records their paths relative to *root*, if it is given.
    *vouched* is called before each unit and raises RmfabError if the firmware is no longer trusted. *air* is the radio
    that the slots share, *witness* the station's client at the broker of the units, if the product needs one. *batch*
    and *serial* restrict what is claimed. *again*: units that are finished are made again. *console_reset*: the
    firmware's console does the factory reset. *update* is what units load over the air, *codes* the desk for scanned
    codes, *labels* what the step `label` works with, *slots* the book of this host's slots, *own* what the steps of the
    product work with. *find_release* returns a release by its digest, None if it is not on this host. *more* is how to
    get more identities here.
    """

    product: Product
    firmware: PreparedRelease | None
    opening: LedgerOpening
    open_identity: Callable[[LedgerIdentity], Identity]
    station: str
    steps: tuple[Step, ...]
    logs: Path
    now: Callable[[], datetime]
    challenge: Callable[[], str]
    vouched: Callable[[], None]
    air: Air
    witness: LineWitness | None = None
    batch: str | None = None
    serial: str | None = None
    again: bool = False
    console_reset: bool = False
    update: UpdatePlan | None = None
    root: Path | None = None
    codes: CodeDesk | None = None
    labels: LabelWork | None = None
    slots: SlotBook | None = None
    own: OwnWork = _NO_WORK
    find_release: Callable[[str], Release | None] = lambda _: None
    more: str | None = None

    @property
    def ledger(self) -> LineLedger:
        """The ledger, opened on first use. Raise LedgerError or IntegrityError if it cannot be opened."""
        return self.opening.ledger

    @property
    def built(self) -> BuildConfig:
        """The facts of the firmware, none of them without a release."""
        return UNKNOWN if self.firmware is None else self.firmware.release.configured

    @property
    def console_baud(self) -> int:
        """The rate of the units' consoles, in bits per second."""
        return console_baud(self.product.verify, self.built)

    @property
    def provisions(self) -> bool:
        """Whether the run tests the provisioning of its units."""
        return Step.PROVISION in self.steps and self.product.verify.provision

    def provisioning_proves(self, proofs: Proofs) -> bool:
        """Return whether the step `provision` proves which unit it is: by the PoP, or the key of its certificate."""
        return self.provisions and (self.product.provisioning.has_pop or proofs.challenge.required)

    def proofs(self, slot: Slot) -> Proofs:
        """Return what a unit on *slot* can prove. Raise InputError if the product requires more."""
        proofs = proofs_of(self.product.verify, self.built, is_native_usb(slot.link.address))
        return proofs if self.product.identity.credentials is Credentials.CERTIFICATE else proofs.unclaimed
