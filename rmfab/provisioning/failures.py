"""The errors of a provisioning conversation.

UnitFault             the unit is bad
├── ProtocolError     it sends what the protocol does not allow         protocol
├── RequestRefused    it rejects a request                              refused
│   └── WrongPop      it rejects the proof of possession                wrong-pop
└── Stalled           it is reachable but does not answer               stalled
StationError
└── LinkError         it cannot be reached: Wi-Fi, Bluetooth, address   unreachable, link-lost, …
"""

from __future__ import annotations

from rmfab.errors import StationError, UnitFault


class ProtocolError(UnitFault):
    """The unit sent bytes that the protocol does not allow."""

    cause = "protocol"


class RequestRefused(UnitFault):
    """The unit closed the connection instead of answering, or answered with a *status* other than 0."""

    cause = "refused"

    def __init__(self, what: str, *, status: int | None = None, where: str | None = None, hint: str | None = None):
        super().__init__(what, where=where, hint=hint)
        self.status = status


class WrongPop(RequestRefused):
    """The unit rejected the proof of possession."""

    cause = "wrong-pop"


class Stalled(UnitFault):
    """The unit is reachable but did not answer within the time limit."""

    cause = "stalled"


class LinkError(StationError):
    """The unit cannot be reached over this link; nothing is known about the unit."""

    cause = "unreachable"
