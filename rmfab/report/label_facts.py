"""What is known of a unit's labels, as text and as JSON, for every report that shows it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rmfab.ledger.standing import Standing


def as_lines(standing: Standing) -> Iterator[str]:
    """Yield the lines of `rmfab trace` about the labels of a unit."""
    for word, count, ts in _facts(standing):
        if count:
            often = "once" if count == 1 else f"{count} times, last"
            yield f"  {word:<12}  {often} {ts}"
    if standing.doubt_ts:
        yield f"  in doubt      since {standing.doubt_ts}: a printer may have printed its label"


def as_json(standing: Standing) -> dict[str, Any]:
    """Return the count and the last time of each word, and since when a label is in doubt."""
    counts = {word: {"count": count, "last": ts} for word, count, ts in _facts(standing)}
    return counts | {"in_doubt": standing.doubt_ts}


def _facts(standing: Standing) -> Iterator[tuple[str, int, str | None]]:
    yield "labelled", standing.labelled_count, standing.labelled_ts
    yield "sent", standing.sent_count, standing.sent_ts
    yield "printed", standing.printed_count, standing.printed_ts
    yield "scanned", standing.scanned_count, standing.scanned_ts
