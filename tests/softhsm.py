"""A real PKCS #11 token: SoftHSM, one per process, because a process loads a PKCS #11 module only once."""

from __future__ import annotations

import atexit
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "4711"
LABEL = "rmfab ci"


@dataclass(frozen=True)
class SoftToken:
    """A SoftHSM token: *uri* names its signing key; its PIN is `PIN`."""

    uri: str


@cache
def soft_token() -> SoftToken:
    """Make a token with a P-256 key `release` (id 01), generated inside it, and an RSA key `other` (id 02)."""
    folder = Path(mkdtemp(prefix="softhsm-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    command = ["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--so-pin", "0815", "--pin", PIN]
    subprocess.run(command, check=True, capture_output=True)
    _make_keys()
    return SoftToken(f"pkcs11:token=rmfab%20ci;object=release?module-path={MODULE}")


def _make_keys() -> None:
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters

    (soft,) = pkcs11.lib(str(MODULE)).get_tokens(token_label=LABEL)
    with soft.open(rw=True, user_pin=PIN) as session:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        parameters.generate_keypair(store=True, label="release", id=b"\x01")
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, store=True, label="other", id=b"\x02")
