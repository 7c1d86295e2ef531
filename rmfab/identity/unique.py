"""The workspace's uniqueness key: what makes equal proofs of possession visible without storing any.

A PoP has 32 bits, so behind a plain hash it would be no secret. The ledger keeps tags under this key and the key's
fingerprint; the key itself is needed only where identities are generated (`keys/unique.key`, 64 hex digits).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import read_input, write_file
from rmfab.secret import Secret
from rmfab.signing.keyfile import check_private

KEY_BYTES = 32


def create_unique_key(path: Path, source: Callable[[int], bytes]) -> Secret[bytes]:
    """A new key from *source*, written to *path* (0600). Raises InputError where a file already stands there."""
    key = source(KEY_BYTES)
    write_file(path, f"{key.hex()}\n".encode(), secret=True)
    return Secret(key)


def load_unique_key(path: Path) -> Secret[bytes]:
    """Reads the key. Raises InputError where it is missing, open to others or no such key."""
    text = read_input(path, "uniqueness key")
    check_private(path)
    try:
        key = bytes.fromhex(text.decode().strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise InputError(f"this is no uniqueness key: {2 * KEY_BYTES} hex digits", where=str(path))
    return Secret(key)


def fingerprint(key: Secret[bytes]) -> str:
    """By what the ledger knows the key again; says nothing about it."""
    return hmac.digest(key.reveal(), b"fingerprint", hashlib.sha256).hex()


def pop_tag(key: Secret[bytes], pop: Secret[str]) -> str:
    """What stands in the ledger for *pop*: HMAC-SHA256 of "pop" and the PoP, in hex."""
    return hmac.digest(key.reveal(), b"pop" + pop.reveal().encode(), hashlib.sha256).hex()
