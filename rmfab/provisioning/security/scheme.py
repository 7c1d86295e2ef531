"""What every security scheme is: one handshake, and then a session that encrypts and decrypts."""

from __future__ import annotations

from typing import Protocol

from rmfab.errors import Fault
from rmfab.provisioning.faults import Refused, WrongPop
from rmfab.provisioning.transport import SESSION, Transport


class Session(Protocol):
    """An agreed key. Requests and answers alternate strictly: each call moves the cipher on."""

    def encrypt(self, data: bytes) -> bytes:
        """The bytes that go over the link."""

    def decrypt(self, data: bytes) -> bytes:
        """The bytes that were meant. Raises Fault (`decrypt`) where an authenticated scheme does not accept them."""


class Scheme(Protocol):
    """A scheme with all that it needs: proof of possession, randomness."""

    def handshake(self, transport: Transport) -> Session:
        """Shakes hands, in one attempt.

        Raises WrongPop where the unit refuses the proof, Fault (`proof-mismatch`) where the unit cannot prove that it
        knows the PoP, and what `Transport.exchange` raises.
        """


def prove(transport: Transport, request: bytes) -> bytes:
    """The unit's answer to the client's proof. Raises WrongPop where it refuses."""
    try:
        return transport.exchange(SESSION, request)
    except Refused as refusal:
        raise wrong_pop(refusal) from refusal


def wrong_pop(refusal: Refused) -> WrongPop:
    """The refusal of a proof, whichever way the unit refused."""
    return WrongPop("the unit refuses the proof of possession", status=refusal.status, where=refusal.where)


def proof_mismatch() -> Fault:
    """The unit accepted the client's proof and fails to give its own."""
    return Fault(
        "the unit does not prove that it knows the PoP",
        hint="its own proof is wrong: another device answers in its place, or its firmware is damaged",
        cause="proof-mismatch",
    )
