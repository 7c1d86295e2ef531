"""The messages of `ch_resp`: the unit's signature over a challenge, with its node id.

Source: esp-rainmaker, proto/esp_rmaker_chal_resp.proto; field numbers in proto/challenge.proto. Two commands are left
out on purpose: the bare request for the node id, on which the endpoint's first versions (2025) close the connection,
and the command that disables the endpoint permanently.
"""

from __future__ import annotations

from rmfab.provisioning.codec import expect, parse
from rmfab.provisioning.failures import ProtocolError, RequestRefused
from rmfab.provisioning.proto.challenge_pb2 import Challenge

_MOST_SIGNATURE_BYTES = 512  # RSA-4096


def sign(challenge: bytes) -> bytes:
    """Return the request for a signature over SHA-256 of *challenge*."""
    return Challenge(kind=Challenge.SIGN, sign=Challenge.Sign(challenge=challenge)).SerializeToString()


def read_signature(data: bytes) -> tuple[str, bytes]:
    """Return node id and signature (ECDSA in DER, or RSA-PSS) of the answer. Raise ProtocolError or RequestRefused."""
    told = _answer(data, "signed").signed
    if not told.node_id or not 0 < len(told.signature) <= _MOST_SIGNATURE_BYTES:
        raise ProtocolError("the unit answered the challenge without its node id, or without a signature")
    return told.node_id, told.signature


def _answer(data: bytes, body: str) -> Challenge:
    message = parse(Challenge, data)
    if message.status:
        raise RequestRefused(f"the unit rejected the challenge: status {message.status}", status=message.status)
    expect(message, body)
    return message
