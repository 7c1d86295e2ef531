"""Trust files: their versions, who may change them, and what is rejected."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rmfab.errors import InputError, IntegrityError
from rmfab.signing import canonical
from rmfab.signing.dsse import Envelope
from rmfab.signing.judge_signatures import judge_clock, judge_proposal, judge_signatures, judge_successor
from rmfab.signing.signer import KeySigner, SigningKeyKind, make_key
from rmfab.signing.trust import PAYLOAD_TYPE, Role, Trust, TrustedKey, read_envelope

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
DAY = timedelta(days=1)
A, B, C = (make_key(SigningKeyKind.ED25519) for _ in range(3))


def key(signer: KeySigner, name: str, *roles: Role, **fields) -> TrustedKey:
    """A trusted key, with the role release by default."""
    return TrustedKey(signer.public, name, roles or (Role.RELEASE,), **fields)


def trust(*keys: TrustedKey, threshold: int | None = None) -> Trust:
    """A trust with these keys; its version is their number."""
    made = Trust(0, NOW)
    for one in keys:
        made = made.adding(one, NOW)
    return made if threshold is None else made.adding(keys[0], NOW, threshold)


def sealed(made: Trust, *signers: KeySigner) -> Envelope:
    """The trust file of *made*."""
    envelope = Envelope(PAYLOAD_TYPE, made.payload)
    for signer in signers:
        envelope = envelope.signed(signer)
    return envelope


def refused(old: Trust, new: Trust, *signers: KeySigner, now: datetime = NOW) -> IntegrityError:
    """The error for *new* as the successor of *old*."""
    with pytest.raises(IntegrityError) as caught:
        judge_successor(old, sealed(new, *signers), new, now, "trust.json")
    return caught.value


def test_a_trust_file_reads_back():
    """Names, roles, validity, revocation, thresholds and signatures read back unchanged."""
    made = trust(
        key(A, "a", valid_from=NOW - DAY, valid_until=NOW + DAY), key(B, "b", Role.CA, Role.STATION), key(C, "c")
    )
    made = made.revoking("c", "left the company", NOW)
    envelope, read = read_envelope(sealed(made, A).encode(), "t")
    assert read == made
    assert [one.key_id for one in envelope.signatures] == [A.public.id]
    assert read.fingerprint == made.fingerprint
    gone = read.find(C.public.id)
    assert gone is not None
    assert (gone.revoked, gone.reason) == (NOW, "left the company")


def test_the_fingerprint_is_of_the_document_alone():
    """Signatures do not change the fingerprint; any key does."""
    made = trust(key(A, "a"))
    assert read_envelope(sealed(made, A).encode(), "t")[1].fingerprint == made.fingerprint
    assert made.fingerprint != trust(key(B, "a")).fingerprint
    assert len(made.fingerprint.replace("-", "")) == 32


def test_every_changed_byte_is_refused():
    """A change of any byte of a signed trust file is rejected."""
    data = sealed(trust(key(A, "a")), A).encode()
    for at in range(len(data)):
        for flip in (1 << at % 8, 0xFF):
            changed = bytearray(data)
            changed[at] ^= flip
            with pytest.raises((IntegrityError, InputError)):
                read_envelope(bytes(changed), "t")


def test_a_later_version_signed_by_the_one_before():
    """The next version needs the signature of a keeper of the version before; a new key does not count."""
    old = trust(key(A, "a"))
    new = old.adding(key(B, "b"), NOW)
    assert [one.name for one in judge_successor(old, sealed(new, A), new, NOW, "t")] == ["a"]
    assert [one.name for one in judge_successor(old, sealed(new, A, B), new, NOW, "t")] == ["a"]
    assert refused(old, new, B).cause == "too-few-signatures"
    assert refused(old, new).cause == "unsigned"


def test_the_role_trust_takes_the_keeping_over():
    """With a key of the role trust, a release key, such as CI's, can no longer change the trust file."""
    old = trust(key(A, "a"), key(B, "b", Role.TRUST))
    new = old.revoking("a", "leaked", NOW).adding(key(C, "c"), NOW)
    assert judge_successor(old, sealed(new, B), new, NOW, "t")
    assert refused(old, new, A).cause == "key-role"


def test_as_many_keepers_as_the_threshold_says():
    """If two of two must sign, one is too few, and the hint names the required keys."""
    old = trust(key(A, "a"), key(B, "b"), threshold=2)
    new = old.adding(key(C, "c"), NOW)
    assert judge_successor(old, sealed(new, A, B), new, NOW, "t")
    error = refused(old, new, A, C)
    assert error.cause == "too-few-signatures"
    for words in ("2 of ", "a (", "b ("):
        assert words in str(error.hint)


def test_a_proposal_waits_for_enough_keepers():
    """A proposal needs all required keepers; an unknown key or a key of a different role is an error."""
    old = trust(key(A, "a"), key(B, "b"), key(C, "c", Role.CA), threshold=2)
    new = old.revoking("b", "", NOW, 1)
    assert judge_proposal(old, sealed(new, A), new, NOW, "t") is False
    assert judge_proposal(old, sealed(new, A, B), new, NOW, "t") is True
    for signers, cause in (((A, C), "key-role"), ((A, make_key(SigningKeyKind.ED25519)), "unknown-signer")):
        with pytest.raises(IntegrityError) as caught:
            judge_proposal(old, sealed(new, *signers), new, NOW, "t")
        assert caught.value.cause == cause
    with pytest.raises(IntegrityError) as caught:
        judge_proposal(new, sealed(old, A), old, NOW, "t")
    assert caught.value.cause == "trust-downgrade"


def test_a_proposal_is_the_very_next_version():
    """A proposal that skips a version is rejected: it could change more than its signers see."""
    old = trust(key(A, "a"), key(B, "b"))
    far = Trust(old.version + 2, NOW, old.keys)
    with pytest.raises(IntegrityError, match="does not follow version") as caught:
        judge_proposal(old, sealed(far, A), far, NOW, "t")
    assert caught.value.cause == "trust-version"
    assert judge_successor(old, sealed(far, A), far, NOW, "t")  # a station that missed some versions may import it


def test_no_version_takes_a_revocation_back():
    """A revoked key can neither be trusted again nor dropped, even if keepers sign it."""
    old = trust(key(A, "a"), key(B, "b"))
    revoked = old.revoking("b", "leaked", NOW)
    for keys in (old.keys, (old.find(A.public.id),)):
        back = Trust(revoked.version + 1, NOW, keys)
        assert refused(revoked, back, A).cause == "key-revoked"
        with pytest.raises(IntegrityError, match="undoes the revocation of b"):
            judge_proposal(revoked, sealed(back, A), back, NOW, "t")


def test_what_a_version_changes_is_said():
    """Changes list new keys, changed roles and dates, revocations with reasons, and thresholds; or nothing."""
    old = trust(key(A, "a"), key(B, "b"))
    added = old.adding(key(C, "c", Role.CA, valid_until=NOW + DAY), NOW)
    assert added.changes_since(old) == (
        f"adds c ({C.public.id[:16]}), which may sign as ca, until 2026-11-27T12:00:00Z",
    )
    changed = old.adding(key(B, "b", Role.STATION), NOW, 1).changes_since(old)
    assert changed == (f"changes b ({B.public.id[:16]}), which may sign as release, station",)
    revoked = old.revoking("b", "leaked", NOW)
    assert revoked.changes_since(old) == (f"revokes b ({B.public.id[:16]}): leaked",)
    assert trust(key(A, "a")).changes_since(old) == (f"removes b ({B.public.id[:16]})",)
    two = old.adding(key(A, "a"), NOW, 2)
    assert two.changes_since(old) == ("requires 2 signatures as release, not 1",)
    assert old.changes_since(old) == ()


def test_an_older_version_or_one_of_the_future():
    """An older version could undo a revocation; a version from the future means that the clock is behind."""
    old = trust(key(A, "a"))
    new = old.adding(key(B, "b"), NOW)
    assert refused(new, old, A).cause == "trust-downgrade"
    assert refused(new, new, A).cause == "trust-downgrade"
    future = old.adding(key(B, "b"), NOW + DAY)
    assert refused(old, future, A).cause == "clock"
    assert judge_successor(old, sealed(future, A), future, NOW + DAY - timedelta(minutes=5), "t")


def test_a_clock_that_was_turned_back_renews_no_keeper():
    """A clock behind the file in force, or a successor dated before it, is rejected."""
    old = trust(key(A, "a", valid_until=NOW - timedelta(hours=1)), key(B, "b"))
    early = old.adding(key(C, "c"), NOW - 300 * DAY)
    assert refused(old, early, A, now=NOW - 200 * DAY).cause == "clock"
    assert refused(old, early, B).cause == "clock"


def test_a_document_with_a_key_twice():
    """One key under two names, live and revoked at once, or keys out of order, are rejected."""
    one, other = sorted((A, B), key=lambda signer: signer.public.id)
    for keys in ((key(one, "x"), key(one, "y")), (key(other, "x"), key(one, "y"))):
        with pytest.raises(InputError, match="must be unique and ordered by id"):
            Trust(1, NOW, keys)


def test_a_revoked_or_expired_keeper_changes_nothing():
    """A revoked or expired keeper cannot sign a successor."""
    old = trust(key(A, "a"), key(B, "b")).revoking("b", "", NOW)
    assert refused(old, old.adding(key(C, "c"), NOW), B).cause == "key-revoked"
    aged = trust(key(A, "a", valid_until=NOW), key(B, "b"))
    assert refused(aged, aged.adding(key(C, "c"), NOW), A).cause == "key-expired"


def test_a_revoked_key_never_comes_back():
    """Adding a revoked key again is rejected."""
    made = trust(key(A, "a"), key(B, "b")).revoking("b", "", NOW)
    with pytest.raises(InputError, match="cannot be trusted again"):
        made.adding(key(B, "b2"), NOW)


def test_adding_the_same_again_is_nothing_to_do():
    """A new role is added to those of the key; the same roles change nothing."""
    made = trust(key(A, "a"))
    assert made.adding(key(A, "a"), NOW + DAY) is made
    wider = made.adding(key(A, "a", Role.CA), NOW)
    assert wider.keys[0].roles == (Role.CA, Role.RELEASE)
    assert wider.version == 2


def test_trust_that_would_lock_everybody_out_is_refused():
    """A threshold above the number of keys, no keeper, and two keys of one name are rejected."""
    with pytest.raises(InputError, match="cannot require 2 signatures of the role release: 1 key has it"):
        trust(key(A, "a"), threshold=2)
    with pytest.raises(InputError, match="no key would remain"):
        trust(key(A, "a", Role.CA))
    with pytest.raises(InputError, match="no key would remain"):
        trust(key(A, "a")).revoking("a", "", NOW)
    with pytest.raises(InputError, match="two keys are called a"):
        trust(key(A, "a"), key(B, "a"))
    with pytest.raises(InputError, match="2 signatures of the role release"):
        trust(key(A, "a"), key(B, "b"), threshold=2).revoking("b", "", NOW)
    assert trust(key(A, "a"), key(B, "b"), threshold=2).revoking("b", "", NOW, 1).threshold(Role.RELEASE) == 1


def test_keys_are_named_by_name_or_id():
    """A name or at least eight digits of an id select a key; no match or several is an error that lists the keys."""
    made = trust(key(A, "a"), key(B, "b"))
    assert made.named("a").key == A.public
    assert made.named(B.public.id[:8].upper()).key == B.public
    for text in ("c", A.public.id[:7], ""):
        with pytest.raises(InputError, match="no single key matches") as caught:
            made.named(text)
        assert "a (" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"name": "../a"}, "not a valid key name"), ({"valid_from": NOW, "valid_until": NOW}, "expires before")],
)
def test_bad_keys(fields: dict, words: str):
    """An invalid name and an empty validity are rejected."""
    with pytest.raises(InputError, match=words):
        TrustedKey(**{"key": A.public, "name": "a", "roles": (Role.RELEASE,)} | fields)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(format="other"),
        lambda d: d.update(version="1"),
        lambda d: d.update(version=True),
        lambda d: d.update(created="yesterday"),
        lambda d: d.update(more=1),
        lambda d: d.pop("keys"),
        lambda d: d.update(keys=7),
        lambda d: d.update(thresholds={"release": 9}),
        lambda d: d.update(thresholds={"king": 1}),
        lambda d: d["keys"][0].update(roles=["king"]),
        lambda d: d["keys"][0].update(id="0" * 64),
        lambda d: d["keys"][0].update(public="-----BEGIN PUBLIC KEY-----"),
        lambda d: d["keys"].append(d["keys"][0]),
    ],
)
def test_documents_that_make_no_sense(change):
    """A document that rmfab would not write is rejected as damaged, with or without valid signatures."""
    document = canonical.decode(trust(key(A, "a")).payload)
    change(document)
    envelope = Envelope(PAYLOAD_TYPE, canonical.encode(document)).signed(A)
    with pytest.raises((IntegrityError, InputError)):
        read_envelope(envelope.encode(), "t")


def test_a_later_format_asks_for_a_newer_rmfab():
    """A later format is not reported as damage."""
    document = canonical.decode(trust(key(A, "a")).payload) | {"format_version": 2}
    with pytest.raises(InputError, match="format version 2") as caught:
        read_envelope(Envelope(PAYLOAD_TYPE, canonical.encode(document)).encode(), "t")
    assert "newer rmfab" in str(caught.value.hint)


def test_an_envelope_of_another_kind_is_no_trust_file():
    """A signature over a release is not valid for a trust file."""
    envelope = Envelope("application/vnd.in-toto+json", trust(key(A, "a")).payload).signed(A)
    with pytest.raises(InputError, match="not a trust file"):
        read_envelope(envelope.encode(), "t")


RELEASE = "application/vnd.in-toto+json"


def judged(made: Trust, *signers: KeySigner, now: datetime = NOW, kind: str = RELEASE, unknown: bool = False):
    """The names of the keys that vouch for a payload."""
    envelope = Envelope(kind, b"manifest")
    for signer in signers:
        envelope = envelope.signed(signer)
    found = judge_signatures(envelope, RELEASE, made, Role.RELEASE, now, where="x", allow_unknown=unknown)
    return [one.name for one in found]


@pytest.mark.parametrize(
    ("made", "signers", "options", "cause"),
    [
        (trust(key(A, "a")), (), {}, "unsigned"),
        (trust(key(A, "a")), (B,), {}, "unknown-signer"),
        (trust(key(A, "a")), (A, B), {}, "unknown-signer"),
        (trust(key(A, "a")), (B,), {"unknown": True}, "too-few-signatures"),
        (trust(key(A, "a"), key(B, "b"), threshold=2), (A,), {}, "too-few-signatures"),
        (trust(key(A, "a"), key(B, "b")).revoking("b", "", NOW), (B,), {}, "key-revoked"),
        (trust(key(A, "a"), key(B, "b")).revoking("b", "", NOW), (A, B), {"unknown": True}, "key-revoked"),
        (trust(key(A, "a"), key(B, "b", Role.CA)), (B,), {}, "key-role"),
        (trust(key(A, "a", valid_until=NOW)), (A,), {}, "key-expired"),
        (trust(key(A, "a", valid_from=NOW + DAY)), (A,), {}, "key-not-yet-valid"),
        (trust(key(A, "a")), (A,), {"kind": "application/x-other"}, "payload-type"),
    ],
)
def test_refusals(made: Trust, signers: tuple, options: dict, cause: str):
    """Each way in which signatures are not sufficient has its own cause and message."""
    with pytest.raises(IntegrityError) as caught:
        judged(made, *signers, **options)
    assert caught.value.cause == cause
    assert caught.value.hint


def test_acceptance():
    """Enough trusted keys vouch; additional unknown keys are accepted only if allowed."""
    both = trust(key(A, "a"), key(B, "b"), threshold=2)
    assert sorted(judged(both, A, B)) == ["a", "b"]
    assert judged(trust(key(A, "a")), A, C, unknown=True) == ["a"]
    window = trust(key(A, "a", valid_from=NOW, valid_until=NOW + DAY))
    assert judged(window, A, now=NOW) == ["a"]


def test_a_trusted_signature_that_does_not_hold_refuses_all():
    """One invalid signature by a trusted key rejects the file, even if a different one is valid and enough."""
    envelope = Envelope(RELEASE, b"manifest").signed(A).signed(B)
    other = Envelope(RELEASE, b"another").signed(B)
    swapped = tuple(one if one.key_id != B.public.id else other.signatures[0] for one in envelope.signatures)
    with pytest.raises(IntegrityError) as caught:
        judge_signatures(
            Envelope(RELEASE, b"manifest", swapped),
            RELEASE,
            trust(key(A, "a"), key(B, "b")),
            Role.RELEASE,
            NOW,
            where="x",
        )
    assert caught.value.cause == "bad-signature"


def test_a_clock_that_is_behind():
    """A clock may differ by minutes; a clock behind a past event is rejected with both times."""
    judge_clock(NOW, NOW + timedelta(minutes=9), "it was made", "x")
    with pytest.raises(IntegrityError, match="2026-11-27 12:00 UTC, but this host's clock reads 2026-11-26 12:00"):
        judge_clock(NOW, NOW + DAY, "it was made", "x")
