"""Judges of a release: whether a station accepts it, who vouches for it, and whether it is a step back.

They take bytes as they were read, the trust in force, and what the ledger last accepted. The manifest of a bundle is
parsed only after its signatures are proven.
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
    """A release that may be written, and the keys that vouch for it: none if the product accepts unsigned ones.

    *envelope* contains its signatures, if any. *unchecked*: the signatures could not be judged, because there is no
    trust file. *trust* is what they were judged by.
    """

    release: Release
    signers: tuple[TrustedKey, ...] = ()
    envelope: Envelope | None = None
    trust: Trust | None = None
    unchecked: bool = False

    @property
    def named(self) -> dict[str, Any]:
        """Digest, version, seq and signers, as events contain them."""
        named: dict[str, Any] = {"digest": self.release.digest, "version": self.release.version}
        if self.release.seq is not None:
            named["seq"] = self.release.seq
        return named | {"signers": [{"id": one.id, "name": one.name} for one in self.signers]}


@dataclass(frozen=True)
class LastAccepted:
    """What the ledger last accepted for a product, at *when*.

    If that has no seq, such as a maker's own build folder, *digest*, *version* and *seq* are those of the last release
    with a seq: later releases are still compared with it.
    """

    digest: str
    version: str
    seq: int | None
    secure_version: int
    when: datetime

    @classmethod
    def from_details(cls, details: Mapping[str, Any], when: datetime) -> Self:
        """Return the value of an event's details, as `event_details` writes them."""
        measure = details.get("measure", details)
        return cls(measure["digest"], measure["version"], measure.get("seq"), details["secure_version"], when)

    @property
    def named(self) -> dict[str, Any]:
        """Digest, version and seq, as events contain them."""
        return {"digest": self.digest, "version": self.version, "seq": self.seq}


def event_details(accepted: Accepted, product: str, before: LastAccepted | None, *, downgrade: bool) -> dict[str, Any]:
    """Return the details of the event of an acceptance."""
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
    """Return the release in *bundle*, vouched for by *trust*. Raise IntegrityError if it is not."""
    signers = judge_signers(bundle.to_sign, trust, now, where=bundle.source, allow_unknown=allow_unknown)
    release = bundle.release()
    if release.seq is None:
        raise IntegrityError(
            "the bundle is signed but has no seq",
            where=bundle.source,
            hint="build it with `rmfab release build --seq N`, then sign it",
            cause="no-seq",
        )
    if release.edition.created is not None:
        created = datetime.fromtimestamp(release.edition.created, UTC)
        judge_clock(now, created, "the sources of this release were committed", bundle.source)
    return Accepted(release, signers, bundle.to_sign, trust)


def judge_signers(
    envelope: Envelope, trust: Trust, now: datetime, *, where: str, allow_unknown: bool = False
) -> tuple[TrustedKey, ...]:
    """Return the keys that vouch for the manifest in *envelope*, without parsing the manifest.

    Raise IntegrityError.
    """
    judge_clock(now, trust.created, "the trust file in force was made", where)
    return judge_signatures(envelope, PAYLOAD_TYPE, trust, Role.RELEASE, now, where=where, allow_unknown=allow_unknown)


def judge_again(accepted: Accepted, trust: Trust | None, now: datetime, *, allow_unknown: bool = False) -> None:
    """Raise IntegrityError if what was *accepted* a while ago would not be accepted now.

    For example because a key was revoked or has expired, or because more keys must sign.
    """
    if accepted.envelope is None or accepted.unchecked:
        return
    source = accepted.release.source
    if trust is None:
        raise _nobody_trusted(source)
    judge_signers(accepted.envelope, trust, now, where=source, allow_unknown=allow_unknown)


def _nobody_trusted(source: str) -> IntegrityError:
    return IntegrityError(
        "this release is signed, but this station has no trust file",
        where=source,
        hint="import the trust file of the product's owner: `rmfab trust import FILE`",
        cause="no-trust",
    )


def judge_release(
    opened: Bundle | Release, trust: Trust | None, now: datetime, *, allow_unsigned: bool, allow_unknown: bool = False
) -> Accepted:
    """Return what a station that trusts *trust* accepts of *opened*, a bundle or the release of a build folder.

    *allow_unsigned* accepts unsigned releases and, without a trust file, signatures that cannot be judged. Signatures
    that can be judged must be valid in any case. Raise IntegrityError.
    """
    if isinstance(opened, Bundle) and opened.envelope is not None:
        if trust is not None:
            return judge_bundle(opened, trust, now, allow_unknown=allow_unknown)
        if allow_unsigned:
            return Accepted(opened.release(), envelope=opened.envelope, unchecked=True)
        raise _nobody_trusted(opened.source)
    if not allow_unsigned:
        raise IntegrityError(
            "this release is not signed, but signatures are required here",
            where=opened.source,
            hint="get the signed release from its owner (`rmfab release sign`); on your own bench: "
            "allow_unsigned = true ([release])",
            cause="unsigned",
        )
    return Accepted(opened.release() if isinstance(opened, Bundle) else opened, trust=trust)


def judge_order(release: Release, last: LastAccepted | None, now: datetime) -> list[IntegrityError]:
    """Return every reason why *release* would be a step back from the *last* accepted one.

    One reason is a clock that is behind the last acceptance: this host's was turned back, or a different station of the
    same ledger had one that was ahead.
    """
    if last is None:
        return []
    refusals, source = [], release.source
    try:
        judge_clock(now, last.when, "this ledger accepted a release", source)
    except IntegrityError as error:
        hint = f"{error.hint}; if a different station's clock was wrong, run or flash with --allow-downgrade"
        refusals.append(IntegrityError(error.what, where=error.where, hint=hint, cause=error.cause))
    what = _step_back(release, last)
    if what is not None:
        hint = "if this is intended, run or flash with --allow-downgrade; the ledger records it"
        refusals.append(IntegrityError(what, where=source, hint=hint, cause="downgrade"))
    return refusals


def judge_trust(trust: Trust, known: Mapping[str, Any] | None, where: str) -> None:
    """Raise IntegrityError if *trust* differs from the trust file that the ledger has as *known*, and is not newer.

    Restoring an earlier trust file must not undo a revocation.
    """
    if known is None:
        return
    if trust.version < known["version"]:
        what = f"this trust file is version {trust.version}, but the ledger has version {known['version']}"
    elif trust.version == known["version"] and trust.fingerprint != known["fingerprint"]:
        what = (
            f"this trust file is not the version {trust.version} that the ledger has, with the "
            f"fingerprint {known['fingerprint']}"
        )
    else:
        return
    raise IntegrityError(
        what,
        where=where,
        hint="import the newer one, which may revoke a key: `rmfab trust import`; if its owner started over, import "
        "that file with --allow-downgrade",
        cause="trust-downgrade",
    )


def _step_back(release: Release, last: LastAccepted) -> str | None:
    if release.seq is not None and last.seq is not None:
        if release.seq < last.seq:
            return f"seq {release.seq} is below {last.seq} of {last.version}, the last release accepted by this ledger"
        if release.seq == last.seq and release.digest != last.digest:
            return f"seq {release.seq} is taken by {last.version}, the last release accepted by this ledger"
    if release.app.secure_version < last.secure_version:
        return f"secure version {release.app.secure_version} is below {last.secure_version} of {last.version}"
    return None
