"""The step `claim`: bind an identity to the board, durably, before the first byte is written."""

from __future__ import annotations

import hashlib

from rmfab.board.esp.loader import Loader
from rmfab.board.esp.payload import blank_md5
from rmfab.identity.factory_image import factory_image
from rmfab.identity.identity import Identity
from rmfab.ledger.claims import Carried
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.line.ending import Passed
from rmfab.line.stages import Bound, Claimed, Writable
from rmfab.line.visit import Visit
from rmfab.nvs.reader import read_image
from rmfab.release.partition_table import Partition


def claim(visit: Visit, stage: Writable) -> Passed[Claimed]:
    """Bind an identity to this board, durably, before the first byte is written."""
    job = visit.job
    held = job.ledger.identity_by_mac(stage.mac)
    own = None if held is None else _opened(visit, held)
    partition = stage.firmware.release.table.required(job.product.factory.partition)
    claimed = job.ledger.claim(
        stage.mac,
        product=job.product.name,
        batch=job.batch,
        serial=job.serial,
        station=job.station,
        slot=visit.slot.name,
        ts=timestamp(job.now()),
        carried=_carried(stage.loader, partition, own[1] if own else None),
    )
    record = claimed.identity
    visit.is_unit(record)
    identity, image = own or _opened(visit, record)
    if claimed.other_batch:
        visit.warn(f"this board keeps its identity {record.serial} of batch {record.batch}")
    return Passed(
        Claimed(stage.loader, stage.mac, stage.firmware, Bound(record, identity), image),
        {"again": claimed.again, "restored": claimed.restored, "batch": record.batch},
    )


def _opened(visit: Visit, record: LedgerIdentity) -> tuple[Identity, bytes]:
    """Return the identity in *record*, and its factory image."""
    identity = visit.open_identity(record)
    return identity, factory_image(identity, visit.job.product)


def _carried(loader: Loader, partition: Partition, own: bytes | None) -> Carried | None:
    """Return the identity in the board's factory partition, None if it is blank or already the board's own image."""
    digest = loader.md5(partition.offset, partition.size)
    own_digest = hashlib.md5(own, usedforsecurity=False).hexdigest() if own else None
    if digest in (blank_md5(partition.size), own_digest):
        return None
    return _read_carried(loader.read(partition.offset, partition.size))


def _read_carried(image: bytes) -> Carried | None:
    """Return the identity in an NVS image, in any namespace, or None if it contains none."""
    node_id = random = None
    for entry in read_image(image).entries:
        if entry.key == "node_id" and isinstance(entry.value, (bytes, str)):
            raw = entry.value if isinstance(entry.value, bytes) else entry.value.encode()
            node_id = raw.rstrip(b"\0").decode("utf-8", "replace")
        elif entry.key == "random" and isinstance(entry.value, bytes):
            random = hashlib.sha256(entry.value).hexdigest()
    return Carried(node_id, random) if node_id or random else None
