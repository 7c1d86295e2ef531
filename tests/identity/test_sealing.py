"""Sealing of fields and data keys."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from rmfab.errors import InputError, IntegrityError, StationError
from rmfab.identity.sealing import (
    Sealer,
    StationKey,
    associated_data,
    create_station_key,
    load_station_key,
    unwrap,
    wrap,
)
from rmfab.secret import Secret

KEY = Secret(b"k" * 32)


def sealer(pool: str = "L", batch: str = "B", key: Secret[bytes] = KEY) -> Sealer:
    return Sealer(key, pool, batch, secrets.token_bytes)


@given(st.binary(max_size=600), st.text(max_size=12), st.text(max_size=12))
def test_what_is_sealed_opens(plain: bytes, serial: str, field: str) -> None:
    """Sealed bytes open at the place that they were sealed for."""
    sealed = sealer().seal(serial, field, Secret(plain))
    assert Sealer(KEY, "L", "B").open(serial, field, sealed) == Secret(plain)


@pytest.mark.parametrize(
    ("other", "serial", "field"),
    [
        (sealer(pool="M"), "S", "key"),
        (sealer(key=Secret(b"j" * 32)), "S", "key"),
        (sealer(), "T", "key"),
        (sealer(), "S", "random"),
        (sealer(), "Sk", "ey"),
        (sealer(pool="LS"), "", "key"),
    ],
)
def test_it_opens_nowhere_else(other: Sealer, serial: str, field: str) -> None:
    """A different pool, identity, field or key, or shifted parts, is an integrity error with the identity."""
    sealed = sealer().seal("S", "key", Secret(b"plain"))
    with pytest.raises(IntegrityError) as caught:
        other.open(serial, field, sealed)
    assert caught.value.where == serial


@pytest.mark.parametrize("position", [0, 1, 12, 13, -1])
def test_a_changed_byte_is_noticed(position: int) -> None:
    """A change of any byte of a sealed field is detected: version, nonce, ciphertext, tag."""
    sealed = bytearray(sealer().seal("S", "key", Secret(b"plain")))
    sealed[position] ^= 1
    with pytest.raises(IntegrityError):
        sealer().open("S", "key", bytes(sealed))
    with pytest.raises(IntegrityError):
        sealer().open("S", "key", b"")


def test_nonces_differ() -> None:
    """The same bytes sealed twice differ."""
    assert sealer().seal("S", "key", Secret(b"x")) != sealer().seal("S", "key", Secret(b"x"))


VERSION_1 = bytes.fromhex("01" + "6e" * 12 + "e85786d97fb905544017a0c5b7cc0530990ba99c92")
"""`plain` as an earlier rmfab sealed it for ledger L, batch B, serial S, field key."""


def test_what_an_earlier_rmfab_sealed_opens() -> None:
    """A stored field of version 1 opens in its batch and pool, and in no other."""
    assert sealer().open("S", "key", VERSION_1) == Secret(b"plain")
    for other in (sealer(batch="C"), sealer(pool="M")):
        with pytest.raises(IntegrityError):
            other.open("S", "key", VERSION_1)


def sealed_by_version_1(*place: str) -> bytes:
    """Seal "plain" at ledger, batch, serial and field as rmfab did before version 2."""
    bound = b"".join(len(part).to_bytes(4, "big") + part.encode() for part in ("rmfab sealed field 1", *place))
    nonce = secrets.token_bytes(12)
    return b"\x01" + nonce + AESGCM(KEY.reveal()).encrypt(nonce, b"plain", bound)


def test_version_1_still_opens() -> None:
    """A field of version 1 opens at its ledger, batch, serial and field, and nowhere else."""
    assert sealer().open("S", "key", sealed_by_version_1("L", "B", "S", "key")) == Secret(b"plain")
    for place in (("M", "B", "S", "key"), ("L", "C", "S", "key"), ("L", "B", "T", "key"), ("L", "B", "S", "random")):
        with pytest.raises(IntegrityError):
            sealer().open("S", "key", sealed_by_version_1(*place))


def test_a_batch_is_no_part_of_version_2() -> None:
    """What is sealed opens in a batch with a different name: a handover may give it one."""
    assert sealer(batch="C").open("S", "key", sealer().seal("S", "key", Secret(b"plain"))) == Secret(b"plain")


@given(st.lists(st.text(max_size=4), min_size=3, max_size=3), st.lists(st.text(max_size=4), min_size=3, max_size=3))
def test_places_are_told_apart(left: list[str], right: list[str]) -> None:
    """Two different places have different associated data."""
    assert (associated_data(*left) == associated_data(*right)) is (left == right)


def age_keygen(path: Path) -> None:
    """Make a key file with age-keygen, or in its form if it is not installed."""
    if shutil.which("age-keygen"):
        subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True)
        return
    path.write_text(f"# created: 2026-03-01T12:00:00Z\n{pyrage.x25519.Identity.generate()}\n")
    path.chmod(0o600)


def age_decrypt(key: Path, wrapped: Path) -> bytes:
    """Decrypt a wrapped key with age, or with pyrage if age is not installed."""
    if shutil.which("age"):
        command = ["age", "-d", "-i", str(key), str(wrapped)]
        return subprocess.run(command, check=True, capture_output=True).stdout
    identity = key.read_text().splitlines()[-1]
    return pyrage.decrypt(wrapped.read_bytes(), [pyrage.x25519.Identity.from_str(identity)])


def age_encrypt(recipient: str, plain: bytes) -> bytes:
    """Encrypt *plain* with age, or with pyrage if age is not installed."""
    if shutil.which("age"):
        return subprocess.run(["age", "-r", recipient], input=plain, check=True, capture_output=True).stdout
    return pyrage.encrypt(plain, [pyrage.x25519.Recipient.from_str(recipient)])


def test_age_opens_a_wrapped_data_key(tmp_path: Path) -> None:
    """The age program opens a wrapped data key with the station's key file, and with that of a second recipient."""
    station = create_station_key(tmp_path / "station.key")
    escrow = tmp_path / "escrow.key"
    age_keygen(escrow)
    wrapped = tmp_path / "wrapped.age"
    wrapped.write_bytes(wrap(KEY, [station.recipient, load_station_key(escrow).recipient]))
    for path in (tmp_path / "station.key", escrow):
        assert age_decrypt(path, wrapped) == KEY.reveal()
        assert unwrap(wrapped.read_bytes(), load_station_key(path)) == KEY


def test_what_age_wrapped_is_unwrapped(tmp_path: Path) -> None:
    """A data key that the age program wrapped for the station opens."""
    station = create_station_key(tmp_path / "station.key")
    assert unwrap(age_encrypt(station.recipient, KEY.reveal()), station) == KEY


def test_a_station_that_was_not_admitted(station_key: StationKey) -> None:
    """A data key for other stations is a station error with the command that admits the station."""
    other = str(pyrage.x25519.Identity.generate().to_public())
    with pytest.raises(StationError, match="cannot open") as caught:
        unwrap(wrap(KEY, [other]), station_key)
    assert caught.value.cause == "not-admitted"


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: b"junk"]
)
def test_a_damaged_data_key(station_key: StationKey, damage: Callable[[bytes], bytes]) -> None:
    """A damaged wrapped key is an integrity error."""
    with pytest.raises(IntegrityError):
        unwrap(damage(wrap(KEY, [station_key.recipient])), station_key)


def test_a_data_key_of_another_length(station_key: StationKey) -> None:
    """A data key that does not have 32 bytes is rejected."""
    with pytest.raises(IntegrityError, match="16 bytes"):
        unwrap(wrap(Secret(b"x" * 16), [station_key.recipient]), station_key)


def test_bad_recipients_are_refused() -> None:
    """A missing or invalid recipient is rejected before anything is sealed."""
    with pytest.raises(InputError, match="no recipient"):
        wrap(KEY, [])
    with pytest.raises(InputError, match="not an age recipient"):
        wrap(KEY, ["age1nonsense"])


def test_a_station_key_is_made_once(tmp_path: Path) -> None:
    """A station key is 0600, reads back, is not in repr, and is not replaced."""
    path = tmp_path / "station.key"
    key = create_station_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_station_key(path) == key
    assert key.identity.reveal() not in repr(key)
    with pytest.raises(InputError, match="exists"):
        create_station_key(path)
    assert load_station_key(path) == key


@pytest.mark.parametrize("text", ["", "hello", "AGE-SECRET-KEY-1QQQQ", "age1abc"])
def test_what_is_no_station_key(tmp_path: Path, text: str) -> None:
    """A file without exactly one age identity is rejected, without showing its content."""
    path = tmp_path / "station.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(InputError, match="not a station key"):
        load_station_key(path)


def test_an_open_station_key_is_refused(tmp_path: Path) -> None:
    """A station key that everyone can read is rejected."""
    path = tmp_path / "station.key"
    create_station_key(path)
    path.chmod(0o644)
    with pytest.raises(InputError, match="other users of this host can use"):
        load_station_key(path)
