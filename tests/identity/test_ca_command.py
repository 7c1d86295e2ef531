"""`rmfab ca`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate
from cryptography.x509.oid import NameOID

from rmfab.cli import main
from rmfab.commands.ca import KINDS
from rmfab.identity.ca import CaKeyKind
from rmfab.ledger.store import Ledger
from rmfab.operations.passphrases import CA_ENVIRONMENT
from rmfab.secret import Secret
from rmfab.signing.token import TokenKey, open_token_key
from tests.softhsm import PIN, soft_token

PRODUCT = """
[product]
name = "Lamp"
chip = "esp32c3"
serial = "LMP-{n:06d}"
[identity]
mqtt_host = "mqtt.example.com"
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(CA_ENVIRONMENT, raising=False)
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "product.toml").write_text(PRODUCT)
    return folder


@pytest.fixture
def secret_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "passphrase"
    path.write_text("s3cret-words\n")
    path.chmod(0o600)
    monkeypatch.setenv(CA_ENVIRONMENT, str(path))
    return path


def ca(workspace: Path, *arguments: str) -> int:
    return main(["-C", str(workspace), "ca", *arguments])


def openssl(*arguments: str) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout


def test_the_kinds_are_those_of_the_room() -> None:
    """The command offers the kinds of CaKeyKind; it lists them itself so that help does not load cryptography."""
    assert list(KINDS) == [kind.value for kind in CaKeyKind]


def test_create_with_a_passphrase_file(workspace: Path, secret_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The key is encrypted with the text of the file without its line end; stdout has the path and no secret."""
    assert ca(workspace, "create", "--kind", "rsa-2048", "--cn", "My CA") == 0
    out, err = capsys.readouterr()
    assert out == f"{workspace}/ca/ca.crt\n"
    assert "s3cret" not in out + err
    openssl("pkey", "-in", f"{workspace}/ca/ca.key", "-passin", "pass:s3cret-words", "-noout")
    assert "CN = My CA" in openssl("x509", "-in", f"{workspace}/ca/ca.crt", "-noout", "-subject")


def test_no_passphrase_must_be_asked_for(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal and a file for the passphrase, exit 3 names both ways and nothing is made."""
    assert ca(workspace, "create") == 3
    err = capsys.readouterr().err
    assert CA_ENVIRONMENT in err
    assert "--no-passphrase" in err
    assert not (workspace / "ca").exists()
    assert ca(workspace, "create", "--no-passphrase") == 0


def test_an_existing_ca_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second create or import is exit 3 and changes nothing."""
    assert ca(workspace, "create", "--no-passphrase") == 0
    before = (workspace / "ca" / "ca.key").read_bytes()
    assert ca(workspace, "create", "--no-passphrase") == 3
    assert ca(workspace, "import", "a.crt", "a.key") == 3
    assert "never replaces" in capsys.readouterr().err
    assert (workspace / "ca" / "ca.key").read_bytes() == before


def test_claiming_needs_no_ca(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A product whose certificates public RainMaker makes gets no CA, created or imported."""
    path = workspace / "product.toml"
    path.write_text(path.read_text().replace("[identity]", '[identity]\ncredentials = "claim"'))
    for words in (["create", "--no-passphrase"], ["import", "a.crt", "a.key"]):
        assert ca(workspace, *words) == 3
        assert "this product needs no CA" in capsys.readouterr().err
    assert not (workspace / "ca").exists()


def test_show(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`show` prints the CA as text and as JSON, without a passphrase; without a CA it is exit 3."""
    assert ca(workspace, "show") == 3
    assert ca(workspace, "create", "--no-passphrase") == 0
    capsys.readouterr()
    assert ca(workspace, "show", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["subject"] == "CN=Lamp Device CA"
    assert (document["key"], document["path_length"], document["key_encrypted"]) == ("ecdsa-p256", 0, False)
    shown = openssl("x509", "-in", f"{workspace}/ca/ca.crt", "-noout", "-fingerprint", "-sha256")
    assert document["sha256"] == shown.strip().rpartition("=")[2].replace(":", "").lower()
    assert ca(workspace, "show") == 0
    out = capsys.readouterr().out
    assert "CN=Lamp Device CA" in out
    assert "key encrypted  no\n" in out


@pytest.mark.parametrize("encrypted", [True, False])
def test_import(workspace: Path, secret_file: Path, tmp_path: Path, encrypted: bool) -> None:
    """A CA made by openssl is imported; its key is stored encrypted, whether it was encrypted or not."""
    key, certificate = tmp_path / "k.pem", tmp_path / "c.pem"
    protection = ["-passout", "pass:s3cret-words"] if encrypted else ["-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    openssl("req", "-x509", "-newkey", "rsa:2048", "-subj", "/CN=Theirs", "-days", "99", *protection, *files)
    key.chmod(0o600)
    assert ca(workspace, "import", str(certificate), str(key)) == 0
    openssl("pkey", "-in", f"{workspace}/ca/ca.key", "-passin", "pass:s3cret-words", "-noout")
    assert b"ENCRYPTED" in (workspace / "ca" / "ca.key").read_bytes()


def test_a_wrong_import_leaves_nothing(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that does not match the certificate is exit 3, names the file, and leaves no CA behind."""
    for name in ("a", "b"):
        files = ["-keyout", str(tmp_path / f"{name}.key"), "-out", str(tmp_path / f"{name}.crt")]
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", *files)
        (tmp_path / f"{name}.key").chmod(0o600)
    assert ca(workspace, "import", str(tmp_path / "a.crt"), str(tmp_path / "b.key"), "--no-passphrase") == 3
    assert f"{tmp_path}/b.key: this key does not match" in capsys.readouterr().err
    assert not (workspace / "ca").exists()


@pytest.mark.parametrize(("content", "words"), [("", "empty"), ("\n", "empty"), (None, "cannot read")])
def test_a_bad_passphrase_file(
    workspace: Path, secret_file: Path, capsys: pytest.CaptureFixture[str], content: str | None, words: str
) -> None:
    """A passphrase file that is missing or empty is exit 3."""
    secret_file.unlink() if content is None else secret_file.write_text(content)
    assert ca(workspace, "create") == 3
    assert words in capsys.readouterr().err


def test_an_open_passphrase_file_is_warned_of(
    workspace: Path, secret_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A passphrase that everyone can read is only a warning, because container secrets are mounted like that."""
    secret_file.chmod(0o644)
    assert ca(workspace, "create") == 0
    assert "other users can use this passphrase file" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_the_terminal_is_asked_twice(workspace: Path) -> None:
    """On a terminal the passphrase is prompted for twice, not shown, and prompts do not go to stdout."""
    import pty

    child, terminal = pty.fork()
    if child == 0:
        out = os.open(workspace / "stdout", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.execv(sys.executable, [sys.executable, "-m", "rmfab", "-C", str(workspace), "ca", "create"])
    heard = b""
    for prompt in (b"New passphrase", b"Repeat"):
        while prompt not in heard:
            heard += os.read(terminal, 1024)
        heard = heard.partition(prompt)[2]
        while b": " not in heard:
            heard += os.read(terminal, 1024)
        os.write(terminal, b"typed-words\n")
    rest = b""
    try:
        while more := os.read(terminal, 1024):
            rest += more
    except OSError:  # the child has closed its side
        pass
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, rest
    assert b"typed-words" not in heard + rest
    assert (workspace / "stdout").read_text() == f"{workspace}/ca/ca.crt\n"
    openssl("pkey", "-in", f"{workspace}/ca/ca.key", "-passin", "pass:typed-words", "-noout")


@pytest.mark.slow
def test_a_ca_in_a_token(workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A CA whose key never leaves its token signs a batch in several processes; ca.key contains its URI and no PIN."""
    token = soft_token()
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    pin.chmod(0o600)
    uri = f"{token.uri}&pin-source={pin}"
    with closing(open_token_key(uri, lambda _: Secret(""), {})) as key:
        certificate = _self_signed(key)
    (tmp_path / "ca.crt").write_bytes(certificate)
    assert ca(workspace, "import", str(tmp_path / "ca.crt"), uri) == 0
    assert (workspace / "ca" / "ca.key").read_text() == f"{uri}\n"
    assert main(["-C", str(workspace), "station", "key"]) == 0
    (workspace / "keys" / "unique.key").write_text("07" * 32)
    recipient = capsys.readouterr().out.split()[-1]
    with (workspace / "product.toml").open("a") as stream:
        stream.write(f'[recipients]\nhost = "{recipient}"\n')
    assert main(["-C", str(workspace), "generate", "--count", "2100", "--jobs", "2", "--batch", "b"]) == 0
    with Ledger.open(workspace / "ledger.db", create=False) as ledger:
        issuer = load_pem_x509_certificate(certificate)
        for one in ledger.identities("b"):
            assert one.record.certificate is not None
            load_der_x509_certificate(one.record.certificate).verify_directly_issued_by(issuer)
    capsys.readouterr()
    assert ca(workspace, "show", "--json") == 0
    assert json.loads(capsys.readouterr().out)["key_in_token"] == uri


def _self_signed(key: TokenKey) -> bytes:
    """The PEM certificate of a CA with the key *key*."""
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Token CA")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = (
        builder.serial_number(7).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
