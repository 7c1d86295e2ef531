"""Whom this workspace trusts: public keys with roles, thresholds, validity and revocation.

A trust file is a DSSE envelope around a canonical JSON document. A later version is taken only if keepers of the
version before signed it: the keys of the role `trust`, or where there are none, those of the role `release`
(compare The Update Framework, section 5.3: a root is signed by the root before it).
"""

from __future__ import annotations

import hashlib
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
from rmfab.signing.publickey import VerifyingKey, short

PAYLOAD_TYPE = "application/vnd.rmfab.trust+json"
FORMAT, FORMAT_VERSION = "rmfab-trust", 1
_FINGERPRINT_DIGITS = 32
_LARGEST_VERSION = 1 << 53
_MOST_BYTES = 1 << 20


@unique
class Role(StrEnum):
    """What a key may sign: releases; device certificates; what a station attests; the trust file itself."""

    RELEASE = "release"
    CA = "ca"
    STATION = "station"
    TRUST = "trust"


@dataclass(frozen=True)
class TrustedKey:
    """A key called *name*, valid for its *roles* from and until the given moments, never again once *revoked*."""

    key: VerifyingKey
    name: str
    roles: tuple[Role, ...]
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    revoked: datetime | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        if not is_safe_name(self.name):
            raise InputError(f'"{self.name}" is no name for a key', hint="at most 64 of A-Z a-z 0-9 . _ -")
        if type(self.reason) is not str or not self.reason.isprintable():
            raise InputError("the reason of a revocation is one line of text", hint="--reason TEXT")
        if self.valid_from and self.valid_until and self.valid_from >= self.valid_until:
            raise InputError(f"the key {self.name} would expire before it is valid", hint="--valid-from, --valid-until")

    @property
    def id(self) -> str:
        """The id of the key."""
        return self.key.id

    def __str__(self) -> str:
        return f"{self.name} ({short(self.id)})"

    def has(self, role: Role) -> bool:
        """Whether the key has *role*, and was not revoked."""
        return role in self.roles and self.revoked is None


@dataclass(frozen=True)
class Trust:
    """One version of a workspace's trust, *keys* in the order of their ids. Raises InputError where it contradicts
    itself."""

    version: int
    created: datetime
    keys: tuple[TrustedKey, ...] = ()
    thresholds: Mapping[Role, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ids = [one.id for one in self.keys]
        if ids != sorted(set(ids)) or not 0 <= self.version <= _LARGEST_VERSION:
            raise InputError("a trust file has each key once, in the order of their ids, and a small version")
        live = [one.name for one in self.keys if one.revoked is None]
        doubled = sorted({name for name in live if live.count(name) > 1})
        if doubled:
            raise InputError(f"two keys are called {doubled[0]}", hint="--name NAME")
        for role, threshold in self.thresholds.items():
            number = sum(one.has(role) for one in self.keys)
            if not 1 <= threshold <= max(number, 1):
                have = "1 key has" if number == 1 else f"{number} keys have"
                raise InputError(
                    f"{threshold} signatures of the role {role} are asked for, and {have} it",
                    hint="--threshold N, at least 1 and at most the number of keys",
                    cause="threshold",
                )

    def threshold(self, role: Role) -> int:
        """How many keys of *role* must have signed."""
        return self.thresholds.get(role, 1)

    @property
    def keepers(self) -> Role:
        """The role whose keys may sign the version after this one."""
        return Role.TRUST if any(one.has(Role.TRUST) for one in self.keys) else Role.RELEASE

    @property
    def who_must_sign(self) -> str:
        """Who may sign the version after this one, and how many of them must."""
        names = ", ".join(str(one) for one in self.keys if one.has(self.keepers))
        return f"{self.threshold(self.keepers)} of {names} must sign"

    def find(self, key_id: str) -> TrustedKey | None:
        """The key of this id, revoked or not; None where there is none."""
        return next((one for one in self.keys if one.id == key_id), None)

    def meant(self, text: str) -> list[TrustedKey]:
        """The keys, revoked or not, that a name or the first 8 or more digits of an id mean."""
        return [one for one in self.keys if one.name == text or (len(text) >= 8 and one.id.startswith(text.lower()))]

    def named(self, text: str) -> TrustedKey:
        """The live key that a name or the first 8 or more digits of an id mean. Raises InputError."""
        found = [one for one in self.meant(text) if one.revoked is None]
        if len(found) != 1:
            if not found and any(one.name == text for one in self.keys):
                raise InputError(f'the key "{text}" is revoked already', cause="key-revoked")
            names = ", ".join(str(one) for one in self.keys if one.revoked is None)
            raise InputError(f'no one key is called "{text}"', hint=f"there are: {names or 'none'}", cause="no-key")
        return found[0]

    def adding(self, new: TrustedKey, now: datetime, threshold: int | None = None) -> Trust:
        """The next version, with *new* or with its roles added to the key that is there; itself where nothing changes.

        The validity of a key that is there stays where *new* says nothing of it. *threshold*, where given, becomes that
        of all its roles. Raises InputError, also for a revoked key.
        """
        there = self.find(new.id)
        if there is not None and there.revoked is not None:
            raise InputError(f"the key {there} was revoked, and is never trusted again", cause="key-revoked")
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
        """The next version, in which the key named *text* is revoked. Raises InputError where too few would be left."""
        gone = self.named(text)
        if gone.has(Role.TRUST) and sum(one.has(Role.TRUST) for one in self.keys) == 1:
            raise InputError(
                f"{gone} is the last key of the role trust: without one, release keys would decide whom stations trust",
                hint="add another key of that role first",
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
                "nobody would be left who may sign the next change of the trust file",
                hint="add a key of the role release or trust first",
                cause="no-keeper",
            )
        if in_order == self.keys and dict(thresholds) == dict(self.thresholds):
            return self
        return Trust(self.version + 1, _whole(now), in_order, dict(thresholds))

    def changes_since(self, old: Trust) -> tuple[str, ...]:
        """What this version does beside *old*, a line for each key and threshold that differs."""
        keys = (_key_change(old.find(one.id), one) for one in self.keys)
        gone = (f"forgets {one}" for one in old.keys if self.find(one.id) is None)
        numbers = ((role, old.threshold(role), self.threshold(role)) for role in Role)
        thresholds = (f"asks for signatures as {role} by {now}, not {was}" for role, was, now in numbers if was != now)
        return (*filter(None, keys), *gone, *thresholds)

    @cached_property
    def payload(self) -> bytes:
        """The document's bytes."""
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
        """The trust file, signed by nobody yet."""
        return Envelope(PAYLOAD_TYPE, self.payload)

    @property
    def fingerprint(self) -> str:
        """What people compare: 128 bits of the document's SHA-256 as eight groups of four hex digits."""
        digits = hashlib.sha256(self.payload).hexdigest()[:_FINGERPRINT_DIGITS]
        return "-".join(digits[at : at + 4] for at in range(0, _FINGERPRINT_DIGITS, 4))

    @property
    def summary(self) -> dict[str, Any]:
        """What documents and events say of it."""
        return {"version": self.version, "fingerprint": self.fingerprint}

    @classmethod
    def parse(cls, payload: bytes) -> Self:
        """The trust of a document. Raises ValueError, and InputError (cause `trust-version`) for a later format."""
        value = canonical.parse(payload)
        try:
            canonical.check_format(value, FORMAT, FORMAT_VERSION, "trust file", "trust-version")
            trust = cls(
                int(value["version"]),
                _moment(value["created"]),
                tuple(_key_value(one) for one in value["keys"]),
                {Role(role): int(number) for role, number in value["thresholds"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it does not make sense ({error})") from None
        if trust.payload != payload:
            raise ValueError("it is not written as rmfab writes it")
        return trust


def read_envelope(data: bytes, where: str) -> tuple[Envelope, Trust]:
    """A trust file, its own signatures proven by the keys that it lists.

    Raises InputError where it is none or of a later format, IntegrityError where it was altered.
    """
    if not data.startswith(b"{"):
        raise InputError("this is no trust file", where=where, hint="`rmfab trust export` writes one")
    try:
        envelope = Envelope.parse(data)
        if envelope.payload_type != PAYLOAD_TYPE:
            raise InputError("this is no trust file", where=where, hint="`rmfab trust export` writes one")
        trust = Trust.parse(envelope.payload)
    except ValueError as error:
        raise IntegrityError(
            f"this trust file was altered or damaged, or is none: {error}",
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
                f"a signature of this trust file does not hold (key {short(one.key_id)})",
                where=where,
                hint="get it again from its owner",
                cause="bad-signature",
            )
    return envelope, trust


def load_trust(path: Path) -> tuple[Envelope, Trust]:
    """`read_envelope` of a file. Raises as that does, and InputError where it cannot be read."""
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
        raise ValueError(f"{text!r} is no time")
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
