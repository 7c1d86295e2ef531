"""The judgement of signatures: who signed, whether each of them may, and whether they are enough.

Pure: it takes the envelope's bytes as they stand and says who vouches for them, or raises IntegrityError. Nothing in
the payload is read before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rmfab.errors import IntegrityError
from rmfab.signing.dsse import Envelope, Signature
from rmfab.signing.publickey import short
from rmfab.signing.trust import PAYLOAD_TYPE, Role, Trust, TrustedKey

ALLOWED_SKEW = timedelta(minutes=10)
"""How much two honest clocks may differ."""
_TRUST_HINT = "`rmfab trust list` shows whom this station trusts"


def judge_signatures(
    envelope: Envelope,
    payload_type: str,
    trust: Trust,
    role: Role,
    now: datetime,
    *,
    where: str,
    allow_unknown: bool = False,
) -> tuple[TrustedKey, ...]:
    """The keys of *role* that signed *envelope*, at least as many as its threshold.

    Raises IntegrityError with the cause payload-type, unsigned, unknown-signer, bad-signature, key-revoked,
    key-role, key-not-yet-valid, key-expired or too-few-signatures.
    """
    if envelope.payload_type != payload_type:
        raise IntegrityError(
            f'the signatures are over "{envelope.payload_type}", not over "{payload_type}"',
            where=where,
            hint="they were made for something else, and say nothing of this",
            cause="payload-type",
        )
    if not envelope.signatures:
        raise IntegrityError(
            "nobody has signed this", where=where, hint="its owner signs it: `rmfab release sign`", cause="unsigned"
        )
    message = envelope.signed_bytes
    judged = [_judge(one, message, trust, role, now, where, allow_unknown) for one in envelope.signatures]
    good = tuple(one for one in judged if one is not None)
    if len(good) < trust.threshold(role):
        have = "no trusted key has" if not good else f"{len(good)} trusted key{'s have' if good[1:] else ' has'}"
        raise IntegrityError(
            f"{have} signed this, and {trust.threshold(role)} must",
            where=where,
            hint="its owner adds a signature: `rmfab release sign` with another key",
            cause="too-few-signatures",
        )
    return good


def _judge(
    signature: Signature, message: bytes, trust: Trust, role: Role, now: datetime, where: str, allow_unknown: bool
) -> TrustedKey | None:
    """The key behind *signature*; None where it is unknown and may be."""
    key = trust.find(signature.key_id)
    if key is None:
        if allow_unknown:
            return None
        raise IntegrityError(
            f"it is signed by a key that nobody here knows ({short(signature.key_id)})",
            where=where,
            hint=f"{_TRUST_HINT}; beside enough signatures of trusted keys --allow-unknown-signers overlooks it",
            cause="unknown-signer",
        )
    if not key.key.verifies(signature.value, message):
        raise IntegrityError(
            f"the signature of {key} does not hold",
            where=where,
            hint="it was altered or damaged: get it again from where it was signed",
            cause="bad-signature",
        )
    _judge_key(key, role, now, where)
    return key


def _judge_key(key: TrustedKey, role: Role, now: datetime, where: str) -> None:
    clock = f"this host's clock says {_day(now)}"
    if key.revoked is not None:
        why = f" ({key.reason})" if key.reason else ""
        what, cause = f"it is signed by {key}, which was revoked on {_day(key.revoked)}{why}", "key-revoked"
    elif role not in key.roles:
        what, cause = f"it is signed by {key}, which may not sign as {role}", "key-role"
    elif key.valid_from is not None and now < key.valid_from:
        what = f"it is signed by {key}, which is valid from {_day(key.valid_from)}; {clock}"
        cause = "key-not-yet-valid"
    elif key.valid_until is not None and now >= key.valid_until:
        what, cause = f"it is signed by {key}, which expired on {_day(key.valid_until)}; {clock}", "key-expired"
    else:
        return
    hint = (
        "set the clock, if it is wrong"
        if "clock" in what
        else f"{_TRUST_HINT}; sign it anew: `rmfab release sign --replace`"
    )
    raise IntegrityError(what, where=where, hint=hint, cause=cause)


def judge_clock(now: datetime, earliest: datetime, what: str, where: str) -> None:
    """Raises IntegrityError where *now* lies before *earliest*, when *what* happened: the clock is behind, and with a
    clock that can be turned back no key ever expires."""
    if now + ALLOWED_SKEW < earliest:
        raise IntegrityError(
            f"{what} on {_day(earliest)}, and this host's clock says {_day(now)}",
            where=where,
            hint="set the clock, then try again",
            cause="clock",
        )


def judge_successor(old: Trust, envelope: Envelope, new: Trust, now: datetime, where: str) -> tuple[TrustedKey, ...]:
    """The keepers of *old* that signed *new*. Raises IntegrityError where it may not take the place of *old*."""
    _judge_later(old, new, now, where)
    _judge_revoked(old, new, where)
    try:
        return judge_signatures(envelope, PAYLOAD_TYPE, old, old.keepers, now, where=where, allow_unknown=True)
    except IntegrityError as error:
        if error.cause not in ("unsigned", "too-few-signatures"):
            raise
        raise IntegrityError(
            f"version {new.version} of the trust file is not signed by those who may change version {old.version}",
            where=where,
            hint=f"{old.who_must_sign}; or import the versions between the two first",
            cause=error.cause,
        ) from None


def judge_proposal(old: Trust, envelope: Envelope, new: Trust, now: datetime, where: str) -> bool:
    """Whether enough keepers of *old* have signed *new* already. Raises IntegrityError where it could never take the
    place of *old*, where it is not the very next version, so that nobody who signs could see all that it changes, and
    where somebody else has signed it."""
    _judge_later(old, new, now, where)
    _judge_revoked(old, new, where)
    if new.version != old.version + 1:
        raise IntegrityError(
            f"this is version {new.version} of the trust file, and version {old.version} is in force here",
            where=where,
            hint="import the versions between first: a change is signed by who sees what it changes",
            cause="trust-version",
        )
    try:
        judge_signatures(envelope, PAYLOAD_TYPE, old, old.keepers, now, where=where)
    except IntegrityError as error:
        if error.cause == "too-few-signatures":
            return False
        if error.cause != "unknown-signer":
            raise
        raise IntegrityError(error.what, where=where, hint=old.who_must_sign, cause=error.cause) from None
    return True


def _judge_revoked(old: Trust, new: Trust, where: str) -> None:
    """Raises IntegrityError where a key that was revoked is trusted again, or forgotten, so that it could be."""
    for one in old.keys:
        there = new.find(one.id)
        if one.revoked is not None and (there is None or there.revoked is None):
            raise IntegrityError(
                f"this trust file takes back that {one} was revoked",
                where=where,
                hint="a revoked key is never trusted again: make a new one",
                cause="key-revoked",
            )


def _judge_later(old: Trust, new: Trust, now: datetime, where: str) -> None:
    """Raises IntegrityError where *new* is no later version, or a clock is wrong."""
    if new.version <= old.version:
        same = new.version == old.version
        hint = "no version is taken back: a key may have been revoked since"
        raise IntegrityError(
            f"this is {'another ' if same else ''}version {new.version} of the trust file, and version {old.version} "
            "is in force",
            where=where,
            hint="another change was faster: make this one again, to the version in force" if same else hint,
            cause="trust-downgrade",
        )
    judge_clock(now, old.created, "the trust file in force was made", where)
    judge_clock(now, new.created, "this trust file was made", where)
    if new.created + ALLOWED_SKEW < old.created:
        raise IntegrityError(
            f"this trust file says that it was made on {_day(new.created)}, before the one in force "
            f"({_day(old.created)})",
            where=where,
            hint="its maker's clock was wrong: make it again with a clock that is right",
            cause="clock",
        )


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(sep=" ")[:16] + " UTC"
