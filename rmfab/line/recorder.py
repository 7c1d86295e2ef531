"""The recorder of a visit: what it writes to the ledger, in as few transactions as possible.

The record of a step that passed before the claim waits for it, so that it belongs to the unit: it is written in the
claim's transaction, or with the next record if there is no claim. A process that is killed meanwhile loses this record,
and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable

from rmfab.ledger.claim_terms import Around, Carried, Claim, Wish
from rmfab.ledger.events import Event
from rmfab.line.events import Step
from rmfab.line.job import Job
from rmfab.line.step_record import StepRecord, UnitRecord


class Recorder:
    """The only writer of a visit's records. Every method may raise LedgerError or IntegrityError."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._waiting: list[Event] = []
        self._claim: StepRecord | None = None

    def claim(
        self,
        mac: str,
        slot: str,
        ts: str,
        carried: Carried | None,
        made: Callable[[Claim], StepRecord],
        given: str | None,
    ) -> Claim:
        """Bind an identity to *mac*, with the records that wait and that of the step itself, which *made* returns.

        *given* is the serial that comes with the board, None if it has one, or none is known.
        """
        job = self._job
        records: list[StepRecord] = []

        def after(claim: Claim) -> Event:
            records.append(made(claim))
            return records[-1].for_ledger()

        claim = job.ledger.claim(
            mac,
            Wish(
                job.product.name,
                job.batch,
                job.serial,
                gives=job.product.serial.late,
                given=given,
                replaces=job.replaces,
            ),
            station=job.station,
            ts=ts,
            slot=slot,
            carried=carried,
            around=Around(tuple(self._waiting), after),
        )
        self._waiting.clear()
        self._claim = records[-1]
        return claim

    def step(self, record: StepRecord) -> StepRecord:
        """Record a step, unless it waits for the claim. Return its record: that of a passed claim is already there."""
        if record.step is Step.CLAIM and record.ending.good and self._claim is not None:
            return self._claim
        if record.ending.good and self._claim is None and Step.CLAIM in self._job.steps:
            self._waiting.append(record.for_ledger())
            return record
        self._write(record.for_ledger())
        return record

    def unit(self, record: UnitRecord) -> None:
        """Record a verdict."""
        self._write(record.for_ledger())

    def update(self, event: Event) -> None:
        """Record that the unit is about to be told to install a different release."""
        self._write(event)

    def label(self, event: Event) -> None:
        """Record what became known of the unit's label."""
        self._write(event)

    def _write(self, event: Event) -> None:
        self._job.ledger.record(self._job.station, [*self._waiting, event])
        self._waiting.clear()
