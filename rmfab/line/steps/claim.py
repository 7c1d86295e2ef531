"""The step `claim`: bind an identity to the board, durably, before the first byte is written."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from rmfab.board.esp.loader import Loader
from rmfab.board.esp.payload import blank_md5
from rmfab.identity.factory_image import factory_image
from rmfab.ledger.claims import Carried, Claim
from rmfab.ledger.events import Outcome, timestamp
from rmfab.line.carried import carried_in
from rmfab.line.ending import Ending, Passed
from rmfab.line.events import Step
from rmfab.line.stages import Claimed, Writable
from rmfab.line.step_record import StepRecord
from rmfab.line.visit import Visit
from rmfab.release.partition_table import Partition


def claim(visit: Visit, stage: Writable) -> Passed[Claimed]:
    """Bind an identity to this board, durably, before the first byte is written."""
    job = visit.job
    held = job.ledger.identity_by_mac(stage.mac)
    own = None if held is None else factory_image(visit.open_identity(held), job.product)
    partition = stage.firmware.release.table.required(job.product.factory.partition)
    carried = _carried(stage.loader, partition, own)
    claimed = visit.recorder.claim(
        stage.mac, visit.slot.name, timestamp(job.now()), carried, lambda made: _record(visit, made)
    )
    record = claimed.identity
    visit.is_unit(record)
    if claimed.other_batch:
        visit.warn(f"this board keeps its identity {record.serial} of batch {record.batch}")
    return Passed(Claimed(stage.loader, stage.mac, stage.firmware, record), _measured(claimed))


def _record(visit: Visit, claimed: Claim) -> StepRecord:
    """Return the record of this step once it has passed: after the claim, nothing is left that may fail."""
    origin = visit.origin()._replace(serial=claimed.identity.serial)
    ending = Ending(Outcome.PASS, measurements=_measured(claimed))
    return StepRecord(origin, Step.CLAIM, ending, time.monotonic() - visit.began)


def _measured(claimed: Claim) -> dict[str, Any]:
    return {"again": claimed.again, "restored": claimed.restored, "batch": claimed.identity.batch}


def _carried(loader: Loader, partition: Partition, own: bytes | None) -> Carried | None:
    """Return the identity in the board's factory partition, None if it is blank or already the board's own image."""
    digest = loader.md5(partition.offset, partition.size)
    own_digest = hashlib.md5(own, usedforsecurity=False).hexdigest() if own else None
    if digest in (blank_md5(partition.size), own_digest):
        return None
    return carried_in(loader.read(partition.offset, partition.size))
