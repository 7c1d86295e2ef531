"""Whether a station takes a release: every refusal, every byte of a signed bundle, and steps back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rmfab.errors import IntegrityError
from rmfab.release.acceptance import (
    Accepted,
    LastAccepted,
    event_details,
    judge_bundle,
    judge_order,
    judge_release,
    judge_trust,
)
from rmfab.release.bundle import PAYLOAD_TYPE, Bundle, make_bundle, open_bundle
from rmfab.release.edition import Edition
from rmfab.release.release import Release
from rmfab.signing.dsse import Envelope
from rmfab.signing.signer import KeySigner, SigningKeyKind, make_key
from rmfab.signing.trust import Role, Trust, TrustedKey

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
KEY, OTHER = make_key(SigningKeyKind.ED25519), make_key(SigningKeyKind.ED25519)
TRUST = Trust(0, NOW).adding(TrustedKey(KEY.public, "owner", (Role.RELEASE,)), NOW)


def edition(release: Release, seq: int | None = 7, **fields) -> Release:
    """*release* as its owner would publish it."""
    return replace(release, edition=Edition(seq=seq, **fields))


def signed(release: Release, *signers: KeySigner) -> Bundle:
    """The bundle of *release*, signed."""
    bundle = make_bundle(release)
    for signer in signers:
        bundle = bundle.with_envelope(bundle.to_sign.signed(signer))
    return bundle


def cause(bundle: Bundle | Release, *, trust: Trust | None = TRUST, now: datetime = NOW, unsigned: bool = False) -> str:
    """Why a station does not take *bundle*."""
    with pytest.raises(IntegrityError) as caught:
        judge_release(bundle, trust, now, allow_unsigned=unsigned)
    return caught.value.cause


def test_a_signed_bundle_is_taken(tiny_release: Release):
    """From its bytes alone and the trust file: the release, and who vouches for it."""
    data = signed(edition(tiny_release), KEY).encode()
    accepted = judge_bundle(open_bundle(data, "lamp.rmfab"), TRUST, NOW)
    assert accepted.release == edition(tiny_release)
    assert [one.name for one in accepted.signers] == ["owner"]
    assert accepted.envelope is not None
    assert accepted.envelope.payload == accepted.release.manifest
    assert accepted.named == {
        "digest": accepted.release.digest,
        "version": "1.4.0",
        "seq": 7,
        "signers": [{"id": KEY.public.id, "name": "owner"}],
    }


def test_every_changed_byte_of_a_signed_bundle_is_refused(tiny_release: Release):
    """Each byte of a small signed bundle, changed in one bit and in all."""
    data = signed(edition(tiny_release), KEY).encode()
    for at in range(len(data)):
        for flip in (1 << at % 8, 0xFF):
            changed = bytearray(data)
            changed[at] ^= flip
            with pytest.raises(IntegrityError):
                judge_bundle(open_bundle(bytes(changed), "changed"), TRUST, NOW)


def test_what_nobody_has_signed(tiny_release: Release):
    """Refused, bundle or build folder, unless the product allows it."""
    for release in (tiny_release, make_bundle(edition(tiny_release))):
        assert cause(release) == cause(release, trust=None) == "unsigned"
        taken = judge_release(release, None, NOW, allow_unsigned=True)
        assert (taken.signers, taken.unchecked) == ((), False)


def test_what_is_signed_must_hold_even_where_unsigned_is_allowed(tiny_release: Release):
    """A product that takes unsigned releases does not take one of an unknown key, as long as there is a trust file."""
    bundle = signed(edition(tiny_release), OTHER)
    assert cause(bundle, unsigned=True) == "unknown-signer"
    taken = judge_release(bundle, None, NOW, allow_unsigned=True)
    assert (taken.signers, taken.unchecked) == ((), True)


def test_a_station_that_trusts_nobody(tiny_release: Release):
    """Without a trust file a signed release is refused with the way to get one."""
    assert cause(signed(edition(tiny_release), KEY), trust=None) == "no-trust"


def test_parts_of_two_validly_signed_bundles_do_not_mix(tiny_release: Release):
    """A part, or the signatures, of another signed bundle do not fit this one's manifest."""
    one = signed(edition(tiny_release, 1), KEY)
    two = signed(edition(tiny_release, 2, notes="other"), KEY)
    mixed = replace(one, files=dict(one.files) | {"parts/app.bin": two.files["parts/app.bin"] + b"\xff"})
    with pytest.raises(IntegrityError, match="SHA-256"):
        judge_bundle(open_bundle(mixed.encode(), "mixed"), TRUST, NOW)
    with pytest.raises(IntegrityError, match="not around manifest"):
        open_bundle(replace(one, envelope=two.envelope).encode(), "mixed")


def test_a_signature_over_another_payload_type(tiny_release: Release):
    """The same bytes, signed as something else, say nothing of a release."""
    bundle = make_bundle(edition(tiny_release))
    for kind in ("application/vnd.rmfab.trust+json", "", PAYLOAD_TYPE + " "):
        envelope = Envelope(kind, bundle.manifest).signed(KEY)
        assert cause(open_bundle(bundle.with_envelope(envelope).encode(), "x")) == "payload-type"


def test_the_manifest_is_not_parsed_before_it_is_trusted(tiny_release: Release):
    """Of a bundle with a manifest that makes no sense, an unknown signer is all that is said."""
    bundle = make_bundle(edition(tiny_release))
    nonsense = replace(bundle, manifest=b"no JSON at all")
    nonsense = nonsense.with_envelope(Envelope(PAYLOAD_TYPE, nonsense.manifest).signed(OTHER))
    assert cause(open_bundle(nonsense.encode(), "x")) == "unknown-signer"


def test_a_signed_release_without_seq(tiny_release: Release):
    """It could never be told from an older one."""
    assert cause(signed(tiny_release, KEY)) == "no-seq"


def test_a_clock_that_is_behind(tiny_release: Release):
    """Behind the trust file, or behind the sources of the release: with such a clock no key would ever expire."""
    bundle = signed(edition(tiny_release), KEY)
    assert cause(bundle, now=NOW - timedelta(days=1)) == "clock"
    later = int((NOW + timedelta(days=2)).timestamp())
    assert cause(signed(edition(tiny_release, created=later), KEY)) == "clock"


def last(release: Release, *earlier: Release, **changes) -> LastAccepted:
    """That *release* was the last accepted, after *earlier* ones."""
    before = None
    for one in (*earlier, release):
        before = LastAccepted.from_details(event_details(Accepted(one), "lamp", before, downgrade=False), NOW)
    return replace(before, **changes)


def test_steps_forward(tiny_release: Release):
    """The first release, the same again, a higher seq, and a build without seq are none of them a step back."""
    before = edition(tiny_release)
    for release, known in (
        (before, None),
        (before, last(before)),
        (edition(tiny_release, 8), last(before)),
        (tiny_release, last(before)),
        (before, last(tiny_release)),
    ):
        assert judge_order(release, known, NOW) == []


@pytest.mark.parametrize(
    ("seq", "changes", "words"),
    [
        (6, {}, "its seq 6 is below 7, that of 1.4.0"),
        (7, {"digest": "0" * 64}, "its seq 7 is that of another release"),
        (8, {"secure_version": 9}, "its secure version 7 is below 9"),
    ],
)
def test_steps_back(tiny_release: Release, seq: int, changes: dict, words: str):
    """A lower seq, the seq of another release, a lower secure version."""
    (refusal,) = judge_order(edition(tiny_release, seq), last(edition(tiny_release), **changes), NOW)
    assert words in str(refusal)
    assert refusal.cause == "downgrade"


def test_builds_without_seq_do_not_lower_the_floor(tiny_release: Release):
    """A maker's own builds in between: what was the last with a seq stays what a later one is measured by."""
    signed_one, older = edition(tiny_release), edition(tiny_release, 6)
    known = last(tiny_release, signed_one, tiny_release)
    assert (known.seq, known.digest) == (7, signed_one.digest)
    assert judge_order(signed_one, known, NOW) == []
    (refusal,) = judge_order(older, known, NOW)
    assert "below 7" in str(refusal)


def test_every_step_back_is_told(tiny_release: Release):
    """A clock and a seq that both lie back: who allows one of them has not allowed the other unseen."""
    refusals = judge_order(edition(tiny_release, 6), last(edition(tiny_release)), NOW - timedelta(hours=1))
    assert [one.cause for one in refusals] == ["clock", "downgrade"]


def test_a_clock_behind_the_last_acceptance(tiny_release: Release):
    """Turned back below what the ledger has seen, the clock is refused, unless another station's was wrong."""
    (refusal,) = judge_order(edition(tiny_release), last(edition(tiny_release)), NOW - timedelta(hours=1))
    assert refusal.cause == "clock"
    assert "--allow-downgrade" in refusal.hint


def test_an_older_trust_file_than_the_ledger_knows():
    """Whoever takes an old trust file back, in which a key was not yet revoked, is found by the ledger: also where the
    old file was changed to have the same version."""
    other = TrustedKey(OTHER.public, "other", (Role.RELEASE,))
    second = TRUST.adding(other, NOW)
    third, fork = second.revoking("other", "leaked", NOW), second.revoking("owner", "leaked", NOW)
    for trust, words in ((second, "this is version 2"), (fork, "another version 3")):
        with pytest.raises(IntegrityError, match=words) as caught:
            judge_trust(trust, third.summary, "trust.json")
        assert caught.value.cause == "trust-downgrade"
    later = third.adding(replace(TRUST.keys[0], valid_until=NOW + timedelta(days=9)), NOW)
    for trust, known in ((third, third.summary), (later, third.summary), (second, None)):
        judge_trust(trust, known, "trust.json")


def test_what_nobody_has_signed_is_not_even_parsed(tiny_release: Release):
    """A strict station refuses it before it reads a hostile manifest; one that must read it says what is wrong."""
    manifest = make_bundle(tiny_release).manifest
    for old, new in ((b'"sha256":"', b'"sha256":5,"x":"'), (b'"name":"', b'"name":null,"x":"')):
        hostile = replace(make_bundle(tiny_release), manifest=manifest.replace(old, new))
        assert cause(hostile) == "unsigned"
        assert cause(hostile, unsigned=True) == "bundle-altered"
