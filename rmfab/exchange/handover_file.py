"""The file of a handover: identities, sealed for one factory station and signed by the owner.

    handover.json   the envelope with the document      product.toml    as it is at the owner
    chunk-00000 …   up to 500 identities each           release.rmfab   if it was asked for
    file-00 …       files that product.toml names       trust.json      if the owner has one
    owner.pub       the owner's public key

The secrets of a chunk are sealed under its own data key, which is wrapped for the factory station only. Names,
certificates and digests of secrets are in the clear.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from rmfab.errors import InputError
from rmfab.exchange import fields
from rmfab.exchange.parcel import Parcel
from rmfab.files import is_safe_name
from rmfab.identity.sealed_record import SealedRecord
from rmfab.ledger.batches import BatchOrder
from rmfab.ledger.handovers import Handover, Terms
from rmfab.ledger.records import Batch, BatchOrigin
from rmfab.signing import canonical
from rmfab.signing.publickey import VerifyingKey

CHUNK = 500
"""Identities per member and data key."""
OWNER, PRODUCT, RELEASE, TRUST = "owner.pub", "product.toml", "release.rmfab", "trust.json"
_BYTES = ("certificate", "sealed_key", "sealed_random", "sealed_sec2", "sealed_extra")
_OURS = ("keys", "ca", "logs", "state", "spool")
_OUR_FILES = ("ledger.db", "lease.", "station.toml")
_MOST_IDENTITIES = 2_000_000
_LONGEST_POLICY = 1 << 16


@dataclass(frozen=True)
class HandoverDocument:
    """What the owner signs. *policy*: that of the batch, as the ledger keeps it; *files*: the path in the workspace for
    each member that is a file; *unique_key*: the fingerprint of the key under which the owner compares PoPs."""

    origin: BatchOrigin
    product: str
    policy: str
    count: int
    ranges: tuple[tuple[int, int], ...]
    terms: Terms
    made: str
    unique_key: str
    files: Mapping[str, str]

    @classmethod
    def of(
        cls, pool: str, batch: Batch, given: Handover, unique_key: str, files: Mapping[str, str]
    ) -> HandoverDocument:
        """Return the document of the handover *given* of *batch*."""
        origin = BatchOrigin(pool, batch.name, given.number, given.terms.until)
        return cls(
            origin,
            batch.product,
            batch.policy,
            given.count,
            given.ranges,
            given.terms,
            given.ts,
            unique_key,
            dict(files),
        )

    @property
    def order(self) -> BatchOrder:
        """The batch that the receiver makes of it."""
        return BatchOrder(
            name=self.origin.local_name,
            prefix="",
            product=self.product,
            size=self.count,
            policy=canonical.parse(self.policy.encode()) | self.origin.policy,
            unique_key=self.unique_key,
            serial_of=None,
            chunk_size=CHUNK,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the document as a JSON object."""
        names = ("product", "policy", "count", "ranges", "made", "unique_key", "files")
        own = {name: getattr(self, name) for name in names}
        return own | {"origin": self.origin.policy, "to": vars(self.terms)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HandoverDocument:
        """Return the document in a JSON object. Raise ValueError, KeyError or TypeError."""
        origin = BatchOrigin(
            pool=fields.ledger_id(value["origin"]["pool"]),
            batch=fields.text(value["origin"]["batch"]),
            handover=fields.number(value["origin"]["handover"]),
            until=fields.time(value["origin"]["until"]),
        )
        terms = Terms(**{f.name: fields.text(value["to"][f.name]) for f in dataclasses.fields(Terms)})
        ranges = tuple((fields.number(first), fields.number(count)) for first, count in value["ranges"])
        count = fields.number(value["count"])
        document = cls(
            origin,
            fields.text(value["product"]),
            fields.text(value["policy"], _LONGEST_POLICY),
            count,
            ranges,
            terms,
            fields.time(value["made"]),
            fields.text(value["unique_key"]),
            {fields.text(name): safe_path(fields.text(path)) for name, path in value["files"].items()},
        )
        document._judge()
        return document

    def _judge(self) -> None:
        if not is_safe_name(self.origin.batch) or self.origin.handover < 1:
            raise ValueError("its origin is invalid")
        if self.origin.until != self.terms.until:
            raise ValueError("it has two validity dates")
        if not 1 <= self.count <= _MOST_IDENTITIES or sum(count for _, count in self.ranges) != self.count:
            raise ValueError("its count is invalid")
        canonical.parse(self.policy.encode())
        VerifyingKey.from_pem(self.terms.signing.encode(), "to")


def chunk_name(number: int) -> str:
    """Return the name of the member with chunk *number*."""
    return f"chunk-{number:05d}"


def encode_chunk(wrapped_key: bytes, records: Sequence[SealedRecord]) -> bytes:
    """Return the member of a chunk."""
    return canonical.encode(
        {"wrapped_key": fields.to_base64(wrapped_key), "records": [_record_json(one) for one in records]}
    )


def decode_chunk(data: bytes) -> tuple[bytes, list[SealedRecord]]:
    """Return the wrapped data key and the records of a chunk. Raise ValueError, KeyError or TypeError."""
    value = canonical.decode(data)
    return fields.from_base64(value["wrapped_key"]), [_record_value(one) for one in value["records"]]


def owner_key(parcel: Parcel) -> bytes:
    """Return the owner's public key in a handover, before anything else of it: nothing proves it yet."""
    return parcel.peek(OWNER)


def safe_path(text: str) -> str:
    """Return *text* if it is a path that a handover may write in a workspace. Raise InputError."""
    parts = PurePosixPath(text).parts
    good = bool(parts) and len(parts) <= 8 and all(map(is_safe_name, parts)) and str(PurePosixPath(*parts)) == text
    if not good or parts[0] in _OURS or parts[-1].startswith(_OUR_FILES):
        raise InputError(
            "a handover cannot contain this file",
            where=text,
            hint="use a relative path of names with A-Z a-z 0-9 . _ - in product.toml",
            cause="path-escape",
        )
    return text


def _record_json(record: SealedRecord) -> dict[str, str | None]:
    values = {f.name: getattr(record, f.name) for f in dataclasses.fields(SealedRecord)}
    return {name: fields.to_base64(value) if isinstance(value, bytes) else value for name, value in values.items()}


def _record_value(value: Mapping[str, Any]) -> SealedRecord:
    names = [f.name for f in dataclasses.fields(SealedRecord)]
    if sorted(value) != sorted(names):
        raise ValueError("an identity has the wrong fields")
    read = {
        name: None if value[name] is None else (fields.from_base64 if name in _BYTES else fields.text)(value[name])
        for name in names
    }
    return SealedRecord(**read)  # type: ignore[arg-type]
