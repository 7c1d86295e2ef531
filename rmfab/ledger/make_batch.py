"""Making a batch: identities from their makers into the ledger, chunk by chunk, until it can be claimed from.

Cut short anywhere, the same call goes on: chunks that stand are not made again. What the ledger finds taken (a PoP, a
service name) is drawn again before it is written.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from datetime import datetime

from rmfab.errors import IntegrityError
from rmfab.identity.make_identities import ChunkResult, ChunkSpec, Recipe, generate, remake, with_rows
from rmfab.identity.values import ValuesFile
from rmfab.ledger.events import timestamp
from rmfab.ledger.records import Batch
from rmfab.ledger.store import Ledger
from rmfab.signals import undisturbed

_REDRAWS = 100


def make_batch(
    ledger: Ledger,
    batch: Batch,
    recipe: Recipe,
    *,
    values: ValuesFile | None,
    jobs: int,
    station: str,
    now: Callable[[], datetime],
) -> Generator[int, None, None]:
    """Makes what *batch* still lacks and closes it; yields how many identities stand after each chunk.

    Raises InputError for an identifier that is taken, LedgerError where the ledger cannot be written, IntegrityError
    where the source of randomness repeats itself. What stands by then stays, and the same call goes on.
    """
    plans = ledger.missing_chunks(batch)
    standing = batch.size - sum(plan.count for plan in plans)
    specs: Iterator[ChunkSpec] = (ChunkSpec(plan.number, plan.first, plan.count) for plan in plans)
    if values is not None:
        specs = with_rows(specs, values.rows())
    with closing(generate(recipe, specs, jobs)) as results:
        for result in results:
            with undisturbed():
                _write(ledger, batch, recipe, result)
            standing += result.spec.count
            yield standing
    with undisturbed():
        ledger.close_batch(batch, station, timestamp(now()))


def _write(ledger: Ledger, batch: Batch, recipe: Recipe, result: ChunkResult) -> None:
    for _ in range(_REDRAWS):
        taken = ledger.add_chunk(batch, result.spec.number, result.wrapped_data_key, result.records)
        if not taken:
            return
        result = remake(recipe, result, taken)
    raise IntegrityError(
        "PoPs or service names are taken however often they are drawn again",
        where=batch.name,
        hint="a batch of over a million units runs out of 24-bit service names; make several batches",
        cause="randomness",
    )
