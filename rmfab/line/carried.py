"""The identity that a factory partition carries, as claims compare it with the ledger."""

from __future__ import annotations

import hashlib

from rmfab.ledger.claim_terms import Carried
from rmfab.nvs.reader import read_image


def carried_in(image: bytes) -> Carried:
    """Return the identity in an NVS image, in any namespace; one without names if it contains none."""
    node_id = random = None
    for entry in read_image(image).entries:
        if entry.key == "node_id" and isinstance(entry.value, (bytes, str)):
            raw = entry.value if isinstance(entry.value, bytes) else entry.value.encode()
            node_id = raw.partition(b"\0")[0].decode("utf-8", "replace")  # as firmware reads it: a C string
        elif entry.key == "random" and isinstance(entry.value, bytes):
            random = hashlib.sha256(entry.value).hexdigest()
    return Carried(node_id or None, random)
