"""Security 2: pinned handshakes against the independent device, with each edge case found by search."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import pytest

from rmfab.errors import UnitFault
from rmfab.identity import sec2_verifier
from rmfab.provisioning.failures import ProtocolError, WrongPop
from rmfab.provisioning.security.srp6a import Authenticated, OwnKey, Srp6a, agree, draw_own_key
from rmfab.secret import Secret
from tests.provisioning.device import Device, N, minimal, sha512, verifier
from tests.provisioning.links import Direct

USER, POP, SALT = "wifiprov", "abcd1234", bytes(range(1, 17))


def drawn(name: str) -> bytes:
    """Return 32 bytes in place of random ones, by name."""
    return hashlib.sha256(name.encode()).digest()


def source(*values: bytes) -> Callable[[int], bytes]:
    """Return a source of *values*, in order."""
    rest: Iterator[bytes] = iter(values)
    return lambda size: next(rest)[:size]


def shake(a: str, b: str, *, pop: str = POP, salt: bytes = SALT, patch: int = 1) -> Device:
    """Make one handshake with the keys a and b, and a request in its session. Return the device with its values."""
    device = Device(pop=pop, salt=salt, patch=patch, random=source(drawn(b), drawn("nonce")))
    link = Direct(device)
    session = Srp6a(USER, Secret(pop), patch, source(drawn(a))).handshake(link)
    answer = session.decrypt(link.exchange("ch_resp", session.encrypt(b"\x08\x02")))
    assert answer.endswith(b"node-1")
    assert device.mismatches == 0
    return device


def short(number: int) -> bool:
    """Return whether a number of the group fits in fewer than 384 bytes."""
    return len(minimal(number)) < 384


def test_the_group() -> None:
    """The prime is that of RFC 3526 section 4, computed from pi."""
    assert sec2_verifier.PRIME == N


# The digests are SHA-256 over A | B | K as the device, which uses nothing of the client, computed them.
EDGES = [
    ("plain", {"a": "a0", "b": "b0"}, "ef6ddefd4dda812ba39140a5e3c278fd", lambda state: True),
    (
        "leading zero in B",
        {"a": "a0", "b": "b136"},
        "50bb33a89f59a05d9a092e3a23c8c2e6",
        lambda state: len(state["B"]) == 383,
    ),
    ("leading zero in S", {"a": "a12", "b": "b0"}, "162defa10748c37a2c3fc426e4ff9c37", lambda state: short(state["S"])),
    (
        "leading zero in K",
        {"a": "a132", "b": "b0"},
        "aef7e9019e1d239241a8ce29fe08855b",
        lambda state: state["K"][0] == 0,
    ),
    (
        "leading zero in u",
        {"a": "a471", "b": "b0"},
        "f040c14412c254b9da2a350e2d6ce728",
        lambda state: state["u"] < 1 << 504,
    ),
    (
        "leading zero in the salt",
        {"a": "a0", "b": "b0", "salt": bytes(2) + SALT[2:]},
        "dc21e90fa098193801d4782f65b72512",
        lambda state: True,
    ),
    (
        "salt of 15 bytes",
        {"a": "a0", "b": "b0", "salt": SALT[1:]},
        "73d53200fbbea3906530d4af63af5d8c",
        lambda state: True,
    ),
    (
        "leading zero in the verifier",
        {"a": "a0", "b": "b0", "salt": drawn("salt327")[:16]},
        "1281f6932df8f9e799512d1d3554da1a",
        lambda state: short(state["v"]),
    ),
    (
        "leading zero in the inner hash",
        {"a": "a0", "b": "b0", "pop": "acf96e42"},
        "0bb9e649df92c60c658b491e8a6baf56",
        lambda state: True,
    ),
    (
        "two leading zeros in the inner hash",
        {"a": "a0", "b": "b0", "pop": "00012987"},
        "1290732c93bbf121fb97d53c1e038cdb",
        lambda state: True,
    ),
]


@pytest.mark.parametrize("patch", [0, 1])
@pytest.mark.parametrize(("given", "digest", "edge"), [row[1:] for row in EDGES], ids=[row[0] for row in EDGES])
def test_edges(given: dict, digest: str, edge: Callable[[dict], bool], patch: int) -> None:
    """Each edge case occurs, the handshake succeeds, and its values are the pinned ones."""
    device = shake(**given, patch=patch)
    assert edge(device.state)
    told = hashlib.sha256(device.state["A"] + device.state["B"] + device.state["K"]).hexdigest()
    assert told[:32] == digest


@pytest.mark.parametrize(("pop", "zeros"), [("acf96e42", 1), ("00000071", 1), ("00012987", 2)])
def test_the_inner_hash_keeps_its_zeros(pop: str, zeros: int) -> None:
    """The inner hash of these PoPs has leading zeros, and the verifier in the ledger is made from all of it."""
    assert sha512(f"{USER}:{pop}".encode()).startswith(bytes(zeros))
    assert sec2_verifier.verifier(USER, Secret(pop), SALT).reveal() == verifier(SALT, pop)


def test_a_is_always_384_bytes() -> None:
    """A key with an A that starts with a zero byte is drawn again, so that A as a number has 384 bytes."""
    assert short(pow(5, int.from_bytes(drawn("a85"), "big"), N))
    own = draw_own_key(source(drawn("a85"), drawn("a0")))
    assert own.private == int.from_bytes(drawn("a0"), "big")
    assert len(own.public) == 384
    assert own.public[0] != 0


def test_a_with_a_leading_zero_agrees_all_the_same() -> None:
    """If such an A were sent, both sides would still agree: the 384 bytes are hashed as sent."""
    private = int.from_bytes(drawn("a85"), "big")
    own = OwnKey(private, pow(5, private, N).to_bytes(384, "big"))
    device = Device(random=source(drawn("b0"), drawn("nonce")))
    hello = b"\x10\x02\x62" + _sized(b"\xa2\x01" + _sized(b"\x0a\x08wifiprov\x12" + _sized(own.public)))
    device.post("prov-session", hello)
    agreed = agree(USER, Secret(POP), own, device.state["B"], SALT)
    proof = b"\x10\x02\x62" + _sized(b"\x08\x02\xb2\x01" + _sized(b"\x0a" + _sized(agreed.proof)))
    assert device.post("prov-session", proof) is not None
    assert device.state["K"] == agreed.key.reveal()


def _sized(data: bytes) -> bytes:
    size = len(data)
    return (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + data


@pytest.mark.parametrize("theirs", [N, 0, 2 * N])
def test_a_b_that_makes_no_secret(theirs: int) -> None:
    """B = 0 mod N would let anyone pass, and is rejected (RFC 5054 section 2.5.3)."""
    own = draw_own_key(source(drawn("a0")))
    with pytest.raises(ProtocolError):
        agree(USER, Secret(POP), own, theirs.to_bytes(385, "big"), SALT)


def test_nonces_count_messages_of_both_sides() -> None:
    """With sec_patch_ver 1 the counter increments for each message of either side, from 1, and wraps at 32 bits."""
    session = Authenticated(Secret(bytes(64)), bytes(8) + b"\xff\xff\xff\xff", counting=True)
    other = Authenticated(Secret(bytes(64)), bytes(8) + b"\xff\xff\xff\xff", counting=True)
    seen = []
    for number in range(3):
        text = session.encrypt(b"request")
        assert other.decrypt(text) == b"request"
        back = other.encrypt(b"request")
        assert session.decrypt(back) == b"request"
        seen += [text, back]
        assert len(set(seen)) == 2 * (number + 1)


def test_nonces_of_old_firmware_stand_still() -> None:
    """With sec_patch_ver 0 all messages use one nonce, so that equal texts look equal."""
    session = Authenticated(Secret(bytes(64)), bytes(12), counting=False)
    assert session.encrypt(b"text") == session.encrypt(b"text")
    assert session.decrypt(session.encrypt(b"text")) == b"text"


@pytest.mark.parametrize("told", [b"", b"short", bytes(64)])
def test_what_does_not_decrypt(told: bytes) -> None:
    """An answer that was not encrypted in this session has its own cause."""
    session = Authenticated(Secret(bytes(64)), bytes(12), counting=True)
    with pytest.raises(UnitFault) as caught:
        session.decrypt(told)
    assert caught.value.cause == "decrypt"


def test_a_wrong_pop() -> None:
    """The device rejects a wrong PoP, and the client raises WrongPop."""
    device = Device()
    with pytest.raises(WrongPop):
        Srp6a(USER, Secret("00000000"), 1, source(drawn("a0"))).handshake(Direct(device))
    assert device.mismatches == 1


def test_a_verifier_of_another_pop() -> None:
    """A unit with a verifier for a different PoP rejects the PoP of its label."""
    device = Device(verifier=verifier(SALT, "ffffffff"))
    with pytest.raises(WrongPop):
        Srp6a(USER, Secret(POP), 1, source(drawn("a0"))).handshake(Direct(device))


def test_the_device_must_prove_itself() -> None:
    """A device that accepts the client's proof but cannot send its own has no verifier."""
    with pytest.raises(UnitFault) as caught:
        Srp6a(USER, Secret(POP), 1, source(drawn("a0"))).handshake(Direct(Device(lies_about_proof=True)))
    assert caught.value.cause == "proof-mismatch"


def test_nothing_secret_in_repr() -> None:
    """A repr contains neither PoP, key nor proof."""
    own = draw_own_key(source(drawn("a0")))
    agreed = agree(USER, Secret(POP), own, drawn("b0"), SALT)
    shown = repr((own, agreed, Srp6a(USER, Secret(POP), 1, source())))
    assert POP not in shown
    assert str(own.private) not in shown
    assert repr(agreed.proof) not in shown
