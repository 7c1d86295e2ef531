"""The judge of signatures: who signed, whether each key may sign, and whether enough keys signed.

Pure functions: they take the bytes of an envelope and return the keys that vouch for it, or raise IntegrityError. The
payload is not parsed before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rmfab.errors import IntegrityError
from rmfab.signing.dsse import Envelope, Signature
from rmfab.signing.publickey import short
from rmfab.signing.trust import PAYLOAD_TYPE, Role, Trust, TrustedKey

ALLOWED_SKEW = timedelta(minutes=10)
"""How much two correct clocks may differ."""


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
    """Return the keys of *role* that signed *envelope*, at least as many as the threshold of *role*.

    Raise IntegrityError with the cause payload-type, unsigned, unknown-signer, bad-signature, key-revoked, key-role,
    key-not-yet-valid, key-expired or too-few-signatures.
    """
    if envelope.payload_type != payload_type:
        raise IntegrityError(
            f'the signatures cover payload type "{envelope.payload_type}", expected "{payload_type}"',
            where=where,
            hint="these signatures are for a different kind of document: get the right file",
            cause="payload-type",
        )
    if not envelope.signatures:
        raise IntegrityError(
            "not signed", where=where, hint="ask its owner to sign it: `rmfab release sign`", cause="unsigned"
        )
    message = envelope.signed_bytes
    known = [one for one in envelope.signatures if not (allow_unknown and trust.find(one.key_id) is None)]
    good = tuple(_judge(one, message, trust, role, now, where) for one in known)
    if len(good) < trust.threshold(role):
        have = "no valid signature" if not good else f"{len(good)} valid signature{'s' if good[1:] else ''}"
        raise IntegrityError(
            f"{have} by trusted keys, {trust.threshold(role)} required",
            where=where,
            hint="ask its owner to add a signature: `rmfab release sign` with one more key",
            cause="too-few-signatures",
        )
    return good


def _judge(signature: Signature, message: bytes, trust: Trust, role: Role, now: datetime, where: str) -> TrustedKey:
    """Return the key behind *signature*."""
    key = trust.find(signature.key_id)
    if key is not None and not key.key.verifies(signature.value, message):
        raise IntegrityError(
            f"invalid signature by {key}",
            where=where,
            hint="the file was altered or damaged: get it again from its owner",
            cause="bad-signature",
        )
    return judge_key(signature.key_id, trust, role, now, where=where)


def judge_key(key_id: str, trust: Trust, role: Role, now: datetime, *, where: str | None) -> TrustedKey:
    """Return the key *key_id* if it may sign as *role* at *now*.

    Raise IntegrityError with the cause unknown-signer, key-revoked, key-role, key-not-yet-valid or key-expired.
    """
    key, again = trust.find(key_id), "sign it again with a valid key (a release: `rmfab release sign --replace`)"
    clock = f"this host's clock reads {_day(now)}"
    hint = f"{trust.lists} lists the valid keys; {again}"
    if key is None:
        what, cause = f"signed by an unknown key ({short(key_id)})", "unknown-signer"
        hint = (
            f"compare its id with {trust.lists}; {again}, or get the owner's newer trust file. If enough trusted keys "
            "signed as well, --allow-unknown-signers ignores this one"
        )
    elif key.revoked is not None:
        why = f" ({key.reason})" if key.reason else ""
        what, cause = f"signed by {key}, which was revoked on {_day(key.revoked)}{why}", "key-revoked"
    elif role not in key.roles:
        what, cause = f"signed by {key}, which may not sign as {role}", "key-role"
    elif key.valid_from is not None and now < key.valid_from:
        what, cause = f"signed by {key}, which is valid from {_day(key.valid_from)}; {clock}", "key-not-yet-valid"
        hint = "set the clock, if it is wrong"
    elif not key.valid_at(now) and key.valid_until is not None:
        what, cause = f"signed by {key}, which expired on {_day(key.valid_until)}; {clock}", "key-expired"
        hint = f"set the clock, if it is wrong, or {again}"
    else:
        return key
    raise IntegrityError(what, where=where, hint=hint, cause=cause)


def judge_clock(now: datetime, earliest: datetime, what: str, where: str) -> None:
    """Raise IntegrityError if *now* is before *earliest*, the moment of *what*.

    The clock is behind then: if it could be turned back, keys would never expire.
    """
    if now + ALLOWED_SKEW < earliest:
        raise IntegrityError(
            f"{what} on {_day(earliest)}, but this host's clock reads {_day(now)}",
            where=where,
            hint="set the clock, then try again",
            cause="clock",
        )


def judge_successor(old: Trust, envelope: Envelope, new: Trust, now: datetime, where: str) -> tuple[TrustedKey, ...]:
    """Return the keepers of *old* that signed *new*. Raise IntegrityError if *new* may not replace *old*."""
    _judge_later(old, new, now, where)
    _judge_revoked(old, new, where)
    try:
        return judge_signatures(envelope, PAYLOAD_TYPE, old, old.keepers, now, where=where, allow_unknown=True)
    except IntegrityError as error:
        if error.cause not in ("unsigned", "too-few-signatures"):
            raise
        raise IntegrityError(
            f"version {new.version} of the trust file is not signed by the keepers of version {old.version}",
            where=where,
            hint=f"{old.who_must_sign}; if versions in between are missing, import those first",
            cause=error.cause,
        ) from None


def judge_proposal(old: Trust, envelope: Envelope, new: Trust, now: datetime, where: str) -> bool:
    """Return whether enough keepers of *old* have signed *new* already.

    Raise IntegrityError if *new* could never replace *old*, if a key other than a keeper's signed it, or if it is not
    the very next version: a signer could then not see all that it changes.
    """
    _judge_later(old, new, now, where)
    _judge_revoked(old, new, where)
    if new.version != old.version + 1:
        raise IntegrityError(
            f"version {new.version} of the trust file does not follow version {old.version}, the one in force here",
            where=where,
            hint="import the versions in between first, so that each signer sees the whole change",
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
    """Raise IntegrityError if *new* trusts a revoked key of *old* again, or drops it so that a later version could."""
    for one in old.keys:
        there = new.find(one.id)
        if one.revoked is not None and (there is None or there.revoked is None):
            raise IntegrityError(
                f"this trust file undoes the revocation of {one}",
                where=where,
                hint="a revoked key stays revoked: make a new key",
                cause="key-revoked",
            )


def _judge_later(old: Trust, new: Trust, now: datetime, where: str) -> None:
    """Raise IntegrityError if *new* is not a later version, or if a clock is wrong."""
    if new.version <= old.version:
        same = new.version == old.version
        hint = "use the version in force: a key may have been revoked since"
        raise IntegrityError(
            f"this trust file is {'a different' if same else 'an older'} version {new.version}; version {old.version} "
            "is in force",
            where=where,
            hint="a different change was imported first: make this change again on top of it" if same else hint,
            cause="trust-downgrade",
        )
    judge_clock(now, old.created, "the trust file in force was made", where)
    judge_clock(now, new.created, "this trust file was made", where)
    if new.created + ALLOWED_SKEW < old.created:
        raise IntegrityError(
            f"this trust file is dated {_day(new.created)}, before the one in force ({_day(old.created)})",
            where=where,
            hint="make it again on a host whose clock is right",
            cause="clock",
        )


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(sep=" ")[:16] + " UTC"
