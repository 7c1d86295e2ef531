"""The identity of one device."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import replace

import pytest

from rmfab.identity import sec2_verifier
from rmfab.identity.identity import Identity, draw, service_name
from rmfab.product.product import Provisioning
from rmfab.product.vocabulary import Security
from rmfab.secret import Secret

RANDOM = bytes(range(64))


def identity(**changes: object) -> Identity:
    values: dict[str, object] = {
        "serial": "LMP-000001",
        "node_id": "node-1",
        "certificate_pem": b"certificate",
        "private_key_pem": Secret(b"private-key"),
        "random": Secret(RANDOM),
        "sec2_salt": b"\x01" * 16,
        "sec2_verifier": Secret(b"verifier"),
        "service_name": "PROV_3d3e3f",
        "extra": {("app", "wifi_key"): Secret("extra-cell")},
    }
    return Identity(**(values | changes))  # type: ignore[arg-type]


def test_pop_and_name_follow_from_random() -> None:
    """The PoP is hex of the first four bytes, the service name ends in hex of the last three."""
    assert identity().pop == Secret("00010203")
    assert service_name("PROV", Secret(RANDOM)) == "PROV_3d3e3f"
    assert service_name("MY_LAMP", Secret(RANDOM)) == "MY_LAMP_3d3e3f"


def test_no_secret_shows() -> None:
    """repr contains no key, random, PoP, verifier or extra value, and an identity with secrets cannot be pickled."""
    shown = repr(identity())
    for secret in ("private-key", RANDOM.hex(), "00010203", "verifier'", "extra-cell", repr(RANDOM)):
        assert secret not in shown
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(identity())


@pytest.mark.parametrize(
    "wrong",
    [
        {"serial": "../x"},
        {"serial": ""},
        {"node_id": None},
        {"certificate_pem": None},
        {"private_key_pem": None},
        {"sec2_salt": None},
        {"random": Secret(b"short")},
        {"service_name": "PROV_000000"},
        {"service_name": "3d3e3f"},
    ],
)
def test_an_identity_is_whole(wrong: dict[str, object]) -> None:
    """Incomplete and contradictory values are rejected."""
    with pytest.raises(ValueError):  # noqa: PT011 - each for its own reason
        identity(**wrong)


def test_a_claimed_identity_has_no_credentials() -> None:
    """With self or assisted claiming, node id, certificate and key are absent together."""
    assert identity(node_id=None, certificate_pem=None, private_key_pem=None).node_id is None


def test_drawn_for_security_2(source: Callable[[int], bytes]) -> None:
    """The drawn values match: verifier of the PoP under the salt, name from random."""
    drawn = draw(source, Provisioning())
    assert drawn.sec2_salt is not None
    assert drawn.sec2_verifier == sec2_verifier.verifier("wifiprov", drawn.pop, drawn.sec2_salt)
    assert drawn.service_name == service_name("PROV", drawn.random)
    assert len(drawn.random.reveal()) == 64


@pytest.mark.parametrize("security", [Security.PLAIN, Security.X25519])
def test_drawn_for_other_security(source: Callable[[int], bytes], security: Security) -> None:
    """Without security 2 no verifier is drawn."""
    drawn = draw(source, replace(Provisioning(), security=security))
    assert (drawn.sec2_salt, drawn.sec2_verifier) == (None, None)


def test_a_trapped_pop_is_drawn_again() -> None:
    """A `random` whose PoP Espressif's Python client cannot verify is drawn again."""
    trapped = bytes.fromhex("acf96e42") + bytes(60)
    assert hashlib.sha512(b"wifiprov:acf96e42").digest()[0] == 0
    given = iter([trapped, trapped, RANDOM, b"\x00" * 16, b"\x05" * 16])
    drawn = draw(lambda count: next(given), Provisioning())
    assert (drawn.random.reveal(), drawn.sec2_salt) == (RANDOM, b"\x05" * 16)
