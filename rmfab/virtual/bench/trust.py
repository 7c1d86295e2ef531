"""Which servers a virtual board trusts: the roots that its firmware contains."""

from __future__ import annotations

import ssl


def trusting(roots: str | None) -> ssl.SSLContext:
    """Return a context for clients that trust only these certificates (PEM; none if it is blank).

    None: those of this machine. The server's name is checked. Raise ssl.SSLError if *roots* is not PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if roots is None:
        context.load_default_certs()
    elif roots.strip():
        context.load_verify_locations(cadata=roots)
    return context
