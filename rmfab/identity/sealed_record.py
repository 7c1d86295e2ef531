"""One identity as the ledger keeps it: public data in the clear, secrets sealed.

The sealed fields open with the data key of the chunk in which the identity was made (`rmfab.identity.sealing`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from rmfab.field_types import mistyped
from rmfab.files import is_safe_name
from rmfab.secret import Secret

LONGEST_NAME = 64
_NUMBER = re.compile("[1-9][0-9]*")


@dataclass(frozen=True)
class SealedRecord:
    """An identity at rest.

    *serial* is its name in the pool, which never changes: its serial, or `BATCH#N` (N counts from 1) if it gets its
    serial with its board.

    *node_id*, *certificate_serial* (lower-case hex, no leading zeros), *certificate* (DER) and *sealed_key* are None if
    the device gets its credentials by self or assisted claiming. *pop_tag* is the PoP under the workspace's uniqueness
    key, *random_sha256* the digest of the 64 bytes of `random`, both lower-case hex. *sealed_sec2* is None unless the
    product uses security 2, *sealed_extra* unless it has an extra mass_mfg config.
    """

    serial: str
    node_id: str | None
    certificate_serial: str | None
    certificate: bytes | None
    pop_tag: str
    random_sha256: str
    service_name: str
    sealed_key: bytes | None
    sealed_random: bytes
    sealed_sec2: bytes | None
    sealed_extra: bytes | None

    def __post_init__(self) -> None:
        wrong = mistyped(self)
        if wrong is not None:
            raise ValueError(f"its {wrong} has a wrong type")
        if not (is_safe_name(self.serial) or is_pool_name(self.serial)):
            raise ValueError(f"serial {self.serial!r} is not a valid file name")
        if len(self.pop_tag) != 64 or len(self.random_sha256) != 64:
            raise ValueError("pop_tag and random_sha256 must be SHA-256 in hex")
        credentials = (self.node_id, self.certificate_serial, self.certificate, self.sealed_key)
        if len({value is None for value in credentials}) != 1:
            raise ValueError("node_id, certificate and key must be given together")

    @property
    def certificate_id(self) -> str | None:
        """The id of the certificate in its cloud, None if the identity has none."""
        return None if self.certificate is None else certificate_id(self.certificate)


def certificate_id(certificate: bytes) -> str:
    """Return the id of a certificate (DER) in AWS IoT, and so in RainMaker: its SHA-256 in lower-case hex."""
    return hashlib.sha256(certificate).hexdigest()


def pool_name(batch: str, position: int) -> str:
    """Return the name of the identity at *position* (from 0) of *batch*, if it gets its serial with its board."""
    return f"{batch}#{position + 1}"


def is_pool_name(name: str) -> bool:
    """Return whether *name* is one that `pool_name` makes. No serial is: `#` is not safe in a file name."""
    batch, mark, number = name.rpartition("#")
    return mark == "#" and is_safe_name(batch) and _NUMBER.fullmatch(number) is not None and len(name) <= LONGEST_NAME


def pop_tag(unique_key: Secret[bytes], pop: Secret[str]) -> str:
    """Return what the ledger keeps of *pop*: HMAC-SHA256 of "pop" and the PoP under the uniqueness key, in hex.

    A PoP has only 32 bits: a plain hash would not keep it secret.
    """
    return hmac.digest(unique_key.reveal(), b"pop" + pop.reveal().encode(), hashlib.sha256).hex()
