"""`rmfab generate`: a batch of identities."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmfab.errors import InputError

if TYPE_CHECKING:
    from rmfab.identity.ca import CertificateAuthority
    from rmfab.identity.values import ValuesFile
    from rmfab.ledger.batches import BatchOrder
    from rmfab.ledger.store import Ledger
    from rmfab.workspace import Workspace

MAX_COUNT = 2_000_000
_GROUP = 500


@click.command("generate")
@click.option("--count", type=click.IntRange(1, MAX_COUNT), help="How many (default with --values: its rows).")
@click.option("--batch", help="The batch's name (default: the product's name and a number).")
@click.option("--values", type=click.Path(path_type=Path), help="A CSV with serial, node_id or extra columns.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Processes (default: one a core).")
def command(count: int | None, batch: str | None, values: Path | None, jobs: int | None) -> None:
    """Make identities, sealed into the ledger, and print the batch's name.

    A batch that was cut short is continued by the same command.

    \b
    rmfab generate --count 250
    rmfab generate --values csv/values.csv --batch lamp-0042
    """
    import os

    from rmfab.commands import terminal
    from rmfab.identity.values import check_not_needed, open_values
    from rmfab.workspace import open_workspace

    workspace = open_workspace(terminal.folder())
    opened = None
    if values is not None:
        opened = open_values(values, workspace.product)
        if count is not None and count != opened.count:
            raise InputError(f"--count {count}, but the file has {opened.count} rows", where=str(values))
        if workspace.has_ledger:
            _refuse_taken(workspace.ledger, opened, batch)
    elif count is None:
        raise click.UsageError("how many? --count N, or --values FILE")
    else:
        check_not_needed(workspace.product)
    size = opened.count if opened else count
    name = generate(workspace, size or 0, batch, opened, jobs or os.cpu_count() or 1)
    terminal.data(name)


def generate(workspace: Workspace, count: int, name: str | None, values: ValuesFile | None, jobs: int) -> str:
    """Makes a batch of *count* identities, or continues one; returns its name."""
    from rmfab.commands import terminal
    from rmfab.identity.make_identities import Recipe
    from rmfab.ledger.events import timestamp
    from rmfab.ledger.make_batch import make_batch
    from rmfab.workspace import now

    product = workspace.product
    authority = _authority(workspace)
    if workspace.make_ledger():
        terminal.say(f"a new ledger: {workspace.ledger_path}")
    batch = workspace.ledger.begin_batch(_order(workspace, count, name, values, authority), timestamp(now()))
    if batch.closed:
        terminal.say(f"batch {batch.name}: its {batch.size} identities were made before")
        return batch.name
    recipe = Recipe.of(
        product,
        ledger=workspace.ledger.id,
        batch=batch.name,
        first_number=batch.first_n,
        ca=authority,
        unique_key=workspace.unique_key,
        recipients=sorted(set(product.recipients.values())),
        now=now(),
    )
    made = make_batch(
        workspace.ledger, batch, recipe, values=values, jobs=jobs, station=workspace.station.name, now=now
    )
    with terminal.progress(f"batch {batch.name}", batch.size) as advance, closing(made):
        for standing in made:
            advance(standing)
    terminal.say(f"batch {batch.name}: {terminal.counted(batch.size, 'identity', 'identities')} made")
    return batch.name


def _order(
    workspace: Workspace,
    count: int,
    name: str | None,
    values: ValuesFile | None,
    authority: CertificateAuthority | None,
) -> BatchOrder:
    """What the ledger is asked for: identities of this product, CA and values file, and of no other."""
    from rmfab.identity.make_identities import chunk_size
    from rmfab.identity.policy import policy
    from rmfab.ledger.batches import BatchOrder
    from rmfab.workspace import batch_prefix, fingerprint

    product = workspace.product
    extra = {"ca": hashlib.sha256(authority.certificate_der).hexdigest()} if authority else {}
    if values is not None:
        extra["values"] = values.sha256
    counted = values is None or not values.serials
    if counted:
        extra["serials"] = str(product.serial)
    return BatchOrder(
        name=name,
        prefix=batch_prefix(product.name),
        product=product.name,
        size=count,
        policy=policy(product) | extra,
        unique_key=fingerprint(workspace.unique_key),
        serial_of=product.serial.serial if counted else None,
        chunk_size=chunk_size(product.identity),
    )


def _authority(workspace: Workspace) -> CertificateAuthority | None:
    """The CA, None where devices claim. Raises InputError where identities would be opened or reached by nobody."""
    from rmfab.identity.make_identities import check_mqtt_host
    from rmfab.product.vocabulary import Credentials

    if not workspace.product.recipients:
        raise InputError(
            "nobody could open the identities",
            where="product.toml: [recipients]",
            hint="`rmfab station key` prints one",
        )
    if workspace.product.identity.credentials is Credentials.CLAIM:
        return None
    check_mqtt_host(workspace.product.identity)
    return _open_ca(workspace)


def _open_ca(workspace: Workspace) -> CertificateAuthority:
    from rmfab.commands import passphrase
    from rmfab.commands.keys import closed_at_the_end
    from rmfab.identity.ca import CertificateAuthority
    from rmfab.workspace import now

    return closed_at_the_end(CertificateAuthority.load(workspace.ca_folder, passphrase.CA.ask, now()))


def _refuse_taken(ledger: Ledger, values: ValuesFile, name: str | None) -> None:
    """Raises ComplaintsError for serials and node ids of *values* that another batch has, each with its line."""
    from rmfab.nvs.csv_dialect import Complaints

    own = {
        batch.name
        for batch in ledger.batches()
        if json.loads(batch.policy).get("values") == values.sha256
        and (batch.name == name if name is not None else not batch.closed)
    }
    complaints = Complaints(values.path)
    group: dict[tuple[str, str], int] = {}

    def judge() -> None:
        serials = [value for column, value in group if column == "serial"]
        node_ids = [value for column, value in group if column == "node_id"]
        lines = ((group[taken.column, taken.value], taken) for taken in ledger.find_taken(serials, node_ids))
        for line, taken in sorted(lines, key=lambda found: found[0]):
            if taken.batch in own:
                continue
            hint = f"a {taken.column} is given once; remove the line, or leave the column out"
            complaints.add(line, f'{taken.column} "{taken.value}" is already in batch {taken.batch}', hint=hint)
        group.clear()

    for row in values.rows():
        if row.serial is not None:
            group["serial", row.serial] = row.line
        if row.node_id is not None:
            group["node_id", row.node_id] = row.line
        if len(group) >= _GROUP:
            judge()
    judge()
    complaints.settle()
