"""What a host received: one file per handover in its state folder, so that a handover is received once on a host.

It names the ledger that received it and its holder: the same ledger may go on after it was interrupted, but neither a
different workspace, nor the same ledger after it was restored and adopted again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rmfab.errors import InputError, IntegrityError, RmfabError
from rmfab.files import make_folder, read_input, write_file
from rmfab.json_text import parse_json
from rmfab.ledger.host import PoolHost


@contextmanager
def received(
    host: PoolHost,
    pool: str,
    handover: int,
    ledger: str,
    holder: str,
    where: str,
    has_it: Callable[[], bool],
    unsettled: type[Exception],
) -> Iterator[None]:
    """Note that *ledger* with *holder*, at *where*, receives *handover* of *pool*; forget it if the block fails.

    The note stays if the ledger *has_it* all the same, such as after ^C at the end or an error of the record, and after
    an error of the type *unsettled*, when it may have it.

    Raise IntegrityError (cause `handover-received`) if a different one has received it, or InputError.
    """
    path = host.state / f"{pool}-{handover}.received"
    make_folder(host.state)
    content = json.dumps({"ledger": ledger, "holder": holder, "where": where}, sort_keys=True).encode()
    try:
        new = write_file(path, content, secret=True)
    except InputError as error:
        if error.cause != "exists":
            raise
        new = False
        _judge(read_input(path), ledger, holder, path)
    try:
        yield
    except unsettled:
        raise
    except BaseException:
        with suppress(OSError, RmfabError):
            if new and not has_it():
                path.unlink()
        raise


def _judge(content: bytes, ledger: str, holder: str, path: Path) -> None:
    """Raise IntegrityError unless *content* says that the same ledger began to receive it, and was interrupted."""
    try:
        known = parse_json(content)
    except ValueError:
        known = None
    if not isinstance(known, dict):
        known = {"where": "an unknown folder"}
    if (known.get("ledger"), known.get("holder")) != (ledger, holder):
        raise IntegrityError(
            f"this host has received this handover before, in {known.get('where')}",
            where=str(path),
            hint="work there; if that workspace is lost, ask the owner to declare the handover lost, and for a new one",
            cause="handover-received",
        )
