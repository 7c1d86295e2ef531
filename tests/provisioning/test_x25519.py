"""Securities 1 and 0 against the independent device."""

from __future__ import annotations

import hashlib

import pytest

from rmfab.errors import UnitFault
from rmfab.provisioning.failures import ProtocolError, RequestRefused, WrongPop
from rmfab.provisioning.security import X25519, Plain
from rmfab.provisioning.security.x25519 import Keystream, session_key
from rmfab.secret import Secret
from tests.provisioning.device import Device, num, raw
from tests.provisioning.links import Direct


def fixed(size: int) -> bytes:
    """Return bytes in place of the client's random ones."""
    return hashlib.shake_128(b"client").digest(size)


@pytest.mark.parametrize("pop", ["abcd1234", "", "ünïcode"])
def test_a_session(pop: str) -> None:
    """One keystream covers both proofs, requests and answers; without a PoP the shared secret is the key."""
    link = Direct(Device(security=1, pop=pop))
    session = X25519(Secret(pop), fixed).handshake(link)
    for _ in range(3):
        assert session.decrypt(link.exchange("ch_resp", session.encrypt(b"\x08\x02"))).endswith(b"node-1")


def test_pinned_bytes() -> None:
    """If both sides' random bytes are fixed, the bytes of a request are the pinned ones."""
    link = Direct(Device(security=1))
    session = X25519(Secret("abcd1234"), fixed).handshake(link)
    assert session.encrypt(bytes(16)).hex() == "3a543bf8d9a06f2d4022dfd906889241"


@pytest.mark.parametrize(("ours", "theirs"), [("abcd1235", "abcd1234"), ("", "abcd1234"), ("abcd1234", "")])
def test_a_wrong_pop(ours: str, theirs: str) -> None:
    """A wrong, a missing and an unneeded PoP are rejected alike."""
    device = Device(security=1, pop=theirs)
    with pytest.raises(WrongPop):
        X25519(Secret(ours), fixed).handshake(Direct(device))
    assert device.mismatches == 1


def test_the_device_must_prove_itself() -> None:
    """A device that accepts any proof cannot make its own."""
    for device in (Device(security=1, lies_about_proof=True), Device(security=1, pop="other", accepts_any_pop=True)):
        with pytest.raises(UnitFault) as caught:
            X25519(Secret("abcd1234"), fixed).handshake(Direct(device))
        assert caught.value.cause == "proof-mismatch"


def test_a_key_that_makes_no_secret() -> None:
    """A public key of low order is rejected."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    with pytest.raises(ProtocolError):
        session_key(X25519PrivateKey.from_private_bytes(fixed(32)), bytes(32), Secret(""))


def test_the_stream_is_one() -> None:
    """Encrypting twice differs from encrypting once: every byte in either direction advances the stream."""
    left, right = Keystream(bytes(32), bytes(16)), Keystream(bytes(32), bytes(16))
    assert left.encrypt(b"ab") + left.decrypt(b"cd") == right.encrypt(b"abcd")


class Answers:
    """A link that answers from a list."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    def exchange(self, endpoint: str, data: bytes) -> bytes:
        return self._answers.pop(0)

    def close(self) -> None: ...


def test_a_status_in_place_of_the_proof() -> None:
    """A unit that answers the proof with a status has rejected the PoP, as has one that closes the connection."""
    key = num(2, 1) + raw(11, num(1, 1) + raw(21, raw(2, fixed(32)) + raw(3, bytes(16))))
    with pytest.raises(WrongPop) as caught:
        X25519(Secret("a"), fixed).handshake(Answers(key, num(2, 1) + raw(11, num(1, 3) + raw(23, num(1, 6)))))
    assert caught.value.status == 6


def test_plain() -> None:
    """Security 0 sends a hello, and then everything in the clear."""
    link = Direct(Device(security=0))
    session = Plain().handshake(link)
    assert session.encrypt(b"text") == session.decrypt(b"text") == b"text"
    with pytest.raises(RequestRefused):
        Plain().handshake(Answers(raw(10, num(1, 1) + raw(21, num(1, 1)))))
    with pytest.raises(ProtocolError):
        Plain().handshake(Answers(num(2, 2) + raw(12, b"")))
