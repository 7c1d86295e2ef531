"""The trust of a workspace: public keys with roles, thresholds, validity and revocation.

A trust file is a DSSE envelope around a canonical JSON document. A later version is accepted only if the keepers of the
version before signed it: the keys of the role `trust`, or if there are none, those of the role `release` (compare The
Update Framework, section 5.3: a root is signed by the root before it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum, unique
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from rmfab.errors import InputError, IntegrityError
from rmfab.files import is_safe_name, read_input
from rmfab.signing import canonical
from rmfab.signing.dsse import Envelope
from rmfab.signing.fingerprint import fingerprint
from rmfab.signing.publickey import VerifyingKey, short

PAYLOAD_TYPE = "application/vnd.rmfab.trust+json"
FORMAT, FORMAT_VERSION = "rmfab-trust", 1
_LARGEST_VERSION = 1 << 53
_MOST_BYTES = 1 << 20


@unique
class Role(StrEnum):
    """What a key may sign: releases, device certificates, attestations of a station, or the trust file itself."""

    RELEASE = "release"
    CA = "ca"
    STATION = "station"
    TRUST = "trust"


@dataclass(frozen=True)
class TrustedKey:
    """A key called *name*, valid for its *roles* between the given moments, and never again once *revoked*."""

    key: VerifyingKey
    name: str
    roles: tuple[Role, ...]
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    revoked: datetime | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if not is_safe_name(self.name):
            raise InputError(f'"{self.name}" is not a valid key name', hint="use 1 to 64 of A-Z a-z 0-9 . _ -")
        if type(self.reason) is not str or not self.reason.isprintable():
            raise InputError("the reason for a revocation must be one line of text", hint="use --reason TEXT")
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise InputError(f"the key {self.name} expires before it is valid", hint="fix --valid-from, --valid-until")

    @property
    def id(self) -> str:
        """The id of the key."""
        return self.key.id

    def __str__(self) -> str:
        return f"{self.name} ({short(self.id)})"

    def has(self, role: Role) -> bool:
        """Whether the key has *role* and is not revoked."""
        return role in self.roles and self.revoked is None

    def valid_at(self, now: datetime) -> bool:
        """Whether *now* is within the validity of the key."""
        return (self.valid_from is None or now >= self.valid_from) and (
            self.valid_until is None or now < self.valid_until
        )


@dataclass(frozen=True)
class Trust:
    """One version of a workspace's trust, *keys* ordered by id. Raise InputError if it contradicts itself.

    *file*: the file that a user named, for hints; empty for the workspace's.
    """

    version: int
    created: datetime
    keys: tuple[TrustedKey, ...] = ()
    thresholds: Mapping[Role, int] = field(default_factory=dict)
    file: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        ids = [one.id for one in self.keys]
        if ids != sorted(set(ids)) or not 0 <= self.version <= _LARGEST_VERSION:
            raise InputError("keys of a trust file must be unique and ordered by id, and its version at most 2^53")
        live = [one.name for one in self.keys if one.revoked is None]
        doubled = sorted({name for name in live if live.count(name) > 1})
        if doubled:
            raise InputError(f"two keys are called {doubled[0]}", hint="rename one: --name NAME")
        for role, threshold in self.thresholds.items():
            number = sum(one.has(role) for one in self.keys)
            if not 1 <= threshold <= max(number, 1):
                have = "1 key has" if number == 1 else f"{number} keys have"
                raise InputError(
                    f"cannot require {threshold} signatures of the role {role}: {have} it",
                    hint="use --threshold N, at least 1 and at most the number of keys",
                    cause="threshold",
                )

    def threshold(self, role: Role) -> int:
        """Return how many keys of *role* must sign."""
        return self.thresholds.get(role, 1)

    def valid(self, role: Role, now: datetime) -> tuple[TrustedKey, ...]:
        """Return the keys of *role* that may sign at *now*."""
        return tuple(one for one in self.keys if one.has(role) and one.valid_at(now))

    @property
    def lists(self) -> str:
        """The command that lists the keys."""
        return f"`rmfab trust list {self.file}`" if self.file else "`rmfab trust list`"

    @property
    def keepers(self) -> Role:
        """The role whose keys may sign the next version."""
        return Role.TRUST if any(one.has(Role.TRUST) for one in self.keys) else Role.RELEASE

    @property
    def who_must_sign(self) -> str:
        """Who may sign the next version, and how many of them must."""
        names = ", ".join(str(one) for one in self.keys if one.has(self.keepers))
        return f"{self.threshold(self.keepers)} of {names} must sign"

    def find(self, key_id: str) -> TrustedKey | None:
        """Return the key with this id, revoked or not, or None."""
        return next((one for one in self.keys if one.id == key_id), None)

    def meant(self, text: str) -> list[TrustedKey]:
        """Return the keys, revoked or not, that match a name or the first 8 or more digits of an id."""
        return [one for one in self.keys if one.name == text or (len(text) >= 8 and one.id.startswith(text.lower()))]

    def named(self, text: str) -> TrustedKey:
        """Return the live key that matches a name or the first 8 or more digits of an id. Raise InputError."""
        found = [one for one in self.meant(text) if one.revoked is None]
        if len(found) != 1:
            if not found and any(one.name == text for one in self.keys):
                raise InputError(f'the key "{text}" is already revoked', cause="key-revoked")
            names = ", ".join(str(one) for one in self.keys if one.revoked is None)
            raise InputError(f'no single key matches "{text}"', hint=f"keys: {names or 'none'}", cause="no-key")
        return found[0]

    def adding(self, new: TrustedKey, now: datetime, threshold: int | None = None) -> Trust:
        """Return the next version, in which *new* or its roles are added; itself if nothing changes.

        The validity of an existing key is kept unless *new* sets it. *threshold*, if given, becomes the threshold of
        all roles of *new*. Raise InputError, also for a revoked key.
        """
        there = self.find(new.id)
        if there is not None and there.revoked is not None:
            raise InputError(f"the key {there} was revoked and cannot be trusted again", cause="key-revoked")
        if there is not None:
            new = replace(
                new,
                roles=tuple(sorted({*there.roles, *new.roles})),
                valid_from=new.valid_from or there.valid_from,
                valid_until=new.valid_until or there.valid_until,
            )
        thresholds = dict(self.thresholds)
        if threshold is not None:
            thresholds |= dict.fromkeys(new.roles, threshold)
        return self._next([one for one in self.keys if one is not there] + [new], thresholds, now)

    def revoking(self, text: str, reason: str, now: datetime, threshold: int | None = None) -> Trust:
        """Return the next version, in which the key named *text* is revoked.

        Raise InputError if too few keys would remain.
        """
        gone = self.named(text)
        if gone.has(Role.TRUST) and sum(one.has(Role.TRUST) for one in self.keys) == 1:
            raise InputError(
                f"{gone} is the last key of the role trust; without it, release keys could change the trust file",
                hint="add one more key of that role first",
                cause="no-keeper",
            )
        thresholds = dict(self.thresholds)
        if threshold is not None:
            thresholds |= dict.fromkeys(gone.roles, threshold)
        keys = [one for one in self.keys if one is not gone]
        revoked = replace(gone, revoked=_whole(now), reason=reason)
        return self._next([*keys, revoked], thresholds, now)

    def _next(self, keys: Iterable[TrustedKey], thresholds: Mapping[Role, int], now: datetime) -> Trust:
        in_order = tuple(sorted(keys, key=lambda one: one.id))
        if not any(one.has(Role.RELEASE) or one.has(Role.TRUST) for one in in_order):
            raise InputError(
                "no key would remain that may sign the next change of the trust file",
                hint="add a key of the role release or trust first",
                cause="no-keeper",
            )
        if in_order == self.keys and dict(thresholds) == dict(self.thresholds):
            return self
        return Trust(self.version + 1, _whole(now), in_order, dict(thresholds))

    def changes_since(self, old: Trust) -> tuple[str, ...]:
        """Return what this version changes in *old*, one line for each key and threshold that differs."""
        keys = (_key_change(old.find(one.id), one) for one in self.keys)
        gone = (f"removes {one}" for one in old.keys if self.find(one.id) is None)
        numbers = ((role, old.threshold(role), self.threshold(role)) for role in Role)
        thresholds = (
            f"requires {now} {'signature' if now == 1 else 'signatures'} as {role}, not {was}"
            for role, was, now in numbers
            if was != now
        )
        return (*filter(None, keys), *gone, *thresholds)

    @cached_property
    def payload(self) -> bytes:
        """The bytes of the document."""
        return canonical.encode(
            {
                "format": FORMAT,
                "format_version": FORMAT_VERSION,
                "version": self.version,
                "created": _text(self.created),
                "keys": [_key_json(one) for one in self.keys],
                "thresholds": {str(role): number for role, number in self.thresholds.items()},
            }
        )

    @property
    def envelope(self) -> Envelope:
        """The trust file without signatures."""
        return Envelope(PAYLOAD_TYPE, self.payload)

    @property
    def fingerprint(self) -> str:
        """The fingerprint that people compare."""
        return fingerprint(self.payload)

    @property
    def summary(self) -> dict[str, Any]:
        """Version and fingerprint, as documents and events contain them."""
        return {"version": self.version, "fingerprint": self.fingerprint}

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """Return the trust in a document.

        Raise ValueError, and InputError (cause `trust-version`) for a later format.
        """
        value = canonical.parse(payload)
        try:
            canonical.judge_format(value, FORMAT, FORMAT_VERSION, "trust file", "trust-version")
            trust = cls(
                int(value["version"]),
                _moment(value["created"]),
                tuple(_key_value(one) for one in value["keys"]),
                {Role(role): int(number) for role, number in value["thresholds"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is malformed ({error})") from None
        if trust.payload != payload:
            raise ValueError("not in canonical form")
        return trust


def read_envelope(data: bytes, where: str) -> tuple[Envelope, Trust]:
    """Return a trust file whose signatures are valid for the keys that it lists.

    Raise InputError if it is not a trust file or has a later format, IntegrityError if it was altered.
    """
    if not data.startswith(b"{"):
        raise InputError("not a trust file", where=where, hint="write one with `rmfab trust export`")
    try:
        envelope = Envelope.parse(data)
        if envelope.payload_type != PAYLOAD_TYPE:
            raise InputError("not a trust file", where=where, hint="write one with `rmfab trust export`")
        trust = Trust.parse(envelope.payload)
    except ValueError as error:
        raise IntegrityError(
            f"this trust file was altered or damaged: {error}",
            where=where,
            hint="get it again from its owner",
            cause="trust-altered",
        ) from None
    except InputError as error:
        raise InputError(error.what, where=where, hint=error.hint, cause=error.cause) from None
    for one in envelope.signatures:
        listed = trust.find(one.key_id)
        if listed is None or not listed.key.verifies(one.value, envelope.signed_bytes):
            raise IntegrityError(
                f"invalid signature on this trust file (key {short(one.key_id)})",
                where=where,
                hint="get it again from its owner",
                cause="bad-signature",
            )
    return envelope, trust


def load_trust(path: Path) -> tuple[Envelope, Trust]:
    """Read a trust file as `read_envelope` does. Raise InputError also if the file cannot be read."""
    return read_envelope(read_input(path, "trust file", most=_MOST_BYTES), str(path))


def _key_change(old: TrustedKey | None, new: TrustedKey) -> str | None:
    if old == new:
        return None
    if new.revoked is not None:
        return f"revokes {new}" + (f": {new.reason}" if new.reason else "")
    does = "adds" if old is None else "changes"
    since = f", from {_text(new.valid_from)}" if new.valid_from else ""
    until = f", until {_text(new.valid_until)}" if new.valid_until else ""
    return f"{does} {new}, which may sign as {', '.join(new.roles)}{since}{until}"


def _whole(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _moment(text: object) -> datetime:
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a time")
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _key_json(one: TrustedKey) -> dict[str, Any]:
    value: dict[str, Any] = {
        "id": one.id,
        "name": one.name,
        "public": one.key.pem,
        "roles": sorted(str(role) for role in one.roles),
    }
    for name, moment in (("valid_from", one.valid_from), ("valid_until", one.valid_until), ("revoked", one.revoked)):
        if moment is not None:
            value[name] = _text(moment)
    return value | ({"reason": one.reason} if one.reason else {})


def _key_value(value: Mapping[str, Any]) -> TrustedKey:
    moments = {name: _moment(value[name]) if name in value else None for name in ("valid_from", "valid_until")}
    try:
        return TrustedKey(
            VerifyingKey.from_pem(value["public"].encode(), "a trusted key"),
            value["name"],
            tuple(Role(role) for role in value["roles"]),
            **moments,
            revoked=_moment(value["revoked"]) if "revoked" in value else None,
            reason=value.get("reason", ""),
        )
    except InputError as error:
        raise ValueError(str(error)) from None
