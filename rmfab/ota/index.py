"""The index of a shelf: every release that was put there, and which one each channel offers now.

Canonical JSON. An index contains the SHA-256 of the one before it, so that the newest one vouches for all of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from rmfab.errors import InputError
from rmfab.files import is_safe_name
from rmfab.product.vocabulary import Chip
from rmfab.release.edition import LARGEST_SEQ
from rmfab.release.parts import APP
from rmfab.release.release import Release
from rmfab.signing import canonical

FORMAT = "rmfab-ota-index"
FORMAT_VERSION = 1
LATEST = "latest.json"
IMAGES, RELEASES, INDEXES = "images", "releases", "indexes"

BY_CONTENT = re.compile(
    r"(?:images/([0-9a-f]{64})\.bin|indexes/([0-9a-f]{64})\.json|releases/([0-9a-f]{64})(?:\.dsse)?\.json)"
)
"""The names of the files of a shelf, except LATEST; the group that matches is the SHA-256 of the content."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBERS = ("size", "secure_version")
_TEXTS = ("project", "version", "app_version")


@dataclass(frozen=True)
class Listed:
    """A release on the shelf.

    *release* is its digest; *sha256* and *size* describe the image that devices load; *envelope_sha256* is that of the
    envelope around its manifest, None if it is not signed. Raise InputError if one of them is invalid.
    """

    project: str
    chip: Chip
    version: str
    app_version: str
    seq: int | None
    release: str
    sha256: str
    size: int
    secure_version: int
    envelope_sha256: str | None

    def __post_init__(self) -> None:
        texts = all(type(getattr(self, name)) is str for name in _TEXTS)
        numbers = all(_is_number(getattr(self, name), LARGEST_SEQ) for name in _NUMBERS)
        seq = self.seq is None or _is_number(self.seq, LARGEST_SEQ)
        digests = all(map(_is_digest, (self.release, self.sha256, self.envelope_sha256 or self.sha256)))
        if not (texts and numbers and seq and digests):
            raise InputError(f"invalid release {self.project!r} {self.version!r}", cause="index")

    @classmethod
    def of(cls, release: Release, envelope: bytes | None) -> Listed:
        """Return the entry of *release* and of the *envelope* around its manifest."""
        app = release.part(APP)
        return cls(
            project=release.app.project,
            chip=release.chip,
            version=release.version,
            app_version=release.app.version,
            seq=release.seq,
            release=release.digest,
            sha256=app.sha256,
            size=app.size,
            secure_version=release.app.secure_version,
            envelope_sha256=None if envelope is None else hashlib.sha256(envelope).hexdigest(),
        )

    @property
    def target(self) -> str:
        """What a channel offers releases for: project and chip."""
        return f"{self.project}/{self.chip.value}"

    @property
    def order(self) -> tuple[str, str, int, str]:
        """The sort key in an index."""
        return self.project, self.chip.value, self.seq or 0, self.version

    @property
    def image(self) -> str:
        """The path of its image on the shelf."""
        return f"{IMAGES}/{self.sha256}.bin"

    @property
    def manifest(self) -> str:
        """The path of its manifest on the shelf."""
        return f"{RELEASES}/{self.release}.json"

    @property
    def envelope(self) -> str | None:
        """The path of the DSSE envelope around its manifest, None if it is not signed."""
        return f"{RELEASES}/{self.envelope_sha256}.dsse.json" if self.envelope_sha256 else None

    def to_json(self) -> dict[str, object]:
        """Return the entry in the index."""
        names = (*_TEXTS, *_NUMBERS, "seq", "release", "sha256", "image", "manifest")
        entry = {name: getattr(self, name) for name in names} | {"chip": self.chip.value}
        signed = {"envelope": self.envelope, "envelope_sha256": self.envelope_sha256}
        return entry | (signed if self.envelope_sha256 else {})

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Listed:
        """Return the inverse of `to_json`. Raise KeyError, ValueError, TypeError or InputError for anything else."""
        same = {name: entry[name] for name in (*_TEXTS, *_NUMBERS, "seq", "release", "sha256")}
        return cls(**same, chip=Chip(entry["chip"]), envelope_sha256=entry.get("envelope_sha256"))


@dataclass(frozen=True)
class Index:
    """The releases of a shelf, and what its channels offer.

    *previous* is the SHA-256 of the index before. *releases* are sorted. *channels* maps channel and target (project
    and chip) to the digest of a release. Raise InputError if they do not match.
    """

    previous: str | None = None
    releases: tuple[Listed, ...] = ()
    channels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        reason = _fault(self)
        if reason:
            raise InputError(f"the index is damaged: {reason}", cause="index")

    @classmethod
    def parse(cls, data: bytes, where: str) -> Index:
        """Return the index in *data*. Raise InputError unless *data* is exactly what `encode` writes."""
        try:
            index = cls._read(canonical.decode(data))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(f"not an index written by rmfab ({error})", where) from None
        except InputError as error:
            raise _damaged(error.what, where, error.hint) from None
        if index.encode() != data or not index.releases:
            raise _damaged("not an index written by rmfab", where)
        return index

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Index:
        canonical.judge_format(value, FORMAT, FORMAT_VERSION, "index", "index")
        return cls(value["previous"], tuple(map(Listed.from_json, value["releases"])), value["channels"])

    def encode(self) -> bytes:
        """Return the bytes of the index."""
        value = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "previous": self.previous,
            "releases": [one.to_json() for one in self.releases],
            "channels": self.channels,
        }
        return canonical.encode(value)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of its bytes, in hex."""
        return hashlib.sha256(self.encode()).hexdigest()

    def offered(self, channel: str, target: str) -> Listed | None:
        """Return the release that *channel* offers for *target*, or None."""
        digest = self.channels.get(channel, {}).get(target)
        return next((one for one in self.releases if one.release == digest), None)

    def with_release(self, listed: Listed, channel: str, *, allow_downgrade: bool = False) -> Index:
        """Return the next index, in which *channel* offers *listed*; this index if it does so already.

        Raise InputError with the `cause` channel, version-taken, seq-taken or downgrade.
        """
        _judge_channel(channel)
        known = next((one for one in self.releases if one.release == listed.release), None)
        if known is None:
            self._judge_new(listed)
        elif listed.envelope_sha256 is None:  # signed before: keep the signatures
            listed = known
        offered = self.offered(channel, listed.target)
        if not allow_downgrade and offered is not None:
            _judge_forward(listed, offered, channel)
        kept = [one for one in self.releases if one.release != listed.release]
        offers = {**self.channels.get(channel, {}), listed.target: listed.release}
        following = replace(
            self,
            releases=tuple(sorted([*kept, listed], key=lambda one: one.order)),
            channels={**self.channels, channel: offers},
        )
        return self if following == self else replace(following, previous=self.digest if self.releases else None)

    def _judge_new(self, listed: Listed) -> None:
        for one in self.releases:
            if one.target != listed.target:
                continue
            if one.version == listed.version:
                raise InputError(
                    f"version {one.version} of {one.target} is a different release on this shelf, {one.release[:16]}…",
                    hint="use a new version: `rmfab release build --release-version`",
                    cause="version-taken",
                )
            if one.seq is not None and one.seq == listed.seq:
                raise InputError(
                    f"seq {one.seq} of {one.target} is taken by {one.version} on this shelf",
                    hint="use a larger seq: `rmfab release build --seq N`",
                    cause="seq-taken",
                )


def _judge_channel(channel: str) -> None:
    if not is_safe_name(channel):
        raise InputError(f'"{channel}" is not a valid channel name', hint="use a name such as stable", cause="channel")


def _judge_forward(listed: Listed, offered: Listed, channel: str) -> None:
    """Check that the seq does not go back; a release without seq is older than all with one."""
    if offered.seq is not None and (listed.seq is None or listed.seq < offered.seq):
        raise InputError(
            f"{listed.version} (seq {listed.seq}) is older than {offered.version} (seq {offered.seq}), "
            f"which channel {channel} offers",
            hint="use --allow-downgrade if this is intended; devices may still reject it",
            cause="downgrade",
        )


def _fault(index: Index) -> str | None:
    """Return what does not match in an index, or None."""
    releases = index.releases
    if index.previous is not None and not _is_digest(index.previous):
        return "its previous index is not a digest"
    if list(releases) != sorted(releases, key=lambda one: one.order):
        return "its releases are in the wrong order"
    digests = {one.release: one.target for one in releases}
    versions = {(one.target, one.version) for one in releases}
    seqs = [(one.target, one.seq) for one in releases if one.seq is not None]
    if len(digests) < len(releases) or len(versions) < len(releases) or len(set(seqs)) < len(seqs):
        return "duplicate release, version or seq"
    for channel, offers in index.channels.items():
        if not is_safe_name(channel) or not offers:
            return f"{channel!r} is not a valid channel"
        for target, digest in offers.items():
            if digests.get(digest) != target:
                return f"channel {channel} offers an unlisted release for {target}"
    return None


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def _is_number(value: object, largest: int) -> bool:
    return type(value) is int and 0 <= value <= largest


def _damaged(what: str, where: str, hint: str | None = None) -> InputError:
    kept = f"restore it: every published index is in {INDEXES}/"
    return InputError(what, where=where, hint=hint or kept, cause="index")
