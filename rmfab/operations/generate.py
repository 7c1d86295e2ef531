"""Make a batch of identities, or continue an interrupted one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from rmfab.errors import InputError, UsageError
from rmfab.identity.ca import CertificateAuthority
from rmfab.identity.make_identities import Recipe, chunk_size, judge_mqtt_host
from rmfab.identity.policy import policy
from rmfab.identity.values import ValuesFile, judge_no_values_needed, open_values
from rmfab.ledger.batches import BatchOrder
from rmfab.ledger.make_batch import make_batch
from rmfab.ledger.records import REPLACES, Batch
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from rmfab.nvs.csv_dialect import Complaints
from rmfab.operations.advance import Advance
from rmfab.operations.begin_batch import (
    MAX_NUMBER,
    begin_batch,
    have_ledger,
    judge_has_recipients,
    judge_pool_names,
    judge_recipients,
)
from rmfab.operations.passphrases import CA_ENVIRONMENT, Passphrases
from rmfab.operations.pool import hold_pool
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.product.vocabulary import Credentials
from rmfab.workspace.create import batch_prefix, fingerprint
from rmfab.workspace.workspace import Workspace

MAX_COUNT = 2_000_000
MAX_JOBS = 256
_ROWS_AT_ONCE = 500
_LOST_CA = (
    "a lost passphrase cannot be recovered. Units already made keep working; for new ones, move ca/ away, create a new "
    "CA (`rmfab ca create`) and register it with the cloud"
)


@dataclass(frozen=True)
class GenerateRequest:
    """*count* identities, or one per row of the CSV *values*, in the batch named *batch* or a new one.

    *replace_void*: as many as are void in *batch* and not replaced yet, in a batch that replaces them. *jobs*: number
    of processes, None for one per core. *allow_files*: folders of `file` rows besides those of the config and *values*.
    *first_serial*: number of the first serial, None to count on. Raise UsageError without *count*, *values* and
    *replace_void*, or if a number is out of range.
    """

    count: int | None = None
    batch: str | None = None
    values: Path | None = None
    jobs: int | None = None
    allow_files: tuple[Path, ...] = ()
    replace_void: bool = False
    first_serial: int | None = None

    def __post_init__(self) -> None:
        if self.replace_void and (self.batch is None or self.count is not None):
            raise UsageError("--replace-void requires --batch, and counts by itself", hint="omit --count")
        if self.count is None and self.values is None and not self.replace_void:
            raise UsageError("missing --count or --values", hint="for example --count 5")
        if self.count is not None and not 1 <= self.count <= MAX_COUNT:
            raise UsageError(f"--count must be 1 to {MAX_COUNT}")
        if self.jobs is not None and not 1 <= self.jobs <= MAX_JOBS:
            raise UsageError(f"--jobs must be 1 to {MAX_JOBS}")
        if self.first_serial is not None and not 1 <= self.first_serial <= MAX_NUMBER:
            raise UsageError(f"--first-serial must be 1 to {MAX_NUMBER}")


def generate(
    workspace: Workspace, request: GenerateRequest, terminal: Terminal = UNATTENDED
) -> Generator[Advance | Batch, None, None]:
    """Make the batch of *request*; yield the progress, and last the batch.

    Raise InputError for invalid input, LedgerError if the ledger cannot be written, StationError if a worker dies.
    Identities made so far are kept; the same request continues the batch.
    """
    if workspace.has_ledger:
        workspace.make_ledger()  # completes one whose creation was interrupted, as by its state folder
        hold_pool(workspace, terminal)
    if not request.replace_void:
        yield from _generate(workspace, request, None, terminal)
        return
    replaced = workspace.ledger.closed_batch(request.batch or "")
    last = replaced
    while (order := _replacement(workspace.ledger, replaced, request)) is not None:
        for event in _generate(workspace, order, replaced.name, terminal):
            if isinstance(event, Batch):
                last = event
            else:
                yield event
    if last is replaced:
        terminal.say(f"batch {replaced.name}: every void identity is replaced already")
    yield last


def _replacement(ledger: Ledger, replaced: Batch, request: GenerateRequest) -> GenerateRequest | None:
    """Return the request for what is still to be replaced: the batch that was begun, or a new one; None if nothing is.

    Raise InputError if the batch *replaced* is a replacement itself.
    """
    if replaced.replaces is not None:
        raise InputError(
            f"batch {replaced.name} replaces void identities of {replaced.replaces}",
            hint=f"pass --batch {replaced.replaces}: it counts the void identities of both",
        )
    earlier = ledger.replacements(replaced.name)
    begun = next((batch for batch in earlier if not batch.closed), None)
    if begun is not None:
        return replace(request, replace_void=False, batch=begun.name, count=begun.size)
    names = {replaced.name, *(batch.name for batch in earlier)}
    void = sum(count.states[State.VOID] for count in ledger.counts() if count.batch.name in names)
    lacking = void - sum(batch.size for batch in earlier)
    if lacking <= 0:
        return None
    name = f"{replaced.name}.r{len(earlier) + 1}"
    return replace(request, replace_void=False, batch=name, count=lacking)


def _generate(
    workspace: Workspace, request: GenerateRequest, replaces: str | None, terminal: Terminal
) -> Generator[Advance | Batch, None, None]:
    """Make one batch as `generate` does; *replaces* names the batch whose void identities it replaces."""
    values = _values(workspace, request)
    for warning in values.warnings if values is not None else ():
        terminal.warn(warning.text, warning.hint)
    count = values.count if values is not None else request.count or 0
    with _authority(workspace, terminal) as authority:
        order = _order(workspace, replace(request, count=count), replaces, values, authority)
        judge_recipients(workspace)
        have_ledger(workspace, terminal)
        batch = begin_batch(workspace, order, terminal)
        if batch.closed:
            terminal.say(f"batch {batch.name}: complete already, {counted(batch.size, 'identity', 'identities')}")
        else:
            if values is not None and values.node_ids and authority is not None:
                terminal.warn(
                    f"{values.path}: new keys and certificates are made for {counted(count, 'node id')} of this file",
                    "a certificate that a node id already has elsewhere, as in the cloud, does not fit these units: "
                    "register the new one in its place",
                )
            yield from _make(workspace, batch, values, authority, request.jobs or os.cpu_count() or 1)
            made = f"batch {batch.name}: {counted(batch.size, 'identity', 'identities')} made"
            terminal.say(made + _unused_elsewhere(workspace.ledger, batch))
    yield batch


def _unused_elsewhere(ledger: Ledger, batch: Batch) -> str:
    """Return the end of a message about other batches of the same product with unused identities, empty if none."""
    counts = (one for one in ledger.counts() if one.batch.closed and one.batch.product == batch.product)
    unused = {
        one.batch.name: free for one in counts if one.batch.name != batch.name and (free := one.states[State.GENERATED])
    }
    if not unused:
        return ""
    if len(unused) == 1:
        ((name, free),) = unused.items()
        return f"; {name} still has {free} unused"
    return f"; {len(unused)} other batches still have {sum(unused.values())} unused (`rmfab status`)"


def _values(workspace: Workspace, request: GenerateRequest) -> ValuesFile | None:
    """Open the values file. Raise InputError if it does not fit the product, the count, or other batches."""
    if request.values is None:
        judge_no_values_needed(workspace.product)
        return None
    values = open_values(request.values, workspace.product, request.allow_files)
    if request.count is not None and request.count != values.count:
        rows = counted(values.count, "row")
        raise InputError(f"--count is {request.count}, but the file has {rows}", where=str(request.values))
    if values.serials and request.first_serial is not None:
        raise UsageError(
            "--first-serial is for serials that rmfab counts",
            where=str(request.values),
            hint="omit it: the file has them",
        )
    if workspace.has_ledger:
        _refuse_taken(workspace.ledger, values, request.batch)
    return values


def _make(
    workspace: Workspace, batch: Batch, values: ValuesFile | None, authority: CertificateAuthority | None, jobs: int
) -> Generator[Advance, None, None]:
    recipe = Recipe.of(
        workspace.product,
        ledger=workspace.ledger.id,
        batch=batch.name,
        first_number=batch.first_n,
        ca=authority,
        unique_key=workspace.unique_key,
        recipients=sorted(set(workspace.product.recipients.values())),
        now=workspace.now(),
    )
    made = make_batch(
        workspace.ledger, batch, recipe, values=values, jobs=jobs, station=workspace.station.name, now=workspace.now
    )
    with closing(made):
        for standing in made:
            yield Advance(standing, batch.size)


def _order(
    workspace: Workspace,
    request: GenerateRequest,
    replaces: str | None,
    values: ValuesFile | None,
    authority: CertificateAuthority | None,
) -> BatchOrder:
    """Return the order for the ledger: identities of exactly this product, CA and values file."""
    product = workspace.product
    extra = {"ca": hashlib.sha256(authority.certificate_der).hexdigest()} if authority else {}
    if values is not None:
        extra["values"] = values.sha256
    if replaces is not None:
        extra[REPLACES] = replaces
    counted = (values is None or not values.serials) and not product.serial.late
    if counted or product.serial.late:
        extra["serials"] = str(product.serial)
    prefix = batch_prefix(product.name)
    if product.serial.late:
        _judge_late(request, prefix)
    return BatchOrder(
        name=request.batch,
        prefix=prefix,
        product=product.name,
        size=request.count or 0,
        policy=policy(product) | extra,
        unique_key=fingerprint(workspace.unique_key),
        serial_of=product.serial.serial if counted else None,
        chunk_size=chunk_size(product.identity),
        first_number=request.first_serial,
    )


def _judge_late(request: GenerateRequest, prefix: str) -> None:
    """Raise UsageError if *request* numbers serials that come with the boards, InputError as `judge_pool_names`."""
    if request.first_serial is not None:
        raise UsageError(
            "--first-serial is for serials that rmfab counts",
            where="product.toml: [product] serial",
            hint="omit it: each board brings its serial",
        )
    judge_pool_names(request.batch or f"{prefix}-0001", request.count or 1)


def _authority(workspace: Workspace, terminal: Terminal) -> AbstractContextManager[CertificateAuthority | None]:
    """Open the CA as a context manager; None if devices get their certificates by self or assisted claiming.

    Raise InputError if no station could open the identities, or no cloud would accept them.
    """
    judge_has_recipients(workspace.product)
    if workspace.product.identity.credentials is Credentials.CLOUD_CLAIM:
        return nullcontext()
    judge_mqtt_host(workspace.product.identity)
    passphrases = Passphrases(terminal, CA_ENVIRONMENT, lost=_LOST_CA)
    return closing(passphrases.opened(lambda ask: CertificateAuthority.load(workspace.ca_folder, ask, workspace.now())))


def _refuse_taken(ledger: Ledger, values: ValuesFile, name: str | None) -> None:
    """Raise ComplaintsError for serials and node ids of *values* that other batches contain, each with its line."""
    own = {
        batch.name
        for batch in ledger.batches()
        if json.loads(batch.policy).get("values") == values.sha256
        and (batch.name == name if name is not None else not batch.closed)
    }
    complaints = Complaints(values.path)
    group: dict[tuple[str, str], int] = {}
    for row in values.rows():
        if row.serial is not None:
            group["serial", row.serial] = row.line
        if row.node_id is not None:
            group["node_id", row.node_id] = row.line
        if len(group) >= _ROWS_AT_ONCE:
            _complain_of_taken(ledger, group, own, complaints)
            group.clear()
    _complain_of_taken(ledger, group, own, complaints)
    complaints.settle()


def _complain_of_taken(
    ledger: Ledger, group: dict[tuple[str, str], int], own: set[str], complaints: Complaints
) -> None:
    """Add a complaint for each value of *group* (column and value → line) that a batch not in *own* contains."""
    serials = [value for column, value in group if column == "serial"]
    node_ids = [value for column, value in group if column == "node_id"]
    lines = (
        (group[taken.column, taken.value], taken)
        for taken in ledger.find_taken({"serial": serials, "node_id": node_ids})
    )
    for line, taken in sorted(lines, key=lambda found: found[0]):
        if taken.batch in own:
            continue
        hint = f"each {taken.column} must be unique; remove the line, or leave out the column"
        complaints.add(line, f'{taken.column} "{taken.value}" is already in batch {taken.batch}', hint=hint)
