"""The card of a station: its public keys, for those who seal identities for it or verify what it signs.

A card contains no secret. Its recipient compares the fingerprint with the sender over a separate channel: if the card
was replaced on the way, identities would be sealed for a different station.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from rmfab.errors import InputError
from rmfab.files import is_safe_name, read_input
from rmfab.identity.sealing import read_recipient
from rmfab.signing import canonical
from rmfab.signing.fingerprint import fingerprint
from rmfab.signing.publickey import VerifyingKey

FORMAT, FORMAT_VERSION = "rmfab-station-card", 1
_MOST_BYTES = 1 << 14


@dataclass(frozen=True)
class StationCard:
    """The station *name*: identities are sealed for *recipient* (age1…), and *signing* verifies its signatures.

    Raise InputError for an invalid name or recipient.
    """

    name: str
    recipient: str
    signing: VerifyingKey

    def __post_init__(self) -> None:
        if not is_safe_name(self.name):
            raise InputError("the name on this card is not a station name")
        read_recipient(self.recipient)

    @property
    def content(self) -> bytes:
        """The card as the bytes of a file."""
        value = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "name": self.name,
            "recipient": self.recipient,
            "signing": self.signing.pem,
        }
        return canonical.encode(value) + b"\n"

    @property
    def fingerprint(self) -> str:
        """The fingerprint that people compare."""
        return fingerprint(self.content)

    @classmethod
    def parse(cls, content: bytes, where: str) -> Self:
        """Return the card in *content*. Raise InputError unless it is exactly what `content` returns."""
        try:
            value = canonical.parse(content)
            canonical.judge_format(value, FORMAT, FORMAT_VERSION, "station card", "station-card")
            signing = VerifyingKey.from_pem(str(value["signing"]).encode(), where)
            card = cls(str(value["name"]), str(value["recipient"]), signing)
            if card.content != content:
                raise ValueError
        except InputError as error:
            raise InputError(error.what, where=where, hint=error.hint, cause="station-card") from None
        except (ValueError, KeyError, TypeError):
            raise InputError(
                "not a station card, or a damaged one",
                where=where,
                hint="the station writes one with `rmfab station card -o FILE`",
                cause="station-card",
            ) from None
        return card


def load_card(path: Path) -> StationCard:
    """Read the card in a file. Raise InputError."""
    return StationCard.parse(read_input(path, "station card", most=_MOST_BYTES), str(path))
