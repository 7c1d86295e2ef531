"""Dead Simple Signing Envelope: what is signed, by whom, and the bytes that a signature covers.

Source: secure-systems-lab/dsse, protocol.md (PAE) and envelope.md (JSON). The key id is only a hint there; here a
signature under an id must hold for the key of that id, so that an envelope cannot be changed in any bit. (Of an ECDSA
signature anybody can compute a second form that holds for the same message, as other tools accept it, too.)
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
    """The bytes *value* that the key *key_id* made."""

    key_id: str
    value: bytes


@dataclass(frozen=True)
class Envelope:
    """A *payload* of *payload_type*, and signatures over both in the order of their key ids, one a key."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The envelope in *data*. Raises ValueError where `encode` would not write these very bytes."""
        envelope = cls.from_json(canonical.parse(data))
        if envelope.encode() != data:
            raise ValueError("it is not written as rmfab writes it")
        return envelope

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The envelope of a JSON object, whoever wrote it. Raises ValueError."""
        try:
            signatures = [Signature(str(one["keyid"]), _octets(one["sig"])) for one in value["signatures"]]
            envelope = cls(str(value["payloadType"]), _octets(value["payload"]), tuple(signatures))
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is no DSSE envelope ({error})") from None
        ids = [one.key_id for one in signatures]
        if len(set(ids)) < len(ids) or len(ids) > MOST_SIGNATURES:
            raise ValueError("a key has signed it twice, or too many have")
        return envelope

    def to_json(self) -> dict[str, Any]:
        """The envelope as a JSON object."""
        signatures = [{"keyid": one.key_id, "sig": _base64(one.value)} for one in self.signatures]
        return {"payload": _base64(self.payload), "payloadType": self.payload_type, "signatures": signatures}

    def encode(self) -> bytes:
        """The bytes of the envelope, its signatures in order: the same envelope gives the same bytes."""
        in_order = tuple(sorted(self.signatures, key=lambda one: one.key_id))
        return canonical.encode(replace(self, signatures=in_order).to_json())

    @property
    def signed_bytes(self) -> bytes:
        """What signatures cover."""
        return pae(self.payload_type, self.payload)

    def signed(self, *signers: Signer) -> Self:
        """The envelope with the signatures of *signers*; one that is there and holds stays as it is."""
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
    """The pre-authentication encoding of *payload*."""
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
        raise ValueError(f"its base64 cannot be read ({error})") from None
