"""Change the trust file of a workspace: add and revoke keys, propose, sign, import, export."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from rmfab.errors import InputError, IntegrityError
from rmfab.files import changing, locked, make_folder, read_input, write_file
from rmfab.operations.accept_release import record_trust, refuse_older
from rmfab.operations.signing_keys import KeyChoice, opened_keys
from rmfab.operations.terminal import Terminal
from rmfab.signing.dsse import Envelope
from rmfab.signing.fingerprint import is_same
from rmfab.signing.judge_signatures import judge_clock, judge_proposal, judge_signatures, judge_successor
from rmfab.signing.publickey import load_public_key, short
from rmfab.signing.signer import Signer
from rmfab.signing.trust import PAYLOAD_TYPE, Role, Trust, TrustedKey, load_trust, read_envelope
from rmfab.workspace.workspace import Workspace


@dataclass(frozen=True)
class TrustKeyRequest:
    """Trust the public key in *file* as *roles*, from *valid_from* until *valid_until*.

    *name*: None for its current name, or the file's; *threshold*: how many keys of the roles must sign from now on.
    """

    file: Path
    roles: tuple[Role, ...]
    name: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    threshold: int | None = None


@dataclass(frozen=True)
class RevokeKeyRequest:
    """Revoke *key*, a name or the first digits of an id, because of *reason*."""

    key: str
    reason: str = ""
    threshold: int | None = None


@dataclass(frozen=True)
class TrustSigning:
    """The keys that sign a change of the trust file; with *output* it is only written there, for others to sign."""

    keys: KeyChoice = field(default_factory=KeyChoice)
    output: Path | None = None


def change_trust(
    workspace: Workspace, request: TrustKeyRequest | RevokeKeyRequest, signing: TrustSigning, terminal: Terminal
) -> Trust:
    """Make the change and put it in force, or propose it; return the changed trust.

    Raise InputError if it is not signed or not valid, IntegrityError if its signers may not decide it.
    """
    if isinstance(request, TrustKeyRequest):
        old, new, what = _trusting(workspace, request)
    else:
        old = trust_in_force(workspace)
        new = old.revoking(request.key, request.reason, workspace.now(), request.threshold)
        what = f"{old.named(request.key)} is revoked"
    if new == old:
        terminal.say(f"nothing to do: {what} already")
        return new
    _judge_signing(workspace, old, signing)
    with opened_keys(signing.keys, terminal) as signers:
        if old is not None and signing.output is not None:
            _propose(signing.output, old, _signed_by(old, new.envelope, signers), workspace.now(), terminal)
            _warn_of_release_keys(old, new, workspace.now(), terminal)
            return new
        _decide(workspace, old, new, signers)
    terminal.say(f"{what}; version {new.version} of the trust file is in force")
    if not signing.keys.uris:
        terminal.warn("this first trust file is not signed; every later change requires --key")
    _warn_of_release_keys(old, new, workspace.now(), terminal)
    _warn_of_unsigned(workspace, terminal)
    return new


def sign_trust(workspace: Workspace, file: Path, keys: KeyChoice, terminal: Terminal) -> Trust:
    """Add signatures to the change in *file*, after reporting what it would change; return the proposed trust."""
    old = trust_in_force(workspace)
    with changing(file) as path:
        envelope, new = load_trust(path)
        if new == old:
            terminal.say(f"version {new.version} of the trust file is already in force")
            return new
        judge_proposal(old, envelope, new, workspace.now(), str(path))
        _say_changes(new, old, terminal)
        with opened_keys(keys, terminal) as signers:
            signed = _signed_by(old, envelope, signers)
        _propose(path, old, signed, workspace.now(), terminal, replaces=True)
    return new


def import_trust(
    workspace: Workspace, file: Path, fingerprint: str | None, terminal: Terminal, *, allow_downgrade: bool = False
) -> Trust:
    """Import the trust file *file*: the first by its *fingerprint*, a later one only if keepers of the previous signed.

    A *fingerprint* that is given is compared in any case; for the first file, the operator is asked for one. Raise
    IntegrityError if it does not match, or if the file is not a valid successor.
    """
    envelope, new = load_trust(file)
    old = workspace.trust
    if old is None and not fingerprint:
        fingerprint = _asked_fingerprint(file, terminal)
    if fingerprint is not None:
        _compare(fingerprint, new, file)
    if old == new:
        terminal.say(f"version {new.version} of the trust file is already in force")
        return new
    if old is None:
        judge_clock(workspace.now(), new.created, "this trust file was made", str(file))
    signers = _take(workspace, old, envelope, str(file), downgrade=allow_downgrade)
    by = f"signed by {', '.join(map(str, signers))}" if signers else "its fingerprint matches"
    terminal.say(f"version {new.version} of the trust file is in force: {by}")
    if old is not None:
        _say_changes(new, old, terminal)
    _warn_of_unsigned(workspace, terminal)
    return new


def follow_trust(workspace: Workspace, data: bytes, where: str, terminal: Terminal) -> None:
    """Put the trust file in *data* in force, which came from the owner, unless the one in force is as new.

    The first one needs no fingerprint: whoever received *data* has compared that of its signer. Raise IntegrityError if
    a later one is not a valid successor.
    """
    envelope, new = read_envelope(data, where)
    old = workspace.trust
    if old is not None and new.version <= old.version:
        if new != old:
            terminal.warn(f"kept version {old.version} of the trust file; the handover contains version {new.version}")
        return
    _take(workspace, old, envelope, where)
    terminal.say(f"version {new.version} of the trust file is in force: the owner sent it")


def export_trust(workspace: Workspace, output: Path, *, force: bool = False) -> Trust:
    """Write the trust file in force to *output*, replacing an earlier version of it; return the trust."""
    trust = trust_in_force(workspace)
    write_file(output, read_input(workspace.trust_path), force=force or _is_earlier(output, trust))
    return trust


def put_in_force(workspace: Workspace, old: Trust | None, new: Trust, signers: Sequence[Signer]) -> None:
    """Sign *new* with *signers* and put it in force. Raise IntegrityError if it is not a valid successor of *old*."""
    where = str(workspace.trust_path)
    envelope = _signed_by(old or new, new.envelope, signers)
    if old is None and signers:
        judge_signatures(envelope, PAYLOAD_TYPE, new, new.keepers, workspace.now(), where=where)
    _take(workspace, old, envelope, where)


def trust_in_force(workspace: Workspace) -> Trust:
    """Return the trust in force. Raise InputError if there is none yet."""
    trust = workspace.trust
    if trust is None:
        raise InputError(
            "no trust file yet",
            where=str(workspace.trust_path),
            hint="`rmfab trust add` creates one, `rmfab trust import` imports the owner's",
            cause="no-trust",
        )
    return trust


def _trusting(workspace: Workspace, request: TrustKeyRequest) -> tuple[Trust | None, Trust, str]:
    """Return the current trust, the trust with the key of *request*, and the change in words."""
    key, old = load_public_key(request.file), workspace.trust
    there = old.find(key.id) if old is not None else None
    default = there.name if there is not None else re.sub(r"[^A-Za-z0-9._-]", "-", request.file.stem)[:64]
    roles = tuple(sorted(request.roles))
    added = TrustedKey(key, request.name or default, roles, request.valid_from, request.valid_until)
    new = (old or Trust(0, workspace.now())).adding(added, workspace.now(), request.threshold)
    return old, new, f"{added} may sign as {', '.join(roles)}"


def _judge_signing(workspace: Workspace, old: Trust | None, signing: TrustSigning) -> None:
    where = str(workspace.trust_path)
    if old is None and signing.output is not None:
        raise InputError(
            "no trust file yet, so there is no keeper who must sign", where=where, hint="leave out --output"
        )
    if old is not None and not signing.keys.uris:
        raise InputError(
            "a change of the trust file must be signed",
            where=where,
            hint=f"pass --key URI: {old.who_must_sign}",
            cause="unsigned",
        )


def _decide(workspace: Workspace, old: Trust | None, new: Trust, signers: Sequence[Signer]) -> None:
    try:
        put_in_force(workspace, old, new, signers)
    except IntegrityError as error:
        if old is None or error.cause != "too-few-signatures":
            raise
        hint = f"{old.who_must_sign}: pass --key for each, or --output FILE for others to sign"
        where = str(workspace.trust_path)
        raise IntegrityError(error.what, where=where, hint=hint, cause=error.cause) from None


def _signed_by(keepers_of: Trust, envelope: Envelope, signers: Sequence[Signer]) -> Envelope:
    """Add signatures by *signers* to *envelope*. Raise IntegrityError if one of them is not a keeper."""
    for signer in signers:
        known = keepers_of.find(signer.public.id)
        if known is None or not known.has(keepers_of.keepers):
            who = str(known) if known is not None else f"unknown key {short(signer.public.id)}"
            raise IntegrityError(
                f"{who} may not sign the trust file",
                hint=keepers_of.who_must_sign,
                cause="not-a-keeper",
            )
    return envelope.signed(*signers)


def _take(
    workspace: Workspace, old: Trust | None, envelope: Envelope, where: str, *, downgrade: bool = False
) -> tuple[TrustedKey, ...]:
    """Replace *old* with *envelope*, as it reads back, and record it in the ledger. Return the keepers of *old* who
    signed it. *downgrade*: even if the ledger has recorded a newer one.

    Raise IntegrityError if it is not a valid successor, InputError if the trust file is no longer *old*.
    """
    path, data = workspace.trust_path, envelope.encode()
    new = read_envelope(data, where)[1]
    signers = () if old is None else judge_successor(old, envelope, new, workspace.now(), where)
    if not downgrade:
        refuse_older(workspace, new, where)
    make_folder(workspace.keys_folder, secret=True)
    with locked(path.with_name(f".{path.name}.lock")):
        if workspace.trust != old:
            raise InputError(
                "a different command has just changed the trust file",
                where=str(path),
                hint="run the same command again; it starts from the new trust file",
                cause="busy",
            )
        write_file(path, data, force=True)
    record_trust(workspace, downgrade=downgrade)
    return signers


def _propose(
    path: Path, old: Trust, envelope: Envelope, now: datetime, terminal: Terminal, *, replaces: bool = False
) -> None:
    """Write a change of *old* for its keepers to sign, and report whether enough have signed.

    Raise IntegrityError if it can never be a valid successor, InputError if a different file is in the way.
    """
    data = envelope.encode()
    new = read_envelope(data, str(path))[1]
    enough = judge_proposal(old, envelope, new, now, str(path))
    try:
        write_file(path, data, force=replaces)
    except InputError as error:
        hint = (
            "choose a different name; a file that others may be signing is not replaced"
            if error.cause == "exists"
            else None
        )
        raise InputError(error.what, where=error.where, hint=hint or error.hint, cause=error.cause) from None
    names = ", ".join(str(new.find(one.key_id)) for one in envelope.signatures)
    terminal.say(f"{path}: version {new.version} of the trust file, not yet in force, signed by {names}")
    if enough:
        terminal.say(f"enough signatures; `rmfab trust import {path}` puts it in force")
    else:
        number = old.threshold(old.keepers)
        terminal.say(f"{number} keys of the role {old.keepers} must sign: `rmfab trust sign {path} --key URI`")


def _is_earlier(path: Path, trust: Trust) -> bool:
    """Return whether *path* is an earlier version of *trust*, which may be replaced without loss."""
    try:
        there = load_trust(path)[1]
    except (InputError, IntegrityError):
        return False
    return there.version < trust.version and all(trust.find(one.id) for one in there.keys)


def _asked_fingerprint(file: Path, terminal: Terminal) -> str:
    if not terminal.interactive:
        raise InputError(
            "the first trust file requires its fingerprint, and there is no terminal to ask on",
            where=str(file),
            hint="pass --fingerprint F, as printed by `rmfab trust export`",
            cause="fingerprint",
        )
    return terminal.ask("Fingerprint that the owner of the trust file gave you")


def _compare(typed: str, new: Trust, file: Path) -> None:
    if not is_same(typed, new.fingerprint):
        raise IntegrityError(
            "fingerprint does not match this trust file",
            where=str(file),
            hint="check for a typing error, and ask the owner whether this is the right file",
            cause="fingerprint",
        )


def _say_changes(new: Trust, old: Trust, terminal: Terminal) -> None:
    for line in new.changes_since(old) or ("changes nothing",):
        terminal.say(f"it {line}")


def _warn_of_release_keys(old: Trust | None, new: Trust, now: datetime, terminal: Terminal) -> None:
    """Warn if too few keys are left to sign a release, and *old* had enough."""
    needed, left = new.threshold(Role.RELEASE), len(new.valid(Role.RELEASE, now))
    if old is None or left >= needed or len(old.valid(Role.RELEASE, now)) < old.threshold(Role.RELEASE):
        return
    keys = (
        "no key of the role release is left"
        if not left
        else f"only {left} of the role release left, {needed} must sign"
    )
    terminal.warn(f"{keys}: stations accept no release", "add one: `rmfab trust add FILE.pub --role release`")


def _warn_of_unsigned(workspace: Workspace, terminal: Terminal) -> None:
    """Warn if the product accepts unsigned releases in spite of the trust file."""
    if workspace.product.release.allow_unsigned:
        terminal.warn("unsigned releases are still accepted here: remove allow_unsigned = true from product.toml")
