"""The messages of `ch_resp`: the unit's node id, and its signature over a challenge.

Source: esp-rainmaker, proto/esp_rmaker_chal_resp.proto; field numbers in proto/challenge.proto. The command that
disables the endpoint permanently is left out on purpose.
"""

from __future__ import annotations

from rmfab.provisioning.codec import expect, parse
from rmfab.provisioning.failures import RequestRefused
from rmfab.provisioning.proto.challenge_pb2 import Challenge


def ask_node_id() -> bytes:
    """Return the request for the node id."""
    return Challenge(kind=Challenge.ASK_NODE_ID, ask_node_id=Challenge.AskNodeId()).SerializeToString()


def read_node_id(data: bytes) -> str:
    """Return the node id of the answer. Raise ProtocolError or RequestRefused."""
    return _answer(data, "tell_node_id").tell_node_id.node_id


def sign(challenge: bytes) -> bytes:
    """Return the request for a signature over SHA-256 of *challenge*."""
    return Challenge(kind=Challenge.SIGN, sign=Challenge.Sign(challenge=challenge)).SerializeToString()


def read_signature(data: bytes) -> tuple[str, bytes]:
    """Return node id and signature (ECDSA in DER, or RSA-PSS) of the answer. Raise ProtocolError or RequestRefused."""
    told = _answer(data, "signed").signed
    return told.node_id, told.signature


def _answer(data: bytes, body: str) -> Challenge:
    message = parse(Challenge, data)
    if message.status:
        raise RequestRefused(f"the unit rejected the challenge: status {message.status}", status=message.status)
    expect(message, body)
    return message
