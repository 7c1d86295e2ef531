"""The making of a batch: write identities to the ledger, chunk by chunk, until it is complete.

After an interruption, the same call continues: existing chunks are not made again. A PoP or service name that the
ledger already uses is drawn again before it is written.
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
    """Make the missing identities of *batch* and close it; yield the number of written identities after each chunk.

    Raise InputError if an identifier is already used, LedgerError if the ledger cannot be written, IntegrityError if
    the random number generator repeats itself. Chunks written before an error stay, and the same call continues from
    there.
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
        f"PoPs or service names still collide after {_REDRAWS} redraws",
        where=batch.name,
        hint="split a batch of over a million units: 24-bit service names run out",
        cause="randomness",
    )
