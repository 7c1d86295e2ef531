"""Keys that open at once: hundreds of tests write and open them, and none depends on how slow a guess is.

`tests/signing/test_keyfile.py` shows how slow it is for users.
"""

from __future__ import annotations

from rmfab.signing import encrypted_key

COST = encrypted_key.COST
"""What rmfab takes for its users."""


def make_keys_quick() -> None:
    """Let this process write keys whose passphrase takes no time to try."""
    encrypted_key.COST = 16
