"""Private keys in PEM files."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from rmfab.errors import InputError
from rmfab.secret import Secret
from rmfab.signing import encrypted_key
from rmfab.signing.keyfile import encode_private_key, is_encrypted, load_private_key, write_private_key
from tests.quick_keys import COST

KEYS = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


def never(subject: str) -> Secret[str]:
    raise AssertionError(f"asked for a passphrase of {subject}")


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("passphrase", [None, Secret("correct horse ü")])
def test_a_written_key_comes_back(tmp_path: Path, kind: str, passphrase: Secret[str] | None) -> None:
    """Every kind of key reads back from its file, which is 0600, and encrypted if a passphrase was given."""
    key = KEYS[kind]()
    path = tmp_path / "a.key"
    write_private_key(path, key, passphrase)
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_encrypted(path.read_bytes()) is (passphrase is not None)
    loaded = load_private_key(path, never if passphrase is None else lambda subject: passphrase)
    assert loaded.public_key() == key.public_key()


def test_the_callback_is_told_the_file(tmp_path: Path) -> None:
    """The passphrase callback is called once, with the name of the file."""
    path = tmp_path / "a.key"
    write_private_key(path, KEYS["p256"](), Secret("x"))
    asked = []

    def answer(subject: str) -> Secret[str]:
        asked.append(subject)
        return Secret("x")

    load_private_key(path, answer)
    assert asked == [str(path)]


def test_a_wrong_passphrase_is_named_without_being_shown(tmp_path: Path) -> None:
    """A wrong passphrase is an InputError that names the file and does not contain the passphrase."""
    path = tmp_path / "a.key"
    write_private_key(path, KEYS["p256"](), Secret("right"))
    with pytest.raises(InputError, match="wrong passphrase") as caught:
        load_private_key(path, lambda subject: Secret("hunter2"))
    assert str(path) in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.skipif(os.name != "posix", reason="file modes")
@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_a_key_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    """A key file that everyone can read or write is rejected, with the chmod that fixes it."""
    path = tmp_path / "a.key"
    write_private_key(path, KEYS["p256"](), None)
    path.chmod(mode)
    with pytest.raises(InputError, match="other users of this host can use") as caught:
        load_private_key(path, never)
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize("content", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """A file without a private key is an InputError that names the file."""
    path = tmp_path / "a.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match="not a private key"):
        load_private_key(path, never)


def test_a_missing_key_is_refused(tmp_path: Path) -> None:
    """A missing key file is an InputError that names it."""
    with pytest.raises(InputError, match="cannot read this key"):
        load_private_key(tmp_path / "none.key", never)


def test_an_existing_key_is_never_replaced(tmp_path: Path) -> None:
    """Writing over an existing key is rejected and leaves it unchanged."""
    path = tmp_path / "a.key"
    write_private_key(path, KEYS["p256"](), None)
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        write_private_key(path, KEYS["p256"](), None)
    assert path.read_bytes() == before


def test_an_empty_passphrase_is_refused() -> None:
    """An empty passphrase is rejected."""
    with pytest.raises(InputError, match="passphrase is empty"):
        encode_private_key(KEYS["p256"](), Secret(""))


@pytest.mark.parametrize("cipher", [[], ["-aes256"]])
def test_keys_of_openssl_are_read(tmp_path: Path, cipher: list[str]) -> None:
    """SEC1 keys that `openssl ec` writes are read, also with the old form of encryption."""
    plain = tmp_path / "plain.key"
    key = KEYS["p256"]()
    write_private_key(plain, key, None)
    path = tmp_path / "openssl.key"
    command = ["openssl", "ec", "-in", str(plain), "-out", str(path), *cipher, "-passout", "pass:abcd"]
    subprocess.run(command, check=True, capture_output=True)
    path.chmod(0o600)
    assert is_encrypted(path.read_bytes()) is bool(cipher)
    assert load_private_key(path, lambda subject: Secret("abcd")).public_key() == key.public_key()


def test_the_written_key_opens_with_openssl(tmp_path: Path) -> None:
    """`openssl pkey` reads an encrypted key that rmfab wrote and finds the same public key."""
    path = tmp_path / "a.key"
    key = KEYS["p384"]()
    write_private_key(path, key, Secret("abcd"))
    command = ["openssl", "pkey", "-in", str(path), "-passin", "pass:abcd", "-pubout"]
    done = subprocess.run(command, check=True, capture_output=True)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert done.stdout == public


def test_a_passphrase_is_slow_to_guess(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key that a passphrase gives is made by scrypt with N 2^14, r 8 and p 5, as openssl reads the file; keys that
    cryptography wrote, with 2,048 rounds of PBKDF2, are still read."""
    monkeypatch.setattr(encrypted_key, "COST", COST)
    path, key = tmp_path / "a.key", KEYS["p256"]()
    write_private_key(path, key, Secret("abcd"))
    said = subprocess.run(["openssl", "asn1parse", "-in", path], check=True, capture_output=True, text=True).stdout
    assert ":scrypt\n" in said
    assert re.findall(r"INTEGER +:(\w+)", said) == ["4000", "08", "05"]
    early = serialization.BestAvailableEncryption(b"abcd")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, early))
    assert load_private_key(path, lambda subject: Secret("abcd")).public_key() == key.public_key()
