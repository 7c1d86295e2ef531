"""DSSE envelopes: the signed encoding, and securesystemslib as a second implementation."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from rmfab.signing import canonical
from rmfab.signing.dsse import Envelope, Signature, pae
from rmfab.signing.signer import KeySigner

KINDS = pytest.mark.parametrize("kind", ["ed25519", "p256"])


def test_pae():
    """The encoding matches the example in the DSSE protocol document."""
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


@given(st.text(max_size=40), st.binary(max_size=40), st.text(max_size=40), st.binary(max_size=40))
def test_pae_is_one_to_one(kind: str, payload: bytes, other_kind: str, other: bytes):
    """Different pairs of type and payload are signed as different bytes."""
    assert (pae(kind, payload) == pae(other_kind, other)) == ((kind, payload) == (other_kind, other))


@KINDS
def test_securesystemslib_verifies_ours(kind: str, request: pytest.FixtureRequest):
    """securesystemslib reads our envelope, accepts its signature, and rejects it after a change."""
    signer: KeySigner = request.getfixturevalue(kind)
    envelope = Envelope("application/x-test", b"payload").signed(signer)
    theirs = TheirEnvelope.from_dict(json.loads(envelope.encode()))
    key = SSlibKey.from_crypto(signer.key.public_key())
    assert theirs.verify([key], 1) == {signer.public.id: key}
    theirs.payload = b"another"
    with pytest.raises(VerificationError):
        theirs.verify([key], 1)


@KINDS
def test_we_verify_securesystemslibs(kind: str, request: pytest.FixtureRequest):
    """rmfab reads an envelope of securesystemslib, and its signature is valid for the key of the same id."""
    signer: KeySigner = request.getfixturevalue(kind)
    theirs = TheirEnvelope(b"payload", "application/x-test", {})
    theirs.sign(CryptoSigner(signer.key))
    ours = Envelope.from_json(theirs.to_dict())
    (signature,) = ours.signatures
    assert signature.key_id == signer.public.id
    assert signer.public.verifies(signature.value, ours.signed_bytes)


def test_several_signatures_stand_in_the_order_of_their_ids(ed25519: KeySigner, p256: KeySigner):
    """Signatures are ordered by key id in any order of signing, and a key that has signed does not sign again."""
    empty = Envelope("t", b"p")
    one = empty.signed(p256).signed(ed25519)
    other = empty.signed(ed25519).signed(p256)
    assert [s.key_id for s in one.signatures] == [s.key_id for s in other.signatures]
    assert [s.key_id for s in one.signatures] == sorted(s.key_id for s in one.signatures)
    assert one.signed(p256) is one


def test_a_signature_that_does_not_hold_is_made_anew(ed25519: KeySigner):
    """An invalid signature is replaced by a valid one of the same key."""
    damaged = Envelope("t", b"p", (Signature(ed25519.public.id, b"\0" * 64),))
    assert damaged.signed(ed25519) == Envelope("t", b"p").signed(ed25519)


@given(
    st.text(max_size=30), st.binary(max_size=200), st.dictionaries(st.text("0123456789abcdef"), st.binary(), max_size=3)
)
def test_round_trip(kind: str, payload: bytes, signatures: dict[str, bytes]):
    """An encoded envelope reads back unchanged, and no other spelling is accepted."""
    made = Envelope(kind, payload, tuple(Signature(*one) for one in sorted(signatures.items())))
    assert Envelope.parse(made.encode()) == made


@pytest.mark.parametrize(
    "change",
    [
        lambda e: e.pop("payload"),
        lambda e: e.update(payload=7),
        lambda e: e.update(payload=e["payload"] + "\n"),
        lambda e: e.update(payload=e["payload"][:-3] + "B=="),  # the same bytes with different padding bits
        lambda e: e.update(payload=e["payload"].rstrip("=")),
        lambda e: e.update(more=1),
        lambda e: e.update(signatures={}),
        lambda e: e["signatures"].append(e["signatures"][0]),
        lambda e: e["signatures"][0].pop("sig"),
        lambda e: e["signatures"][0].update(sig=None),
        lambda e: e["signatures"][0].update(cert="x"),
        lambda e: e.update(signatures=[{"keyid": f"{n:02x}", "sig": ""} for n in range(33)]),
    ],
)
def test_envelopes_in_other_words_are_refused(ed25519: KeySigner, change):
    """Anything that `encode` would write differently is rejected."""
    value = Envelope("t", b"payload").signed(ed25519).to_json()
    change(value)
    with pytest.raises(ValueError, match=r"."):
        Envelope.parse(canonical.encode(value))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null\n",
        b"[]\n",
        b'{"a": 1.0}\n',
        b'{\n  "a": NaN\n}\n',
        b'{\n  "a": 1,\n  "a": 1\n}\n',
        b'{\n  "b": 1,\n  "a": 1\n}\n',
        b'{\n  "a": 1\n}',
        b'{"a": 1}\n',
        b'{\n  "a": "\\u0041"\n}\n',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_json_that_is_not_canonical(text: bytes):
    """Duplicate keys, a different order, spaces, escapes and fractions are rejected."""
    with pytest.raises(ValueError, match=r"."):
        canonical.decode(text)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), _json, max_size=4))
def test_canonical_round_trip(value: dict):
    """Every object without fractions has one spelling and reads back unchanged."""
    assert canonical.decode(canonical.encode(value)) == value
