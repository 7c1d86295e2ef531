"""A parcel that becomes a file together with the record of it: both or neither.

The other order than in `rmfab.staging`. A handover without its record would be the worst that can happen: identities
that are free here, and in a file as well. So the file is written completely, but without its signature, inside the
transaction of the record; it is signed and gets its name once that is durable. A disk that is full undoes the record.
Whatever fails in between, or a kill, leaves a record without a file, which is written again by its number: the error
names the command (`PendingParcel.recording`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rmfab.errors import InputError, RmfabError
from rmfab.exchange.parcel import ParcelKind, ParcelWriter
from rmfab.files import file_error, is_there, put_in_place, refuse_target, sweep, sync_folder, temporary_folder
from rmfab.signals import undisturbed
from rmfab.signing.signer import Signer


class PendingParcel:
    """A parcel on its way to *target*. Call `add` and `complete` inside the transaction, `publish` after it; all of it
    inside of `recording`."""

    def __init__(self, writer: ParcelWriter, target: Path, signer: Signer, calm: ExitStack, *, force: bool) -> None:
        self._writer = writer
        self._target = target
        self._signer = signer
        self._calm = calm
        self._force = force
        self._again: str | None = None

    @contextmanager
    def recording(self, is_recorded: Callable[[], bool]) -> Iterator[None]:
        """Let an error of the block name the command that writes the file again, if *is_recorded* returns that its
        transaction is durable: a COMMIT may be, although what follows it fails."""
        try:
            yield
        except RmfabError as error:
            hint = None if self._again is None else _hint(is_recorded, self._again)
            if hint is not None:
                error.hinted(hint)
            raise

    def add(self, name: str, data: bytes) -> None:
        """Add a member. Raise StationError if the disk is full, InputError."""
        try:
            self._writer.add(name, data)
        except OSError as error:
            raise self._error(error) from error

    def complete(self, document: Mapping[str, Any], again: str) -> None:
        """Write everything except the signature; from here on ^C waits for the end. *again*: the command that writes
        the file again once it is recorded. Raise as `add` does."""
        try:
            self._writer.complete(document)
        except OSError as error:
            raise self._error(error) from error
        self._calm.enter_context(undisturbed())
        self._again = again

    def publish(self) -> None:
        """Sign the parcel and put it in place. Raise as `add` does."""
        try:
            self._writer.sign(self._signer)
            put_in_place(str(self._writer.path), str(self._target), self._force)
            sync_folder(self._target.parent)
        except OSError as error:
            raise self._error(error) from error

    def _error(self, error: OSError) -> RmfabError:
        return file_error("cannot write this file", error, str(self._target))


@contextmanager
def pending_parcel(target: Path, kind: ParcelKind, signer: Signer, *, force: bool) -> Iterator[PendingParcel]:
    """Yield a parcel that is nothing before it is published. Raise InputError if *target* exists, unless *force*."""
    refuse_target(target)
    if is_there(target) and not force:
        raise InputError("already exists", where=str(target), hint="--force replaces it", cause="exists")
    sweep(target.parent)
    with ExitStack() as calm, ExitStack() as stack:
        try:
            aside = stack.enter_context(temporary_folder(target))
            writer = ParcelWriter(aside, kind, signer.public)
        except OSError as error:
            raise file_error("cannot write this file", error, str(target)) from error
        stack.callback(writer.close)
        yield PendingParcel(writer, target, signer, calm, force=force)


def _hint(is_recorded: Callable[[], bool], again: str) -> str | None:
    """Return how to write the file again, None if it is not recorded."""
    try:
        if not is_recorded():
            return None
    except RmfabError:
        return f"once the ledger can be read, write the file again: `{again}`; if there is none, it was not recorded"
    return f"it is recorded; write the file again: `{again}`"
