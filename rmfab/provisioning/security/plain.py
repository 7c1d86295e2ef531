"""Security 0: no encryption, no proof of possession."""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.provisioning.handshakes import plain_hello, read_plain_welcome
from rmfab.provisioning.security.security_scheme import Session
from rmfab.provisioning.transport import SESSION, ProvisioningTransport


@dataclass(frozen=True)
class Plain:
    """Security 0."""

    def handshake(self, transport: ProvisioningTransport) -> Session:
        """Make one round trip. Raise as `SecurityScheme.handshake`, but never WrongPop."""
        read_plain_welcome(transport.exchange(SESSION, plain_hello()))
        return Unencrypted()


class Unencrypted:
    """The session of security 0."""

    def encrypt(self, data: bytes) -> bytes:
        """Return *data*."""
        return data

    def decrypt(self, data: bytes) -> bytes:
        """Return *data*."""
        return data
