"""Identities that leave the pool are sealed again: under a data key of their own, which only their receiver opens."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from rmfab.identity.make_identities import reseal
from rmfab.identity.sealed_record import SealedRecord
from rmfab.identity.sealing import DATA_KEY_BYTES, Sealer, wrap
from rmfab.ledger.records import LedgerIdentity
from rmfab.secret import Secret
from rmfab.workspace.workspace import Workspace


class Resealing:
    """Seals identities of the ledger of *workspace* again, with the key of this station."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._openers: dict[int, Sealer] = {}

    def chunk(self, group: Sequence[LedgerIdentity], recipient: str) -> tuple[bytes, list[SealedRecord]]:
        """Return a new data key, wrapped for *recipient*, and the records of *group* sealed under it.

        Raise StationError if this station cannot open them, IntegrityError if one was altered.
        """
        key = Secret(secrets.token_bytes(DATA_KEY_BYTES))
        sealer = Sealer(key, self._workspace.ledger.id, group[0].batch, secrets.token_bytes)
        records = [reseal(one.record, self._opener(one), sealer) for one in group]
        return wrap(key, [recipient]), records

    def _opener(self, one: LedgerIdentity) -> Sealer:
        opener = self._openers.get(one.chunk)
        if opener is None:
            key = self._workspace.data_key(one.chunk)
            opener = self._openers[one.chunk] = Sealer(key, self._workspace.ledger.id, one.batch)
        return opener
