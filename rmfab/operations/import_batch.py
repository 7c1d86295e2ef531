"""Import a batch that was made elsewhere: its units become identities of the ledger, sealed like ours.

The whole source is reviewed before anything is written. A batch of boards that have their identity already goes into
quarantine as it is closed: no blank board ever gets one of its identities, only a board whose flash carries it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.errors import ComplaintsError, InputError, UsageError
from rmfab.exchange.found_unit import BatchSource, FoundUnit
from rmfab.exchange.judge_unit import UnitJudge
from rmfab.exchange.open_source import open_source
from rmfab.exchange.review import MOST_REFUSED, Review, judged_at
from rmfab.identity.ca import load_certificate
from rmfab.identity.identity import with_verifier
from rmfab.identity.make_identities import judge_mqtt_host
from rmfab.identity.policy import policy
from rmfab.identity.record_sealer import RecordSealer
from rmfab.identity.sealed_record import SealedRecord, pool_name
from rmfab.identity.sealing import DATA_KEY_BYTES, Sealer, wrap
from rmfab.ledger.batches import BatchOrder
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import IMPORTED, Batch, ChunkPlan
from rmfab.operations.advance import Advance
from rmfab.operations.begin_batch import (
    begin_batch,
    have_ledger,
    judge_has_recipients,
    judge_pool_names,
    judge_recipients,
)
from rmfab.operations.pool import hold_pool
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.product.product import Product
from rmfab.product.vocabulary import Credentials
from rmfab.secret import Secret
from rmfab.signals import undisturbed
from rmfab.workspace.create import fingerprint
from rmfab.workspace.workspace import Workspace

if TYPE_CHECKING:
    from cryptography import x509

_CHUNK_SIZE = 500


@dataclass(frozen=True)
class ImportRequest:
    """The batch in the folder *source*, as batch *batch*.

    *flashed*: boards have these identities already. *skip_refused*: import the units that can be, without the others.
    *authority*: the certificate of the CA that must have signed theirs, None for the one in *source*, if any.
    *serial_column*: the column of serials, None for `serial` if there is one.
    """

    source: Path
    batch: str
    flashed: bool = False
    skip_refused: bool = False
    authority: Path | None = None
    serial_column: str | None = None


@dataclass(frozen=True)
class Imported:
    """The *batch* of a source of this *kind*, and the complaints about each unit that was *refused*."""

    batch: Batch
    kind: str
    flashed: bool
    refused: tuple[InputError, ...]


def import_batch(
    workspace: Workspace, request: ImportRequest, terminal: Terminal = UNATTENDED
) -> Generator[Advance | Imported, None, None]:
    """Import the batch of *request*; yield the progress, and last what was imported.

    Raise ComplaintsError with every unit that is refused, before anything is written; InputError if the source does not
    fit the product. What was written before an interruption is kept and invisible; the same request continues.
    """
    product = workspace.product
    _judge_product(product)
    with closing(open_source(request.source, product.factory.namespace, request.serial_column)) as source:
        _judge_source(source, request, product)
        if workspace.has_ledger:
            workspace.make_ledger()  # completes one whose creation was interrupted, as by its state folder
            hold_pool(workspace, terminal)
        judge = UnitJudge(product, _authority(source, request), workspace.now(), flashed=request.flashed)
        own = _own(workspace, request, source)
        with closing(_review(workspace, own, judge)) as review:
            for done in source.prepare():
                yield Advance(done, 0, "images")
            for done in review.look_through(source):
                yield Advance(done, 0, "reviewed")
            _settle(review, source, request, terminal)
            _judge_same_units(own, review.accepted)
            judge_recipients(workspace)
            have_ledger(workspace, terminal)
            batch = begin_batch(workspace, _order(workspace, request, source, review.accepted), terminal)
            if batch.closed:
                terminal.say(f"batch {batch.name}: imported already, {counted(batch.size, 'identity', 'identities')}")
            else:
                units = review.accepted_units(source)
                yield from _write(workspace, batch, units, judge, on_boards=request.flashed)
                _report(batch, review, request, terminal)
            yield Imported(batch, source.kind.value, request.flashed, tuple(review.refused))


def _judge_product(product: Product) -> None:
    """Raise InputError if *product* cannot have identities from elsewhere."""
    judge_has_recipients(product)
    if product.identity.credentials is Credentials.CLOUD_CLAIM:
        raise InputError(
            "units of this product get their certificates by self or assisted claiming",
            where="[identity] credentials",
            hint='set [identity] credentials = "certificate" to import units that have theirs',
            cause="import-product",
        )
    judge_mqtt_host(product.identity)


def _judge_source(source: BatchSource, request: ImportRequest, product: Product) -> None:
    """Raise UsageError or InputError if *request* or *product* does not fit the kind of *source*."""
    if source.flashed and not request.flashed:
        raise UsageError(
            "boards have these identities: `esp-rainmaker-cli claim` flashes each board at once",
            where=str(request.source),
            hint="pass --flashed",
        )
    if source.has_serials and product.serial.late:
        raise InputError(
            f'the source has serials, and [product] serial is "{product.serial}"',
            where=str(request.source),
            hint='import it with a product whose serials are counted, such as serial = "LMP-{n:06d}"',
            cause="import-product",
        )


def _authority(source: BatchSource, request: ImportRequest) -> x509.Certificate | None:
    path = request.authority or source.authority
    return None if path is None else load_certificate(path)


def _own(workspace: Workspace, request: ImportRequest, source: BatchSource) -> Batch | None:
    """Return the batch of an import that continues, or is done. Raise InputError if it is a different one."""
    if not workspace.has_ledger:
        return None
    own = next((one for one in workspace.ledger.batches() if one.name == request.batch), None)
    if own is not None and own.imported != source.sha256:
        raise InputError(
            f"batch {own.name} already exists, and is not from this source",
            hint="choose a different name",
            cause="batch-exists",
        )
    return own


def _review(workspace: Workspace, own: Batch | None, judge: UnitJudge) -> Review:
    find_taken = workspace.ledger.find_taken if workspace.has_ledger else None
    return Review(judge, workspace.product, workspace.unique_key, find_taken, None if own is None else own.name)


def _judge_same_units(own: Batch | None, accepted: int) -> None:
    """Raise InputError if not as many units can be imported as when *own* began: its images are others now."""
    if own is None or own.size == accepted:
        return
    raise InputError(
        f"batch {own.name} has {own.size} units of this source, and {accepted} can be imported now",
        hint="--skip-refused with a different --batch imports those that are left"
        if own.closed
        else "restore the images as they were, and run the same command again",
        cause="batch-exists",
    )


def _settle(review: Review, source: BatchSource, request: ImportRequest, terminal: Terminal) -> None:
    """Report what the review found. Raise ComplaintsError for refused units that are not to be skipped."""
    unused = source.unused_images()
    if unused and not review.refused:
        terminal.warn(f"{counted(unused, 'image')} of {request.source} belong to no row, and are not imported")
    if not review.refused and review.accepted:
        return
    if request.skip_refused and review.accepted and len(review.refused) < MOST_REFUSED:
        for error in review.refused:
            terminal.warn(f"refused {error}", error.hint)
        return
    refused, total = len(review.refused), len(review.refused) + review.accepted
    more = f"more than {refused}" if refused >= MOST_REFUSED else f"{refused} of {total}"
    hint = f"--skip-refused imports the other {review.accepted}" if review.accepted else None
    summary = InputError(
        f"{more} units are refused, and nothing was imported",
        where=str(request.source),
        hint=None if refused >= MOST_REFUSED else hint,
        cause="import-refused",
    )
    raise ComplaintsError([*review.refused, summary])


def _order(workspace: Workspace, request: ImportRequest, source: BatchSource, size: int) -> BatchOrder:
    product = workspace.product
    extra = {IMPORTED: source.sha256, "source": source.kind.value, "flashed": "yes" if request.flashed else "no"}
    if not source.has_serials:
        extra["serials"] = str(product.serial)
    if product.serial.late:
        judge_pool_names(request.batch, size)
    return BatchOrder(
        name=request.batch,
        prefix="",
        product=product.name,
        size=size,
        policy=policy(product) | extra,
        unique_key=fingerprint(workspace.unique_key),
        serial_of=None if source.has_serials or product.serial.late else product.serial.serial,
        chunk_size=_CHUNK_SIZE,
    )


def _write(
    workspace: Workspace, batch: Batch, units: Iterator[FoundUnit], judge: UnitJudge, *, on_boards: bool
) -> Generator[Advance, None, None]:
    """Write the missing chunks of *batch*, and close it."""
    ledger, position = workspace.ledger, 0
    plans = ledger.missing_chunks(batch)
    standing = batch.size - sum(plan.count for plan in plans)
    for plan in plans:
        for _ in islice(units, plan.first - position):
            position += 1
        some = list(islice(units, plan.count))
        position += len(some)
        wrapped, records = _chunk(workspace, batch, plan, some, judge, secrets.token_bytes)
        with undisturbed():
            collides = ledger.add_chunk(batch, plan.number, wrapped, records)
        if collides:
            raise InputError(
                "a PoP was given to a different identity meanwhile", where=some[collides[0]].where, cause="taken"
            )
        standing += plan.count
        yield Advance(standing, batch.size)
    with undisturbed():
        ledger.close_batch(batch, workspace.station.name, timestamp(workspace.now()), on_boards=on_boards)


def _chunk(
    workspace: Workspace,
    batch: Batch,
    plan: ChunkPlan,
    units: list[FoundUnit],
    judge: UnitJudge,
    source: Callable[[int], bytes],
) -> tuple[bytes, list[SealedRecord]]:
    """Return the wrapped data key of a chunk, and its records. Raise InputError if the source has changed."""
    product = workspace.product
    if len(units) != plan.count:
        raise InputError("the source has fewer units than before", where=batch.name, hint="restore it as it was")
    data_key = Secret(source(DATA_KEY_BYTES))
    sealer = RecordSealer(Sealer(data_key, workspace.ledger.id, batch.name, source), workspace.unique_key)
    records = []
    for position, found in enumerate(units, plan.first):
        unit = judged_at(judge, found)
        drawn = with_verifier(unit.drawn, product.provisioning, source)
        serial = unit.serial or _serial(product, batch, position)
        records.append(sealer.record(serial, drawn, unit.certified, unit.extra))
    return wrap(data_key, sorted(set(product.recipients.values()))), records


def _serial(product: Product, batch: Batch, position: int) -> str:
    if batch.first_n is None:
        return pool_name(batch.name, position)
    return product.serial.serial(batch.first_n + position)


def _report(batch: Batch, review: Review, request: ImportRequest, terminal: Terminal) -> None:
    where = ", in quarantine: only a board whose flash has one can get it" if request.flashed else ""
    terminal.say(f"batch {batch.name}: {counted(batch.size, 'identity', 'identities')} imported{where}")
    if not request.flashed:
        terminal.warn(
            "whoever made this batch can still give its identities to boards, and each may be given once",
            "destroy its files, and void these identities in the ledger that made them, if one did; void those here "
            "that boards have already",
        )
    if review.unpaired:
        units = counted(review.unpaired, "unit")
        terminal.say(f"made the sec2 pair of {units}, whose images had none: it is written with the identity")
    if review.awkward:
        terminal.warn(
            f"the PoP of {counted(review.awkward, 'unit')} cannot be verified by Espressif's Python tools",
            "phones and rmfab can",
        )
