"""Acceptance of a release by a station: every rejection, every byte of a signed bundle, and steps back."""

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
    """The signed bundle of *release*."""
    bundle = make_bundle(release)
    for signer in signers:
        bundle = bundle.with_envelope(bundle.to_sign.signed(signer))
    return bundle


def cause(bundle: Bundle | Release, *, trust: Trust | None = TRUST, now: datetime = NOW, unsigned: bool = False) -> str:
    """The cause for which a station rejects *bundle*."""
    with pytest.raises(IntegrityError) as caught:
        judge_release(bundle, trust, now, allow_unsigned=unsigned)
    return caught.value.cause


def test_a_signed_bundle_is_taken(tiny_release: Release):
    """The bytes of a bundle and the trust file give the release and the keys that vouch for it."""
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


@pytest.mark.slow
def test_every_changed_byte_of_a_signed_bundle_is_refused(tiny_release: Release):
    """A change of one bit or all bits in any byte of a signed bundle is rejected."""
    data = signed(edition(tiny_release), KEY).encode()
    for at in range(len(data)):
        for flip in (1 << at % 8, 0xFF):
            changed = bytearray(data)
            changed[at] ^= flip
            with pytest.raises(IntegrityError):
                judge_bundle(open_bundle(bytes(changed), "changed"), TRUST, NOW)


def test_what_nobody_has_signed(tiny_release: Release):
    """An unsigned bundle or build folder is rejected, unless the product allows it."""
    for release in (tiny_release, make_bundle(edition(tiny_release))):
        assert cause(release) == cause(release, trust=None) == "unsigned"
        taken = judge_release(release, None, NOW, allow_unsigned=True)
        assert (taken.signers, taken.unchecked) == ((), False)


def test_what_is_signed_must_hold_even_where_unsigned_is_allowed(tiny_release: Release):
    """With a trust file, a release signed by an unknown key is rejected even if unsigned releases are allowed."""
    bundle = signed(edition(tiny_release), OTHER)
    assert cause(bundle, unsigned=True) == "unknown-signer"
    taken = judge_release(bundle, None, NOW, allow_unsigned=True)
    assert (taken.signers, taken.unchecked) == ((), True)


def test_a_station_that_trusts_nobody(tiny_release: Release):
    """Without a trust file a signed release is rejected, with a hint how to import one."""
    assert cause(signed(edition(tiny_release), KEY), trust=None) == "no-trust"


def test_parts_of_two_validly_signed_bundles_do_not_mix(tiny_release: Release):
    """A part or the signatures of a different signed bundle do not match the manifest."""
    one = signed(edition(tiny_release, 1), KEY)
    two = signed(edition(tiny_release, 2, notes="other"), KEY)
    mixed = replace(one, files=dict(one.files) | {"parts/app.bin": two.files["parts/app.bin"] + b"\xff"})
    with pytest.raises(IntegrityError, match="SHA-256"):
        judge_bundle(open_bundle(mixed.encode(), "mixed"), TRUST, NOW)
    with pytest.raises(IntegrityError, match="does not sign manifest"):
        open_bundle(replace(one, envelope=two.envelope).encode(), "mixed")


def test_a_signature_over_another_payload_type(tiny_release: Release):
    """A signature over the same bytes with a different payload type is rejected."""
    bundle = make_bundle(edition(tiny_release))
    for kind in ("application/vnd.rmfab.trust+json", "", PAYLOAD_TYPE + " "):
        envelope = Envelope(kind, bundle.manifest).signed(KEY)
        assert cause(open_bundle(bundle.with_envelope(envelope).encode(), "x")) == "payload-type"


def test_the_manifest_is_not_parsed_before_it_is_trusted(tiny_release: Release):
    """A malformed manifest signed by an unknown key is reported as an unknown signer only."""
    bundle = make_bundle(edition(tiny_release))
    nonsense = replace(bundle, manifest=b"no JSON at all")
    nonsense = nonsense.with_envelope(Envelope(PAYLOAD_TYPE, nonsense.manifest).signed(OTHER))
    assert cause(open_bundle(nonsense.encode(), "x")) == "unknown-signer"


def test_a_signed_release_without_seq(tiny_release: Release):
    """A signed release without seq is rejected: its order could not be determined."""
    assert cause(signed(tiny_release, KEY)) == "no-seq"


def test_a_clock_that_is_behind(tiny_release: Release):
    """A clock behind the trust file or the sources of the release is rejected: keys would not expire."""
    bundle = signed(edition(tiny_release), KEY)
    assert cause(bundle, now=NOW - timedelta(days=1)) == "clock"
    later = int((NOW + timedelta(days=2)).timestamp())
    assert cause(signed(edition(tiny_release, created=later), KEY)) == "clock"


def last(release: Release, *earlier: Release, **changes) -> LastAccepted:
    """The last acceptance, of *release* after *earlier* ones."""
    before = None
    for one in (*earlier, release):
        before = LastAccepted.from_details(event_details(Accepted(one), "lamp", before, downgrade=False), NOW)
    return replace(before, **changes)


def test_steps_forward(tiny_release: Release):
    """The first release, the same again, a higher seq, and a build without seq are not steps back."""
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
        (6, {}, "seq 6 is below 7 of 1.4.0"),
        (7, {"digest": "0" * 64}, "seq 7 is taken by"),
        (8, {"secure_version": 9}, "secure version 7 is below 9"),
    ],
)
def test_steps_back(tiny_release: Release, seq: int, changes: dict, words: str):
    """A lower seq, the seq of a different release and a lower secure version are steps back."""
    (refusal,) = judge_order(edition(tiny_release, seq), last(edition(tiny_release), **changes), NOW)
    assert words in str(refusal)
    assert refusal.cause == "downgrade"


def test_builds_without_seq_do_not_lower_the_floor(tiny_release: Release):
    """After builds without seq, a release is still compared with the last one that had a seq."""
    signed_one, older = edition(tiny_release), edition(tiny_release, 6)
    known = last(tiny_release, signed_one, tiny_release)
    assert (known.seq, known.digest) == (7, signed_one.digest)
    assert judge_order(signed_one, known, NOW) == []
    (refusal,) = judge_order(older, known, NOW)
    assert "below 7" in str(refusal)


def test_every_step_back_is_told(tiny_release: Release):
    """A clock and a seq that both go back are both reported."""
    refusals = judge_order(edition(tiny_release, 6), last(edition(tiny_release)), NOW - timedelta(hours=1))
    assert [one.cause for one in refusals] == ["clock", "downgrade"]


def test_a_clock_behind_the_last_acceptance(tiny_release: Release):
    """A clock behind the last acceptance is rejected, unless a different station's clock was wrong."""
    (refusal,) = judge_order(edition(tiny_release), last(edition(tiny_release)), NOW - timedelta(hours=1))
    assert refusal.cause == "clock"
    assert "--allow-downgrade" in refusal.hint


def test_an_older_trust_file_than_the_ledger_knows():
    """The ledger detects a restored old trust file, in which a key is not revoked yet.

    This includes an old file that was changed to have the same version.
    """
    other = TrustedKey(OTHER.public, "other", (Role.RELEASE,))
    second = TRUST.adding(other, NOW)
    third, fork = second.revoking("other", "leaked", NOW), second.revoking("owner", "leaked", NOW)
    for trust, words in ((second, "this trust file is version 2"), (fork, "not the version 3")):
        with pytest.raises(IntegrityError, match=words) as caught:
            judge_trust(trust, third.summary, "trust.json")
        assert caught.value.cause == "trust-downgrade"
    later = third.adding(replace(TRUST.keys[0], valid_until=NOW + timedelta(days=9)), NOW)
    for trust, known in ((third, third.summary), (later, third.summary), (second, None)):
        judge_trust(trust, known, "trust.json")


def test_what_nobody_has_signed_is_not_even_parsed(tiny_release: Release):
    """A strict station rejects an unsigned bundle before parsing it; a lenient one reports what is wrong."""
    manifest = make_bundle(tiny_release).manifest
    for old, new in ((b'"sha256":"', b'"sha256":5,"x":"'), (b'"name":"', b'"name":null,"x":"')):
        hostile = replace(make_bundle(tiny_release), manifest=manifest.replace(old, new))
        assert cause(hostile) == "unsigned"
        assert cause(hostile, unsigned=True) == "bundle-altered"
