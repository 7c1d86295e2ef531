"""The one interface that every way to a unit has: bytes to an endpoint, bytes back."""

from __future__ import annotations

from typing import Protocol

VERSION = "proto-ver"
SESSION = "prov-session"
SCAN = "prov-scan"
CONFIG = "prov-config"
CHALLENGE = "ch_resp"


class ProvisioningTransport(Protocol):
    """A link to one unit. Every call returns or raises within a limit of its own.

    Raises Refused where the unit closes the link in place of an answer, Stalled where it is there and says nothing,
    ProtocolError where it answers nonsense, LinkError where it cannot be reached.
    """

    def exchange(self, endpoint: str, data: bytes) -> bytes:
        """Sends *data* to *endpoint* and returns the answer."""

    def close(self) -> None:
        """Ends the link; the unit forgets the session. Never raises, and may be called again."""
