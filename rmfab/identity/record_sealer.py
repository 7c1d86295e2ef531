"""Sealing the secrets of an identity into the record that the ledger keeps.

Each secret is a field of its own, sealed under the data key of the identity's chunk (`rmfab.identity.sealing`).
`rmfab.identity.make_identities.open_identity` is the inverse.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rmfab.identity.identity import Drawn
from rmfab.identity.sealed_record import SealedRecord, pop_tag
from rmfab.identity.sealing import Sealer
from rmfab.secret import Secret

KEY, RANDOM, SEC2, EXTRA = "key", "random", "sec2", "extra"


@dataclass(frozen=True)
class Certified:
    """A certificate (DER) with its serial number, the node id that is its common name, and its key (SEC1 or PKCS #1
    DER)."""

    node_id: str
    serial_number: int
    certificate: bytes
    key: Secret[bytes]


class RecordSealer:
    """Sealer of records: secrets under *sealer*, PoPs compared under *unique_key*."""

    def __init__(self, sealer: Sealer, unique_key: Secret[bytes]) -> None:
        self._sealer = sealer
        self._unique_key = unique_key

    def record(
        self, serial: str, drawn: Drawn, certified: Certified | None, extra: Sequence[tuple[str, str, str]] = ()
    ) -> SealedRecord:
        """Return the record of the identity *serial*. *certified*: None for self or assisted claiming; *extra*:
        namespace, key and cell of each column of the extra config."""
        sealed_key = sealed_extra = None
        if certified is not None:
            sealed_key = self._sealer.seal(serial, KEY, certified.key)
        if extra:
            cells = json.dumps(extra, ensure_ascii=False, separators=(",", ":"))
            sealed_extra = self._sealer.seal(serial, EXTRA, Secret(cells.encode()))
        return SealedRecord(
            serial=serial,
            node_id=None if certified is None else certified.node_id,
            certificate_serial=None if certified is None else f"{certified.serial_number:x}",
            certificate=None if certified is None else certified.certificate,
            sealed_key=sealed_key,
            sealed_extra=sealed_extra,
            pop_tag=pop_tag(self._unique_key, drawn.pop),
            random_sha256=hashlib.sha256(drawn.random.reveal()).hexdigest(),
            service_name=drawn.service_name,
            sealed_random=self._sealer.seal(serial, RANDOM, drawn.random),
            sealed_sec2=self._sec2(serial, drawn),
        )

    def redrawn(self, record: SealedRecord, drawn: Drawn) -> SealedRecord:
        """Return *record* with a new `random`; key, certificate and names stay."""
        return replace(
            record,
            pop_tag=pop_tag(self._unique_key, drawn.pop),
            random_sha256=hashlib.sha256(drawn.random.reveal()).hexdigest(),
            service_name=drawn.service_name,
            sealed_random=self._sealer.seal(record.serial, RANDOM, drawn.random),
            sealed_sec2=self._sec2(record.serial, drawn),
        )

    def _sec2(self, serial: str, drawn: Drawn) -> bytes | None:
        if drawn.sec2_salt is None or drawn.sec2_verifier is None:
            return None
        return self._sealer.seal(serial, SEC2, Secret(drawn.sec2_salt + drawn.sec2_verifier.reveal()))
