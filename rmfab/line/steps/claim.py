"""The step `claim`: bind an identity to the board, durably, before the first byte is written."""

from __future__ import annotations

import hashlib
import time
from typing import Any

from rmfab.board.esp.loader import Loader
from rmfab.board.esp.payload import blank_md5
from rmfab.errors import BatchUsedUp, InputError, one_line
from rmfab.identity.factory_image import factory_image
from rmfab.label.scan import may_hold_pop
from rmfab.ledger.claim_terms import Carried, Claim, refuse_given
from rmfab.ledger.events import Outcome, timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.line.carried import carried_in
from rmfab.line.code_desk import CodeDesk
from rmfab.line.ending import Ending, Passed, Seen
from rmfab.line.events import Step
from rmfab.line.job import Job
from rmfab.line.stages import Claimed, Writable
from rmfab.line.step_record import StepRecord
from rmfab.line.visit import Visit
from rmfab.product.serial import SerialSource
from rmfab.release.partition_table import Partition

_LONGEST_SHOWN = 64
_AGAIN = "pass --again to make it again, with the same identity"


def claim(visit: Visit, stage: Writable) -> Passed[Claimed]:
    """Bind an identity to this board, durably, before the first byte is written.

    A finished unit is left as it is, unless the job makes such units again.
    """
    job = visit.job
    held = job.ledger.identity_by_mac(stage.mac)
    old = None
    if held is not None and job.replaces is not None and held.name == job.replaces.name:
        old, held = held, None  # it is void from the claim on
    if held is not None and _finished(job, held) and not job.again and job.serial in (None, held.serial):
        visit.is_unit(held)
        raise Seen(f"verified and labelled already, so it is not flashed; {_AGAIN}")
    own = None if held is None else factory_image(visit.open_identity(held), job.product)
    partition = stage.firmware.release.table.required(job.product.factory.partition)
    carried = _carried(stage.loader, partition, own)
    given = _given(visit, stage.mac, old) if held is None else None
    try:
        claimed = visit.recorder.claim(
            stage.mac, visit.slot.name, timestamp(job.now()), carried, lambda made: _record(visit, made), given
        )
    except BatchUsedUp as error:
        raise BatchUsedUp(error.what, hint=job.more) from error
    record = claimed.identity
    visit.is_unit(record)
    if claimed.other_batch:
        visit.warn(f"this board keeps its identity {record.serial} of batch {record.batch}")
    if claimed.unknown is not None:
        visit.warn(
            f'this board\'s flash contains the identity "{_shown(claimed.unknown)}", which is not of this ledger; '
            f"{record.serial} replaces it: if the board has a label, destroy it"
        )
    return Passed(Claimed(stage.loader, stage.mac, stage.firmware, record), _measured(claimed))


def _finished(job: Job, held: LedgerIdentity) -> bool:
    """Return whether nothing is left to be done: verified, labelled, and the label scanned if it has to be."""
    return held.finished and (held.standing.scanned or not job.product.label.scan_back)


def _given(visit: Visit, mac: str, old: LedgerIdentity | None) -> str | None:
    """Return the serial that comes with the board *mac*, None if the product counts serials, or no code is at hand.

    A scanned one that the board had with its *old* identity is still on it.
    """
    job, pattern = visit.job, visit.job.product.serial
    if pattern.source in (SerialSource.MAC, SerialSource.UPPER_MAC):
        return pattern.of_mac(mac)
    if pattern.source is SerialSource.COUNTER:
        return None
    if old is not None and old.standing.given_serial is not None:
        return old.standing.given_serial
    if job.serial is not None:
        code = pattern.code_in(job.serial)
        job.product.scan.judge(code)
        return pattern.of_code(code)
    return None if job.codes is None else _scanned(visit, mac, job.codes)


def _scanned(visit: Visit, mac: str, codes: CodeDesk) -> str:
    """Return the serial with the code that the operator scans; ask again for one that cannot be this board's."""
    job = visit.job
    while True:
        scanned = codes.code(visit.slot.name, "scan or type the code of this board", visit.say, visit.keep_going)
        if may_hold_pop(scanned):
            visit.warn("this is the QR code of a label; scan the code of the board")
            continue
        try:
            serial = job.product.serial.of_code(job.product.scan.code(scanned))
            refuse_given(job.ledger.identity_by_serial(serial), serial, mac)
        except InputError as error:
            visit.warn(f"{error.what}; {error.hint}")
        else:
            return serial


def _record(visit: Visit, claimed: Claim) -> StepRecord:
    """Return the record of this step once it has passed: after the claim, nothing is left that may fail."""
    origin = visit.origin()._replace(serial=claimed.identity.serial)
    ending = Ending(Outcome.PASS, measurements=_measured(claimed))
    return StepRecord(origin, Step.CLAIM, ending, time.monotonic() - visit.began)


def _measured(claimed: Claim) -> dict[str, Any]:
    measured = {"again": claimed.again, "restored": claimed.restored, "batch": claimed.identity.batch}
    return measured if claimed.unknown is None else measured | {"replaces": _shown(claimed.unknown)}


def _shown(node_id: str) -> str:
    """Return the *node_id* of a board for people: anything may be in its flash."""
    return one_line(node_id, _LONGEST_SHOWN)


def _carried(loader: Loader, partition: Partition, own: bytes | None) -> Carried | None:
    """Return the identity in the board's factory partition, None if it is blank or already the board's own image."""
    digest = loader.md5(partition.offset, partition.size)
    own_digest = hashlib.md5(own, usedforsecurity=False).hexdigest() if own else None
    if digest in (blank_md5(partition.size), own_digest):
        return None
    return carried_in(loader.read(partition.offset, partition.size))
