"""Keys to sign with, made once; and a SoftHSM token where its package is installed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rmfab.signing.signer import SigningKeyKind, SoftwareSigner, make_key

SOFTHSM = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "4711"


@pytest.fixture(scope="session")
def ed25519() -> SoftwareSigner:
    """An Ed25519 key."""
    return make_key(SigningKeyKind.ED25519)


@pytest.fixture(scope="session")
def p256() -> SoftwareSigner:
    """A key on P-256."""
    return make_key(SigningKeyKind.ECDSA_P256)


@dataclass(frozen=True)
class SoftToken:
    """A SoftHSM token: *uri* names its one key; its PIN is `PIN`."""

    uri: str
    folder: Path


@pytest.fixture(scope="session")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftToken]:
    """A real PKCS #11 token with a P-256 key `release` (id 01) that was made inside it, and an RSA key `other`."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    command = ["softhsm2-util", "--init-token", "--free", "--label", "rmfab ci", "--so-pin", "0815", "--pin", PIN]
    subprocess.run(command, check=True, capture_output=True)
    _make_keys()
    yield SoftToken(f"pkcs11:token=rmfab%20ci;object=release?module-path={SOFTHSM}", folder)
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


def _make_keys() -> None:
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    (soft,) = pkcs11.lib(str(SOFTHSM)).get_tokens(token_label="rmfab ci")
    with soft.open(rw=True, user_pin=PIN) as session:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        parameters.generate_keypair(store=True, label="release", id=b"\x01")
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, store=True, label="other", id=b"\x02")
