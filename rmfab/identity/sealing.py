"""Sealing of identities: secrets under a data key, data keys under the keys of stations. Only this module uses pyrage.

Each field is AES-256-GCM under the data key of its chunk and bound to its place: the pool in which the identity was
made (the id of that ledger), the name of the identity in the pool, which never changes, and the field. A data key is
wrapped to age X25519 recipients, in the format of the `age` program (age-encryption.org/v1). Sealed bytes: version 2 |
nonce (12 bytes) | ciphertext and tag (16 bytes). Version 1 was bound to ledger, batch, serial and field, and can still
be opened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from rmfab.errors import InputError, IntegrityError, StationError
from rmfab.files import read_input, write_file
from rmfab.privacy import refuse_loose
from rmfab.secret import Secret
from rmfab.signals import undisturbed

with undisturbed():
    import pyrage

DATA_KEY_BYTES = 32

_VERSION_1, _VERSION_2 = b"\x01", b"\x02"
_NONCE_BYTES = 12
_CONTEXT_1, _CONTEXT_2 = "rmfab sealed field 1", "rmfab sealed record 2"
_IDENTITY_PREFIX = "AGE-SECRET-KEY-1"


@dataclass(frozen=True)
class StationKey:
    """The key with which a station opens data keys: an age identity and its recipient."""

    identity: Secret[str]
    recipient: str


class Sealer:
    """Sealer of the fields of one chunk: all records of the pool *pool* that share *data_key*.

    *batch* is what fields of version 1 are bound to as well. *source* returns random bytes for nonces; it is not needed
    to open fields.
    """

    def __init__(
        self, data_key: Secret[bytes], pool: str, batch: str, source: Callable[[int], bytes] | None = None
    ) -> None:
        if len(data_key.reveal()) != DATA_KEY_BYTES:
            raise ValueError(f"a data key must have {DATA_KEY_BYTES} bytes")
        self._cipher = AESGCM(data_key.reveal())
        self._pool = pool
        self._batch = batch
        self._source = source

    def seal(self, identity: str, field: str, plain: Secret[bytes]) -> bytes:
        """Seal *plain* for this *field* of the identity with this name. Raise ValueError without a source."""
        if self._source is None:
            raise ValueError("sealing needs a source of nonces")
        nonce = self._source(_NONCE_BYTES)
        bound = associated_data(self._pool, identity, field)
        return _VERSION_2 + nonce + self._cipher.encrypt(nonce, plain.reveal(), bound)

    def open(self, identity: str, field: str, sealed: bytes) -> Secret[bytes]:
        """Return the sealed bytes. Raise IntegrityError if they were changed or belong elsewhere."""
        version = sealed[:1]
        if version not in (_VERSION_1, _VERSION_2) or len(sealed) < 1 + _NONCE_BYTES + 16:
            raise IntegrityError(f"the sealed {field} has an unsupported format", where=identity, cause="sealed")
        if version == _VERSION_1:
            bound = _joined(_CONTEXT_1, self._pool, self._batch, identity, field)
        else:
            bound = associated_data(self._pool, identity, field)
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return Secret(self._cipher.decrypt(nonce, body, bound))
        except InvalidTag:
            raise IntegrityError(
                f"cannot open the sealed {field}: it was changed, or copied from a different record",
                where=identity,
                cause="sealed",
            ) from None


def associated_data(pool: str, identity: str, field: str) -> bytes:
    """Return what a sealed field is bound to, in version 2."""
    return _joined(_CONTEXT_2, pool, identity, field)


def _joined(*parts: str) -> bytes:
    """Return *parts*, each after its length (4 bytes, big-endian), to be unambiguous."""
    return b"".join(len(data).to_bytes(4, "big") + data for data in (part.encode() for part in parts))


def wrap(data_key: Secret[bytes], recipients: Sequence[str]) -> bytes:
    """Return *data_key* for all *recipients*, as a binary age file. Raise InputError if one is invalid."""
    if not recipients:
        raise InputError("no recipients to seal for", hint="make a station key for this host: rmfab init")
    wrapped: bytes = pyrage.encrypt(data_key.reveal(), [_recipient(text) for text in dict.fromkeys(recipients)])
    return wrapped


def read_recipient(text: str) -> str:
    """Return *text* itself. Raise InputError unless it is an age X25519 recipient; never repeat a private key."""
    if text.strip().upper().startswith("AGE-SECRET-KEY-"):
        raise InputError(
            "this is a station's private key, not its recipient", hint="use age1…, as rmfab station key prints"
        )
    _recipient(text)
    return text


def unwrap(wrapped: bytes, station_key: StationKey) -> Secret[bytes]:
    """Return the data key.

    Raise StationError if it was wrapped only for other stations, IntegrityError if it is damaged.
    """
    identity = pyrage.x25519.Identity.from_str(station_key.identity.reveal())
    try:
        data_key = pyrage.decrypt(wrapped, [identity])
    except pyrage.DecryptError as error:
        if "No matching keys" in str(error):
            raise StationError(
                "this station's key cannot open the identities of this batch",
                where=station_key.recipient,
                hint="on a station that can open them, run rmfab station admit RECIPIENT",
                cause="not-admitted",
            ) from None
        raise IntegrityError("a wrapped data key is damaged", cause="sealed") from None
    if len(data_key) != DATA_KEY_BYTES:
        raise IntegrityError(f"a wrapped data key has {len(data_key)} bytes", cause="sealed")
    return Secret(data_key)


def create_station_key(path: Path) -> StationKey:
    """Make a station key and write it to *path* (0600). Raise InputError if the file exists."""
    identity = pyrage.x25519.Identity.generate()
    key = StationKey(Secret(str(identity)), str(identity.to_public()))
    text = f"# rmfab station key: it opens every identity that is sealed for it\n# public key: {key.recipient}\n"
    write_file(path, f"{text}{key.identity.reveal()}\n".encode(), secret=True)
    return key


def load_station_key(path: Path) -> StationKey:
    """Read a station key or a file of age-keygen. Raise InputError if it is invalid or accessible to others."""
    text = read_input(path, "station key").decode(errors="replace")
    refuse_loose(path)
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        if len(lines) != 1 or not lines[0].startswith(_IDENTITY_PREFIX):
            raise ValueError
        recipient = str(pyrage.x25519.Identity.from_str(lines[0]).to_public())
    except (ValueError, pyrage.IdentityError):
        raise InputError(
            "not a station key", where=str(path), hint=f"use a file with one line that starts with {_IDENTITY_PREFIX}"
        ) from None
    return StationKey(Secret(lines[0]), recipient)


def _recipient(text: str) -> pyrage.x25519.Recipient:
    try:
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError:
        raise InputError(
            f'"{text}" is not an age recipient',
            hint="use age1…, whole, as `rmfab station key` and age-keygen print it",
        ) from None
