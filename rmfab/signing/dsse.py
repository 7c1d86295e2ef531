"""Dead Simple Signing Envelope (DSSE): a payload, its signatures, and the bytes that each signature covers.

Source: secure-systems-lab/dsse, protocol.md (PAE) and envelope.md (JSON). In DSSE the key id is only a hint. rmfab
requires that a signature is valid for the key of its id, so that no bit of an envelope can be changed. (Anyone can
compute a second valid form of an ECDSA signature over the same message; rmfab accepts it, as other tools do.)
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from rmfab.signing import canonical
from rmfab.signing.signer import Signer

MOST_SIGNATURES = 32


@dataclass(frozen=True)
class Signature:
    """The bytes *value* made by the key *key_id*."""

    key_id: str
    value: bytes


@dataclass(frozen=True)
class Envelope:
    """A *payload* of *payload_type*, and signatures over both: at most one per key, ordered by key id."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the envelope in *data*. Raise ValueError unless *data* is exactly what `encode` writes."""
        envelope = cls.from_json(canonical.parse(data))
        if envelope.encode() != data:
            raise ValueError("not in canonical form")
        return envelope

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the envelope in a JSON object written by any tool. Raise ValueError."""
        try:
            signatures = [Signature(str(one["keyid"]), _octets(one["sig"])) for one in value["signatures"]]
            envelope = cls(str(value["payloadType"]), _octets(value["payload"]), tuple(signatures))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a DSSE envelope ({error})") from None
        ids = [one.key_id for one in signatures]
        if len(set(ids)) < len(ids) or len(ids) > MOST_SIGNATURES:
            raise ValueError("duplicate or too many signatures")
        return envelope

    def to_json(self) -> dict[str, Any]:
        """Return the envelope as a JSON object."""
        signatures = [{"keyid": one.key_id, "sig": _base64(one.value)} for one in self.signatures]
        return {"payload": _base64(self.payload), "payloadType": self.payload_type, "signatures": signatures}

    def encode(self) -> bytes:
        """Return the bytes of the envelope, signatures sorted: equal envelopes give equal bytes."""
        in_order = tuple(sorted(self.signatures, key=lambda one: one.key_id))
        return canonical.encode(replace(self, signatures=in_order).to_json())

    @property
    def signed_bytes(self) -> bytes:
        """The bytes that signatures cover."""
        return pae(self.payload_type, self.payload)

    def signed(self, *signers: Signer) -> Self:
        """Return the envelope with the signatures of *signers*; a valid signature of the same key is kept."""
        envelope = self
        for signer in signers:
            envelope = envelope._signed(signer)
        return envelope

    def _signed(self, signer: Signer) -> Self:
        key, message = signer.public, self.signed_bytes
        others = tuple(one for one in self.signatures if one.key_id != key.id)
        if any(one.key_id == key.id and key.verifies(one.value, message) for one in self.signatures):
            return self
        signatures = [*others, Signature(key.id, signer.sign(message))]
        return replace(self, signatures=tuple(sorted(signatures, key=lambda one: one.key_id)))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding of *payload*."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _octets(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("base64 is missing")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"invalid base64 ({error})") from None
