"""The interface of a security scheme: one handshake, then a session that encrypts and decrypts."""

from __future__ import annotations

from typing import Protocol

from rmfab.errors import UnitFault
from rmfab.provisioning.failures import RequestRefused, WrongPop
from rmfab.provisioning.transport import SESSION, ProvisioningTransport


class Session(Protocol):
    """An agreed key. Requests and answers alternate strictly: each call advances the cipher."""

    def encrypt(self, data: bytes) -> bytes:
        """Return the bytes to send for *data*."""

    def decrypt(self, data: bytes) -> bytes:
        """Return the plain bytes of *data*. Raise UnitFault (`decrypt`) if an authenticated scheme rejects them."""


class SecurityScheme(Protocol):
    """A scheme with its inputs: proof of possession, randomness."""

    def handshake(self, transport: ProvisioningTransport) -> Session:
        """Make the handshake, in one attempt.

        Raise WrongPop if the unit rejects the proof, UnitFault (`proof-mismatch`) if the unit cannot prove that it has
        the PoP, and what `ProvisioningTransport.exchange` raises.
        """


def prove(transport: ProvisioningTransport, request: bytes) -> bytes:
    """Send the client's proof and return the unit's answer. Raise WrongPop if the unit rejects it."""
    try:
        return transport.exchange(SESSION, request)
    except RequestRefused as refusal:
        raise wrong_pop(refusal) from refusal


def wrong_pop(refusal: RequestRefused) -> WrongPop:
    """Return the WrongPop of a rejected proof, for either form of rejection."""
    return WrongPop("the unit rejected the proof of possession", status=refusal.status, where=refusal.where)


def proof_mismatch() -> UnitFault:
    """Return the UnitFault of a unit that accepted the client's proof but sent a wrong one."""
    return UnitFault(
        "the unit did not prove that it has the PoP",
        hint="check for a different device that answers in its place, or flash the unit again",
        cause="proof-mismatch",
    )
