"""Keys with which a workspace signs: that of its station, and that of its ledger. Made on first use, never replaced.

They are not encrypted, because commands use them unattended. The mode of the file (0600, in a folder of 0700) protects
them, as it does the station key; a key file that others may read is refused.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519

from rmfab.errors import InputError
from rmfab.files import is_there, make_folder
from rmfab.secret import Secret
from rmfab.signing.keyfile import load_private_key, write_private_key
from rmfab.signing.signer import KeySigner, SigningKeyKind, make_key

STATION_SIGNING_KEY = "signing.key"
"""Signs what this station returns. Its public half is on the station's card."""
LEDGER_KEY = "ledger.key"
"""Signs handovers: who has it can make stations accept identities as the owner's."""


def signing_key(keys_folder: Path, name: str) -> KeySigner:
    """Return the Ed25519 key *name* in *keys_folder*; make it if there is none.

    Raise InputError if it is not such a key, or if other users of this host can read it.
    """
    path = keys_folder / name
    if not is_there(path):
        make_folder(keys_folder, secret=True)
        try:
            write_private_key(path, make_key(SigningKeyKind.ED25519).key, None)
        except InputError as error:
            if error.cause != "exists":  # a different command has just made it
                raise
    key = load_private_key(path, _no_passphrase)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise InputError("not an Ed25519 key", where=str(path), hint="restore it from a backup", cause="key-kind")
    return KeySigner(key)


def _no_passphrase(where: str) -> Secret[str]:
    raise InputError(
        "this key is encrypted, but commands use it unattended", where=where, hint="restore it from a backup"
    )
