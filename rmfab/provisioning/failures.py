"""What a provisioning conversation ends with when it does not end well.

UnitFault             the unit is bad
├── ProtocolError     it sends what the protocol does not allow         protocol
├── RequestRefused    it refuses a request                              refused
│   └── WrongPop      it refuses the proof of possession                wrong-pop
└── Stalled           it is there and does not answer                   stalled
StationError
└── LinkError         it cannot be reached: Wi-Fi, Bluetooth, address   unreachable, link-lost, …
"""

from __future__ import annotations

from rmfab.errors import StationError, UnitFault


class ProtocolError(UnitFault):
    """Bytes from the unit that the protocol does not allow."""

    cause = "protocol"


class RequestRefused(UnitFault):
    """The unit refuses: it closes the connection in place of an answer, or answers with a *status* that is not 0."""

    cause = "refused"

    def __init__(self, what: str, *, status: int | None = None, where: str | None = None, hint: str | None = None):
        super().__init__(what, where=where, hint=hint)
        self.status = status


class WrongPop(RequestRefused):
    """The unit refuses what the proof of possession proves."""

    cause = "wrong-pop"


class Stalled(UnitFault):
    """The unit is reachable and does not answer within the limit."""

    cause = "stalled"


class LinkError(StationError):
    """The unit cannot be reached over this link; nothing is known about the unit."""

    cause = "unreachable"
