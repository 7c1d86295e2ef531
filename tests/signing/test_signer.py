"""Keys by URI: in files, the environment and tokens."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from rmfab.errors import InputError, StationError
from rmfab.secret import Secret
from rmfab.signing.keyfile import PassphraseSource, encode_private_key, write_private_key
from rmfab.signing.pkcs11_uri import Pkcs11Uri
from rmfab.signing.signer import KeySigner, open_signer
from rmfab.signing.token import open_token_key
from tests.softhsm import MODULE, PIN, SoftToken, soft_token


@pytest.fixture
def token() -> SoftToken:
    """A SoftHSM token."""
    return soft_token()


def _nobody(subject: str) -> NoReturn:
    raise AssertionError(f"asked for {subject}")


def test_a_file(tmp_path: Path, ed25519: KeySigner):
    """`file:` opens a PEM file, encrypted or not, and requests a passphrase only for an encrypted one."""
    write_private_key(tmp_path / "plain.key", ed25519.key, None)
    write_private_key(tmp_path / "sealed.key", ed25519.key, Secret("open sesame"))
    assert open_signer(f"file:{tmp_path}/plain.key", _nobody, {}).public == ed25519.public
    asked = []
    opened = open_signer(f"file:{tmp_path}/sealed.key", lambda who: asked.append(who) or Secret("open sesame"), {})
    assert opened.public == ed25519.public
    assert asked == [f"{tmp_path}/sealed.key"]
    with pytest.raises(InputError, match="wrong passphrase"):
        open_signer(f"file:{tmp_path}/sealed.key", lambda _: Secret("wrong"), {})


def test_a_file_that_others_can_read_is_refused(tmp_path: Path, ed25519: KeySigner):
    """A private key that every user of the host can read is rejected."""
    write_private_key(tmp_path / "k", ed25519.key, None)
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(InputError, match="other users of this host can use"):
        open_signer(f"file:{tmp_path}/k", _nobody, {})


def test_the_environment(p256: KeySigner):
    """`env:` reads the PEM, or its base64, from a variable; errors do not contain the text of the variable."""
    pem = encode_private_key(p256.key, None)
    for text in (pem.decode(), base64.b64encode(pem).decode(), pem.decode().strip()):
        assert open_signer("env:KEY", _nobody, {"KEY": text}).public == p256.public
    with pytest.raises(InputError, match="not set"):
        open_signer("env:KEY", _nobody, {})
    for text in ("hunter2!", base64.b64encode(b"hunter2!").decode()):
        with pytest.raises(InputError) as caught:
            open_signer("env:KEY", _nobody, {"KEY": text})
        assert "hunter2" not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("uri", ["release.key", "", "file:", "env:", "https://example.org/key", "pkcs11:"])
def test_what_names_no_key(uri: str):
    """A URI of an unsupported form is rejected with the supported forms."""
    with pytest.raises(InputError, match="not the location of a key") as caught:
        open_signer(uri, _nobody, {})
    assert "file:release.key" in str(caught.value.hint)


def test_a_key_on_the_command_line_is_not_repeated(ed25519: KeySigner):
    """A private key pasted in place of a URI does not appear in the error."""
    pem = encode_private_key(ed25519.key, None).decode()
    with pytest.raises(InputError, match="visible to others") as caught:
        open_signer(pem, _nobody, {})
    assert pem.splitlines()[1] not in f"{caught.value} {caught.value.hint}"


def test_a_kind_that_does_not_sign(tmp_path: Path):
    """An RSA key opens and is then rejected for its kind."""
    write_private_key(tmp_path / "k", rsa.generate_private_key(65537, 2048), None)
    with pytest.raises(InputError, match="keys of this kind cannot sign"):
        open_signer(f"file:{tmp_path}/k", _nobody, {})


@contextmanager
def _opened(
    uri: str, ask: PassphraseSource, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[KeySigner]:
    """The signer of a token's key, closed at the end.

    A process stays logged in as long as one session is open.
    """
    with closing(open_token_key(uri, ask, environment)) as key:
        yield KeySigner(key)


def test_a_token_signs(token: SoftToken):
    """A key that never leaves its token makes valid signatures, and the PIN prompt names the token."""
    asked = []
    with _opened(token.uri, lambda who: asked.append(who) or Secret(PIN)) as signer:
        assert signer.public.verifies(signer.sign(b"a message"), b"a message")
        assert signer.public.kind == "ecdsa-p256"
    assert asked == ["the token rmfab ci (its PIN)"]


def test_a_token_by_id_and_by_module_of_the_environment(token: SoftToken):
    """CKA_ID selects the key as its label does, and the environment can provide the module."""
    environment = {"RMFAB_PKCS11_MODULE": str(MODULE)}
    with (
        _opened("pkcs11:token=rmfab%20ci;id=%01", lambda _: Secret(PIN), environment) as by_id,
        _opened(token.uri, lambda _: Secret(PIN)) as by_label,
    ):
        assert by_id.public == by_label.public
        assert by_label.public.verifies(by_id.sign(b"m"), b"m")


def test_a_pin_from_a_file(token: SoftToken, tmp_path: Path):
    """`pin-source` reads the PIN from a file, which must not be accessible to others."""
    pin = tmp_path / "pin"
    pin.write_text(f"{PIN}\n")
    pin.chmod(0o600)
    with _opened(f"{token.uri}&pin-source=file:{pin}", _nobody) as signer:
        assert signer.sign(b"m")
    pin.chmod(0o644)
    with pytest.raises(InputError, match="other users of this host can use"):
        open_signer(f"{token.uri}&pin-source={pin}", _nobody, {})


def test_a_wrong_pin(token: SoftToken):
    """A wrong PIN is reported, is not tried twice, and does not appear in the error."""
    asked = []
    with pytest.raises(InputError, match="the PIN is wrong") as caught:
        open_signer(token.uri, lambda who: asked.append(who) or Secret("987654"), {})
    assert len(asked) == 1
    assert "987654" not in str(caught.value)


def test_a_token_that_was_pulled_out(token: SoftToken):
    """Closing a key whose token was removed is not an error."""
    import pkcs11

    with closing(open_token_key(token.uri, lambda _: Secret(PIN), {})) as key:
        assert KeySigner(key).sign(b"m")
        pkcs11.lib(str(MODULE)).reinitialize()


def test_a_key_that_is_not_in_the_token(token: SoftToken):
    """A missing object, a missing token, a wrong kind of key and a missing module have different messages."""
    ask = lambda _: Secret(PIN)  # noqa: E731
    for uri, words in (
        (token.uri.replace("object=release", "object=nothing"), "expected one private key, found none"),
        (token.uri.replace("rmfab%20ci", "elsewhere"), "expected one token, found none"),
        (token.uri.replace("object=release", "object=other"), "of this kind in a token"),
        (token.uri.partition("?")[0], "no PKCS #11 module given"),
    ):
        with pytest.raises(InputError, match=words):
            open_signer(uri, ask, {})
    with pytest.raises(StationError, match="does not work"):
        open_signer(token.uri.replace(str(MODULE), "/nowhere.so"), ask, {})


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("pkcs11:token=a;object=b?pin-value=1234", "not allowed on the command line"),
        ("pkcs11:token=a;object=b;token=c", "is given twice"),
        ("pkcs11:token=a;object=b%2", "no valid value"),
        ("pkcs11:token=a;colour=red;object=b", "is not an attribute"),
        ("pkcs11:token=a;object", "no valid value"),
        ("pkcs11:token=a", "no key given"),
        ("pkcs11:slot-id=1;object=b", "is not supported"),
        ("pkcs11:object=b;type=cert", "expected a private key"),
        ("pkcs11:object=b?module-name=softhsm", "is not supported"),
        ("pkcs11:object=%ff", "UTF-8"),
        ("pkcs11:object=b?pin-source=|cat", "is not the path of a file"),
        ("pkcs11:object=b?pin-source=%00", "is not the path of a file"),
        ("pkcs11:object=b?pin%2dvalue=1234", "not allowed on the command line"),
    ],
)
def test_bad_pkcs11_uris(uri: str, words: str):
    """Every invalid attribute of a URI is rejected, and a PIN in it is not repeated."""
    with pytest.raises(InputError, match=words) as caught:
        Pkcs11Uri.parse(uri)
    assert "1234" not in f"{caught.value} {caught.value.hint}"


def test_a_pkcs11_uri():
    """A URI has percent-encoded attributes, ids as bytes, and options after the question mark."""
    parsed = Pkcs11Uri.parse("pkcs11:token=my%20token;serial=%30%31;id=%00%ff;type=private?module-path=/m.so")
    assert (parsed.token, parsed.serial, parsed.key_id) == ("my token", b"01", b"\x00\xff")
    assert parsed.module_path == Path("/m.so")
