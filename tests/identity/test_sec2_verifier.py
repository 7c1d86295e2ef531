"""The SRP6a verifier."""

from __future__ import annotations

import hashlib
import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmfab.identity import sec2_verifier
from rmfab.secret import Secret


def machin_pi(bits: int) -> int:
    """Pi times 2^bits, by Machin's formula in integers."""

    def arctan_of_inverse(x: int) -> int:
        power = total = (1 << (bits + 32)) // x
        n, sign = 3, -1
        while power:
            power //= x * x
            total += sign * (power // n)
            n, sign = n + 2, -sign
        return total

    return (4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))) >> 32


def plain_verifier(username: str, pop: str, salt: bytes) -> int:
    """The definition, with Python's own pow."""
    inner = hashlib.sha512(username.encode() + b":" + pop.encode()).digest()
    x = int.from_bytes(hashlib.sha512(salt + inner).digest(), "big")
    return pow(5, x, sec2_verifier.PRIME)


def test_the_prime_is_the_one_of_rfc_5054() -> None:
    """PRIME is the 3072-bit prime of RFC 5054, which RFC 3526 defines by a formula with pi."""
    prime = 2**3072 - 2**3008 - 1 + 2**64 * (machin_pi(2942) + 1690314)
    assert prime == sec2_verifier.PRIME


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1, max_size=20), st.text(max_size=20), st.binary(min_size=16, max_size=16))
def test_it_is_the_plain_power(username: str, pop: str, salt: bytes) -> None:
    """For any username, PoP and salt the verifier is the plain power, big-endian and minimal."""
    verifier = sec2_verifier.verifier(username, Secret(pop), salt).reveal()
    assert int.from_bytes(verifier, "big") == plain_verifier(username, pop, salt)
    assert verifier[0] != 0
    assert len(verifier) <= sec2_verifier.MAX_VERIFIER_BYTES


@pytest.mark.parametrize(
    "exponent", [b"\x00" * 64, b"\x00" * 63 + b"\x01", b"\xff" * 64, b"\x01" + b"\x00" * 63, b"\x80" * 64]
)
def test_edge_exponents(exponent: bytes) -> None:
    """Exponents without digits, with one digit and with the highest digits give the same as pow."""
    assert sec2_verifier._power_of_generator(exponent) == pow(5, int.from_bytes(exponent, "big"), sec2_verifier.PRIME)


def test_a_phone_and_a_device_agree() -> None:
    """An SRP6a exchange between a client with the PoP and a server with the verifier gives both the same secret."""
    n, g, width = sec2_verifier.PRIME, sec2_verifier.GENERATOR, 384
    salt, pop = secrets.token_bytes(16), "d0ab12cd"
    v = int.from_bytes(sec2_verifier.verifier("wifiprov", Secret(pop), salt).reveal(), "big")

    def number(*parts: bytes) -> int:
        return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "big")

    k = number(n.to_bytes(width, "big"), g.to_bytes(width, "big"))
    a, b = secrets.randbits(256), secrets.randbits(256)
    public_a = pow(g, a, n)
    public_b = (k * v + pow(g, b, n)) % n
    u = number(public_a.to_bytes(width, "big"), public_b.to_bytes(width, "big"))
    x = number(salt, hashlib.sha512(f"wifiprov:{pop}".encode()).digest())
    of_client = pow(public_b - k * pow(g, x, n), a + u * x, n)
    of_server = pow(public_a * pow(v, u, n), b, n)
    assert of_client == of_server


def test_the_trap_of_the_inner_hash() -> None:
    """PoP acf96e42 hashes to a leading zero byte under wifiprov and is not usable; most are."""
    assert not sec2_verifier.is_usable("wifiprov", Secret("acf96e42"))
    assert hashlib.sha512(b"wifiprov:acf96e42").digest()[0] == 0
    assert sec2_verifier.is_usable("wifiprov", Secret("00000000"))


def test_a_salt_never_begins_with_zero() -> None:
    """A salt with a leading zero byte is drawn again."""
    given = iter([b"\x00" + b"\x01" * 15, b"\x00" * 16, b"\x02" * 16])
    assert sec2_verifier.draw_salt(lambda count: next(given)) == b"\x02" * 16


def test_the_verifier_does_not_show() -> None:
    """The verifier is a Secret."""
    assert repr(sec2_verifier.verifier("wifiprov", Secret("00000000"), b"\x01" * 16)) == "Secret(...)"
