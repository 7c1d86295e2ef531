"""The index of a shelf: every release that was ever put there, and which one each channel offers now.

Canonical JSON. An index names the SHA-256 of the one before it, so that the newest one vouches for all of them.
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

_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBERS = ("size", "secure_version")
_TEXTS = ("project", "version", "app_version")


@dataclass(frozen=True)
class Listed:
    """A release on the shelf. *release* is its digest, *sha256* and *size* are those of the image that devices load;
    *envelope_sha256* that of the envelope around its manifest, None where nobody has signed it. Raises InputError where
    one of them cannot be what it should."""

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
            raise InputError(f"a release in it makes no sense: {self.project!r} {self.version!r}", cause="index")

    @classmethod
    def of(cls, release: Release, envelope: bytes | None) -> Listed:
        """What an index says of *release* and of the *envelope* around its manifest."""
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
        """Where it stands in an index."""
        return self.project, self.chip.value, self.seq or 0, self.version

    @property
    def image(self) -> str:
        """Where its image lies on the shelf."""
        return f"{IMAGES}/{self.sha256}.bin"

    @property
    def manifest(self) -> str:
        """Where its manifest lies on the shelf."""
        return f"{RELEASES}/{self.release}.json"

    @property
    def envelope(self) -> str | None:
        """Where the DSSE envelope around its manifest lies, None where nobody has signed it."""
        return f"{RELEASES}/{self.envelope_sha256}.dsse.json" if self.envelope_sha256 else None

    def to_json(self) -> dict[str, object]:
        """The entry of the index."""
        names = (*_TEXTS, *_NUMBERS, "seq", "release", "sha256", "image", "manifest")
        entry = {name: getattr(self, name) for name in names} | {"chip": self.chip.value}
        signed = {"envelope": self.envelope, "envelope_sha256": self.envelope_sha256}
        return entry | (signed if self.envelope_sha256 else {})

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Listed:
        """The inverse of `to_json`, for what that writes. Raises KeyError, ValueError, TypeError, InputError."""
        same = {name: entry[name] for name in (*_TEXTS, *_NUMBERS, "seq", "release", "sha256")}
        return cls(**same, chip=Chip(entry["chip"]), envelope_sha256=entry.get("envelope_sha256"))


@dataclass(frozen=True)
class Index:
    """*previous*: the SHA-256 of the index before. *releases* in their order; *channels*: by name, by target (project
    and chip), the digest of the release. Raises InputError where they do not fit together."""

    previous: str | None = None
    releases: tuple[Listed, ...] = ()
    channels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        reason = _fault(self)
        if reason:
            raise InputError(f"the index is damaged: {reason}", cause="index")

    @classmethod
    def parse(cls, data: bytes, where: str) -> Index:
        """The index in *data*. Raises InputError where this is none, or none that `encode` would write."""
        try:
            index = cls._read(canonical.decode(data))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(f"this is no index that rmfab wrote ({error})", where) from None
        except InputError as error:
            raise _damaged(error.what, where, error.hint) from None
        if index.encode() != data or not index.releases:
            raise _damaged("this is no index that rmfab wrote", where)
        return index

    @classmethod
    def _read(cls, value: Mapping[str, Any]) -> Index:
        canonical.check_format(value, FORMAT, FORMAT_VERSION, "index", "index")
        return cls(value["previous"], tuple(map(Listed.from_json, value["releases"])), value["channels"])

    def encode(self) -> bytes:
        """The bytes of the index."""
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
        """What *channel* offers for *target*."""
        digest = self.channels.get(channel, {}).get(target)
        return next((one for one in self.releases if one.release == digest), None)

    def with_release(self, listed: Listed, channel: str, *, allow_downgrade: bool = False) -> Index:
        """The index that follows once *channel* offers *listed*; this one where it does so already.

        Raises InputError, its `cause` one of channel, version-taken, seq-taken, downgrade.
        """
        _check_channel(channel)
        known = next((one for one in self.releases if one.release == listed.release), None)
        if known is None:
            self._check_new(listed)
        elif listed.envelope_sha256 is None:  # it was signed before, and stays so
            listed = known
        offered = self.offered(channel, listed.target)
        if not allow_downgrade and offered is not None:
            _check_forward(listed, offered, channel)
        kept = [one for one in self.releases if one.release != listed.release]
        offers = {**self.channels.get(channel, {}), listed.target: listed.release}
        following = replace(
            self,
            releases=tuple(sorted([*kept, listed], key=lambda one: one.order)),
            channels={**self.channels, channel: offers},
        )
        return self if following == self else replace(following, previous=self.digest if self.releases else None)

    def _check_new(self, listed: Listed) -> None:
        for one in self.releases:
            if one.target != listed.target:
                continue
            if one.version == listed.version:
                raise InputError(
                    f"version {one.version} of {one.target} is another release on this shelf, {one.release[:16]}…",
                    hint="a version is published once: `rmfab release build --release-version`",
                    cause="version-taken",
                )
            if one.seq is not None and one.seq == listed.seq:
                raise InputError(
                    f"seq {one.seq} of {one.target} is that of {one.version} on this shelf",
                    hint="a larger seq: `rmfab release build --seq N`",
                    cause="seq-taken",
                )


def _check_channel(channel: str) -> None:
    if not is_safe_name(channel):
        raise InputError(f'"{channel}" cannot be the name of a channel', hint="such as stable", cause="channel")


def _check_forward(listed: Listed, offered: Listed, channel: str) -> None:
    """A release without seq is before all that have one."""
    if offered.seq is not None and (listed.seq is None or listed.seq < offered.seq):
        raise InputError(
            f"channel {channel} offers {offered.version}, seq {offered.seq}: {listed.version}, seq {listed.seq}, "
            "would be a step back",
            hint="--allow-downgrade, where it is meant; devices may refuse it all the same",
            cause="downgrade",
        )


def _fault(index: Index) -> str | None:
    """What does not fit together in it."""
    releases = index.releases
    if index.previous is not None and not _is_digest(index.previous):
        return "what came before it is no digest"
    if list(releases) != sorted(releases, key=lambda one: one.order):
        return "its releases are in another order"
    digests = {one.release: one.target for one in releases}
    versions = {(one.target, one.version) for one in releases}
    seqs = [(one.target, one.seq) for one in releases if one.seq is not None]
    if len(digests) < len(releases) or len(versions) < len(releases) or len(set(seqs)) < len(seqs):
        return "a release, a version or a seq stands twice in it"
    for channel, offers in index.channels.items():
        if not is_safe_name(channel) or not offers:
            return f"{channel!r} is no channel"
        for target, digest in offers.items():
            if digests.get(digest) != target:
                return f"channel {channel} offers for {target} what is not there"
    return None


def _is_digest(text: object) -> bool:
    return isinstance(text, str) and _SHA256.fullmatch(text) is not None


def _is_number(value: object, largest: int) -> bool:
    return type(value) is int and 0 <= value <= largest


def _damaged(what: str, where: str, hint: str | None = None) -> InputError:
    kept = f"every index that was published lies in {INDEXES}/"
    return InputError(what, where=where, hint=hint or kept, cause="index")
