"""The certificates that an app contains: the CAs of the servers that it trusts, if it does not use a bundle.

ESP-IDF embeds such a file as it is (EMBED_TXTFILES), so its PEM stands in the image.
"""

from __future__ import annotations

import binascii
import re

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\r?\n([A-Za-z0-9+/=\r\n]{64,8192})-----END CERTIFICATE-----")


def certificates_in(data: bytes) -> set[bytes]:
    """Return the certificates (DER) that *data*, an app image or a PEM file, contains as PEM."""
    found = set()
    for match in _PEM.finditer(data):
        try:
            found.add(binascii.a2b_base64(match[1]))
        except binascii.Error:
            continue
    return found
