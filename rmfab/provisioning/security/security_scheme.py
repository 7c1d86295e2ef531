"""What every security scheme is: one handshake, and then a session that encrypts and decrypts."""

from __future__ import annotations

from typing import Protocol

from rmfab.errors import UnitFault
from rmfab.provisioning.failures import RequestRefused, WrongPop
from rmfab.provisioning.transport import SESSION, ProvisioningTransport


class Session(Protocol):
    """An agreed key. Requests and answers alternate strictly: each call moves the cipher on."""

    def encrypt(self, data: bytes) -> bytes:
        """The bytes that go over the link."""

    def decrypt(self, data: bytes) -> bytes:
        """The bytes that were meant. Raises Fault (`decrypt`) where an authenticated scheme does not accept them."""


class SecurityScheme(Protocol):
    """A scheme with all that it needs: proof of possession, randomness."""

    def handshake(self, transport: ProvisioningTransport) -> Session:
        """Shakes hands, in one attempt.

        Raises WrongPop where the unit refuses the proof, Fault (`proof-mismatch`) where the unit cannot prove that it
        knows the PoP, and what `Transport.exchange` raises.
        """


def prove(transport: ProvisioningTransport, request: bytes) -> bytes:
    """The unit's answer to the client's proof. Raises WrongPop where it refuses."""
    try:
        return transport.exchange(SESSION, request)
    except RequestRefused as refusal:
        raise wrong_pop(refusal) from refusal


def wrong_pop(refusal: RequestRefused) -> WrongPop:
    """The refusal of a proof, whichever way the unit refused."""
    return WrongPop("the unit refuses the proof of possession", status=refusal.status, where=refusal.where)


def proof_mismatch() -> UnitFault:
    """The unit accepted the client's proof and fails to give its own."""
    return UnitFault(
        "the unit does not prove that it knows the PoP",
        hint="its own proof is wrong: another device answers in its place, or its firmware is damaged",
        cause="proof-mismatch",
    )
