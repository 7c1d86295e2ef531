"""The server's certificate and key: accepted files, warnings and errors."""

from __future__ import annotations

import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from rmfab.errors import InputError
from rmfab.ota.tls import doubt, load_context, refuse_other_name
from rmfab.secret import Secret
from tests.ota.conftest import Papers


def nobody(subject: str) -> Secret[str]:
    """A passphrase callback that must not be called."""
    raise AssertionError(subject)


def encrypted(papers: Papers, folder: Path) -> Path:
    """The server's key under the passphrase `open sesame`."""
    key = load_pem_private_key(papers.key.read_bytes(), None)
    path = folder / "encrypted.key"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"open sesame")))
    path.chmod(0o600)
    return path


def test_a_context(papers: Papers):
    """The context requires TLS 1.2, and an unencrypted key needs no passphrase."""
    context = load_context(papers.cert, papers.key, nobody)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_certificate_that_clients_will_not_take(papers: Papers):
    """A certificate before its validity, after it, or in its last week gives a warning; in between there is none."""
    certificate = x509.load_pem_x509_certificates(papers.cert.read_bytes())[0]
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    second, day = timedelta(seconds=1), timedelta(days=1)
    for now, words in (
        (begin - second, "is not valid before"),
        (end, "expired on"),
        (end - day, "expires on"),
    ):
        assert words in (doubt(papers.cert, now) or "")
    assert doubt(papers.cert, end - 8 * day) is None


def test_an_encrypted_key_asks_once(papers: Papers, tmp_path: Path):
    """The callback is called once, with the name of the key."""
    path, asked = encrypted(papers, tmp_path), []

    def ask(subject: str) -> Secret[str]:
        asked.append(subject)
        return Secret("open sesame")

    load_context(papers.cert, path, ask)
    assert asked == [str(path)]


def test_a_wrong_passphrase(papers: Papers, tmp_path: Path):
    """The error names the key's file and does not contain the passphrase."""
    path = encrypted(papers, tmp_path)
    with pytest.raises(InputError, match="wrong passphrase") as caught:
        load_context(papers.cert, path, lambda _: Secret("hunter2"))
    assert caught.value.where == str(path)
    assert "hunter2" not in repr(caught.value)


def test_a_callback_that_refuses(papers: Papers, tmp_path: Path):
    """An exception of the callback is passed through."""

    def refuse(_: str) -> Secret[str]:
        raise InputError("no terminal", cause="passphrase")

    with pytest.raises(InputError, match="no terminal"):
        load_context(papers.cert, encrypted(papers, tmp_path), refuse)


def test_files_that_will_not_do(papers: Papers, tmp_path: Path):
    """A file that is missing, invalid, accessible to others or from a different pair is named, with its cause."""
    other, loose, empty = tmp_path / "other.key", tmp_path / "loose.key", tmp_path / "empty.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    other.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    other.chmod(0o600)
    loose.write_bytes(papers.key.read_bytes())
    loose.chmod(0o644)
    empty.write_bytes(b"")
    empty.chmod(0o600)
    missing = tmp_path / "missing.pem"
    for cert, path, where, cause in (
        (missing, papers.key, missing, "bad-input"),
        (papers.cert, missing, missing, "bad-input"),
        (empty, papers.key, empty, "tls-certificate"),
        (papers.key, papers.key, papers.key, "tls-certificate"),
        (papers.cert, empty, empty, "key-file"),
        (papers.cert, loose, loose, "key-file-open"),
        (papers.cert, other, other, "tls-mismatch"),
        (papers.ca, papers.key, papers.key, "tls-mismatch"),
    ):
        with pytest.raises(InputError) as caught:
            load_context(cert, path, nobody)
        assert (caught.value.where, caught.value.cause) == (str(where), cause)


def test_a_key_that_tls_does_not_take(papers: Papers, tmp_path: Path):
    """What OpenSSL rejects is an InputError too, here a damaged certificate later in the chain."""
    chain = tmp_path / "chain.pem"
    chain.write_bytes(papers.cert.read_bytes() + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(InputError) as caught:
        load_context(chain, papers.key, nobody)
    assert (caught.value.where, caught.value.cause) == (str(chain), "tls-certificate")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1"])
def test_a_name_that_the_certificate_has(papers: Papers, host: str):
    """A certificate is for the names and addresses that it lists."""
    refuse_other_name(papers.cert, host)


@pytest.mark.parametrize("host", ["ota.example.org", "127.0.0.2", "sub.localhost"])
def test_a_name_that_the_certificate_lacks(papers: Papers, host: str):
    """Any other is refused, with those that it has; so is a certificate without names, such as a CA's."""
    with pytest.raises(InputError) as caught:
        refuse_other_name(papers.cert, host)
    assert (caught.value.cause, "127.0.0.1, localhost" in str(caught.value.hint)) == ("tls-name", True)
    with pytest.raises(InputError, match="not for"):
        refuse_other_name(papers.ca, host)
