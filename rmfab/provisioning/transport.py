"""The interface of all ways to a unit: bytes to an endpoint, bytes back."""

from __future__ import annotations

from typing import Protocol

VERSION = "proto-ver"
SESSION = "prov-session"
SCAN = "prov-scan"
CONFIG = "prov-config"
CHALLENGE = "ch_resp"


class ProvisioningTransport(Protocol):
    """A link to one unit. Every call returns or raises within its own time limit.

    Raise RequestRefused if the unit closes the link instead of answering, Stalled if it is reachable but does not
    answer, ProtocolError if its answer is invalid, LinkError if it cannot be reached.
    """

    def exchange(self, endpoint: str, data: bytes) -> bytes:
        """Send *data* to *endpoint* and return the answer."""

    def close(self) -> None:
        """End the link, and with it the unit's session. Never raise; further calls do nothing."""
