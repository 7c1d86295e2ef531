"""Public keys: their ids, and the signatures that they verify."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.signer import SSlibKey

from rmfab.errors import InputError
from rmfab.signing.publickey import VerifyingKey, load_public_key


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_the_id_is_that_of_securesystemslib(kind: str, request: pytest.FixtureRequest):
    """Key ids are those of The Update Framework: securesystemslib computes the same."""
    key = request.getfixturevalue(kind)
    assert key.public.id == SSlibKey.from_crypto(key.key.public_key()).keyid


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_openssl_verifies_what_we_sign(kind: str, request: pytest.FixtureRequest, tmp_path: Path):
    """A signature is the plain one of its algorithm over the message: openssl verifies it."""
    key = request.getfixturevalue(kind)
    (tmp_path / "m").write_bytes(b"a message")
    (tmp_path / "s").write_bytes(key.sign(b"a message"))
    (tmp_path / "k").write_text(key.public.pem)
    digest = [] if kind == "ed25519" else ["-digest", "sha256"]
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "k", "-rawin", *digest, "-in", "m", "-sigfile", "s"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_another_message_key_or_signature_does_not_verify(kind: str, request: pytest.FixtureRequest, p256, ed25519):
    """A signature verifies only for its message and its key; garbage returns False."""
    key = request.getfixturevalue(kind)
    signature = key.sign(b"a message")
    assert key.public.verifies(signature, b"a message")
    assert not key.public.verifies(signature, b"another")
    for other in (b"", b"\x30", signature[:-1], bytes([signature[0] ^ 1]) + signature[1:]):
        assert not key.public.verifies(other, b"a message")
    for stranger in {p256.public, ed25519.public} - {key.public}:
        assert not stranger.verifies(signature, b"a message")


@pytest.mark.parametrize(
    "key",
    [
        ed448.Ed448PrivateKey.generate(),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["ed448", "p384", "secp256k1", "rsa"],
)
def test_other_kinds_are_refused(key, tmp_path: Path):
    """An unsupported kind of key is rejected, with the file that contains it."""
    path = tmp_path / "k.pub"
    path.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(InputError, match="keys of this kind cannot sign") as caught:
        load_public_key(path)
    assert caught.value.where == str(path)


def test_a_private_key_is_no_public_key(p256):
    """A private key in place of a public one is rejected without being parsed."""
    pem = p256.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InputError, match="contains a private key"):
        VerifyingKey.from_pem(pem, "k")


def test_garbage_is_no_public_key():
    """A file that is not a key is bad input."""
    for data in (b"", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"\xff" * 100):
        with pytest.raises(InputError, match="not a public key"):
            VerifyingKey.from_pem(data, "k")
