"""Whether a station takes a release: who vouches for it, and whether it, or whom the station trusts, is a step back.

Judges: they take bytes as they were read, the trust in force and what the ledger last accepted. A bundle's manifest is
parsed only once its signatures are proven.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from rmfab.errors import IntegrityError
from rmfab.release.bundle import PAYLOAD_TYPE, Bundle
from rmfab.release.release import Release
from rmfab.signing.dsse import Envelope
from rmfab.signing.judge_signatures import judge_clock, judge_signatures
from rmfab.signing.trust import Role, Trust, TrustedKey


@dataclass(frozen=True)
class Accepted:
    """A release that may be written, and the keys that vouch for it: none where the product takes unsigned ones.

    *envelope* holds its signatures, where there are. *unchecked*: nobody could judge them, for want of a trust file.
    *trust* is what they were judged by.
    """

    release: Release
    signers: tuple[TrustedKey, ...] = ()
    envelope: Envelope | None = None
    trust: Trust | None = None
    unchecked: bool = False

    @property
    def named(self) -> dict[str, Any]:
        """What events say of it: digest, version, seq and signers."""
        named: dict[str, Any] = {"digest": self.release.digest, "version": self.release.version}
        if self.release.seq is not None:
            named["seq"] = self.release.seq
        return named | {"signers": [{"id": one.id, "name": one.name} for one in self.signers]}


@dataclass(frozen=True)
class LastAccepted:
    """What the ledger last accepted for a product, at *when*.

    Where that has no seq, as a maker's own build folder, *digest*, *version* and *seq* are those of the last that had
    one: it stays the measure.
    """

    digest: str
    version: str
    seq: int | None
    secure_version: int
    when: datetime

    @classmethod
    def from_details(cls, details: Mapping[str, Any], when: datetime) -> Self:
        """From an event's details, as `event_details` writes them."""
        measure = details.get("measure", details)
        return cls(measure["digest"], measure["version"], measure.get("seq"), details["secure_version"], when)

    @property
    def named(self) -> dict[str, Any]:
        """What events say of it."""
        return {"digest": self.digest, "version": self.version, "seq": self.seq}


def event_details(accepted: Accepted, product: str, before: LastAccepted | None, *, downgrade: bool) -> dict[str, Any]:
    """What the event of an acceptance says."""
    details = accepted.named | {"product": product, "secure_version": accepted.release.app.secure_version}
    if accepted.trust is not None:
        details["trust"] = accepted.trust.summary
    if before is not None:
        if downgrade:
            details["before"] = before.named
        if accepted.release.seq is None and before.seq is not None:
            details["measure"] = before.named
    return details


def judge_bundle(bundle: Bundle, trust: Trust, now: datetime, *, allow_unknown: bool = False) -> Accepted:
    """The release in *bundle*, vouched for by *trust*. Raises IntegrityError where it is not."""
    signers = judge_signers(bundle.to_sign, trust, now, where=bundle.source, allow_unknown=allow_unknown)
    release = bundle.release()
    if release.seq is None:
        raise IntegrityError(
            "the bundle is signed and has no seq: nobody could tell it from an older one",
            where=bundle.source,
            hint="`rmfab release build --seq N`, then sign it",
            cause="no-seq",
        )
    if release.edition.created is not None:
        created = datetime.fromtimestamp(release.edition.created, UTC)
        judge_clock(now, created, "the sources of this release are of a commit", bundle.source)
    return Accepted(release, signers, bundle.to_sign, trust)


def judge_signers(
    envelope: Envelope, trust: Trust, now: datetime, *, where: str, allow_unknown: bool = False
) -> tuple[TrustedKey, ...]:
    """The keys that vouch for the manifest in *envelope*, of which nothing is read. Raises IntegrityError."""
    judge_clock(now, trust.created, "the trust file in force was made", where)
    return judge_signatures(envelope, PAYLOAD_TYPE, trust, Role.RELEASE, now, where=where, allow_unknown=allow_unknown)


def judge_again(accepted: Accepted, trust: Trust | None, now: datetime, *, allow_unknown: bool = False) -> None:
    """Raises IntegrityError where what was *accepted* a while ago would not be now: a key was revoked or has expired,
    more must sign."""
    if accepted.envelope is None or accepted.unchecked:
        return
    source = accepted.release.source
    if trust is None:
        raise _nobody_trusted(source)
    judge_signers(accepted.envelope, trust, now, where=source, allow_unknown=allow_unknown)


def _nobody_trusted(source: str) -> IntegrityError:
    return IntegrityError(
        "this release is signed, and this station trusts nobody",
        where=source,
        hint="`rmfab trust import FILE` takes the trust file of the product's owner",
        cause="no-trust",
    )


def judge_release(
    opened: Bundle | Release, trust: Trust | None, now: datetime, *, allow_unsigned: bool, allow_unknown: bool = False
) -> Accepted:
    """What *opened*, a bundle or the release of a build folder, is worth to a station that trusts *trust*.

    *allow_unsigned* takes what nobody has signed, and without a trust file also signatures that cannot be judged;
    what can be judged must hold all the same. Raises IntegrityError.
    """
    if isinstance(opened, Bundle) and opened.envelope is not None:
        if trust is not None:
            return judge_bundle(opened, trust, now, allow_unknown=allow_unknown)
        if allow_unsigned:
            return Accepted(opened.release(), envelope=opened.envelope, unchecked=True)
        raise _nobody_trusted(opened.source)
    if not allow_unsigned:
        raise IntegrityError(
            "nobody has signed this release, and only signed ones are taken here",
            where=opened.source,
            hint="get the signed one from its owner, who has `rmfab release sign`; on a bench of your own: "
            "allow_unsigned = true ([release])",
            cause="unsigned",
        )
    return Accepted(opened.release() if isinstance(opened, Bundle) else opened, trust=trust)


def judge_order(release: Release, last: LastAccepted | None, now: datetime) -> list[IntegrityError]:
    """Why *release* would be a step back from what was *last* accepted: every reason, none where it is none.

    One is also a clock that was turned back since, here or, where a station of the same ledger had one that was ahead,
    there.
    """
    if last is None:
        return []
    refusals, source = [], release.source
    try:
        judge_clock(now, last.when, "this ledger accepted a release", source)
    except IntegrityError as error:
        hint = f"{error.hint}; --allow-downgrade, where it was another station's clock that was wrong"
        refusals.append(IntegrityError(error.what, where=error.where, hint=hint, cause=error.cause))
    what = _step_back(release, last)
    if what is not None:
        hint = "--allow-downgrade, where it is meant; the ledger remembers it"
        refusals.append(IntegrityError(what, where=source, hint=hint, cause="downgrade"))
    return refusals


def judge_trust(trust: Trust, known: Mapping[str, Any] | None, where: str) -> None:
    """Raises IntegrityError where *trust* is older than the trust file of which a ledger's event says *known*, or
    another one of the same version: who takes an earlier one back must not undo a revocation."""
    if known is None:
        return
    if trust.version < known["version"]:
        what = f"this is version {trust.version} of the trust file, and the ledger knows version {known['version']}"
    elif trust.version == known["version"] and trust.fingerprint != known["fingerprint"]:
        what = (
            f"this is another version {trust.version} of the trust file than the ledger knows: that one has the "
            f"fingerprint {known['fingerprint']}"
        )
    else:
        return
    raise IntegrityError(
        what,
        where=where,
        hint="`rmfab trust import` takes over the newer one: a key may have been revoked in it; where its owner began "
        "anew, import that with --allow-downgrade",
        cause="trust-downgrade",
    )


def _step_back(release: Release, last: LastAccepted) -> str | None:
    if release.seq is not None and last.seq is not None:
        if release.seq < last.seq:
            return f"its seq {release.seq} is below {last.seq}, that of {last.version}, which this ledger accepted last"
        if release.seq == last.seq and release.digest != last.digest:
            return f"its seq {release.seq} is that of another release, {last.version}, which this ledger accepted last"
    if release.app.secure_version < last.secure_version:
        return f"its secure version {release.app.secure_version} is below {last.secure_version}, that of {last.version}"
    return None
