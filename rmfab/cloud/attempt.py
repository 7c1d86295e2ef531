"""What was tried on a broker, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class Trial(StrEnum):
    """What is tried. The first three must work, the others must be refused."""

    CONNECT = "connect"
    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    FOREIGN_SUBSCRIBE = "foreign subscribe"
    FOREIGN_PUBLISH = "foreign publish"
    FOREIGN_CLIENT_ID = "foreign client id"
    NO_CERTIFICATE = "no certificate"
    FORGED_CERTIFICATE = "forged certificate"
    GIVEN_CERTIFICATE = "given certificate"


@unique
class AttemptEnding(StrEnum):
    """How it ended. NOT_DELIVERED: the broker accepted a message, and nobody got it. NOT_ENFORCED: it let the client
    do what it must not."""

    PASSED = "passed"
    FAILED = "failed"
    REFUSED = "refused"
    CLOSED = "closed"
    NOT_DELIVERED = "not delivered"
    NOT_ENFORCED = "not enforced"


@dataclass(frozen=True)
class BrokerAttempt:
    """One attempt. *cause* and *reason* say why it failed; *subject*: the file of a given certificate."""

    trial: Trial
    ending: AttemptEnding
    cause: str | None = None
    reason: str | None = None
    subject: str | None = None

    @property
    def name(self) -> str:
        """What was tried, in words."""
        return self.subject or self.trial.value

    @property
    def unenforced(self) -> bool:
        """Whether the broker let the client do what it must not."""
        return self.ending is AttemptEnding.NOT_ENFORCED

    def to_json(self) -> dict[str, str]:
        """Return the attempt as JSON values."""
        told = {"trial": self.trial.value, "ending": self.ending.value, "class": self.cause, "reason": self.reason}
        return {name: text for name, text in (told | {"file": self.subject}).items() if text}
