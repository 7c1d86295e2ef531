"""The trust file of a workspace: changed, proposed, signed by its keepers, imported, exported, put in force."""

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
from rmfab.signing.judge_signatures import judge_clock, judge_proposal, judge_signatures, judge_successor
from rmfab.signing.publickey import load_public_key, short
from rmfab.signing.signer import Signer
from rmfab.signing.trust import PAYLOAD_TYPE, Role, Trust, TrustedKey, load_trust, read_envelope
from rmfab.workspace.workspace import Workspace


@dataclass(frozen=True)
class TrustKeyRequest:
    """The public key in *file* is to be trusted as *roles*, from *valid_from* until *valid_until*.

    *name*: None for the one it has, or the file's; *threshold*: how many keys of the roles must sign from now on.
    """

    file: Path
    roles: tuple[Role, ...]
    name: str | None = None
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    threshold: int | None = None


@dataclass(frozen=True)
class RevokeKeyRequest:
    """The *key*, by its name or the beginning of its id, is to be revoked because of *reason*."""

    key: str
    reason: str = ""
    threshold: int | None = None


@dataclass(frozen=True)
class TrustSigning:
    """Who signs a change of the trust file; with *output* it is only written there, for others to sign."""

    keys: KeyChoice = field(default_factory=KeyChoice)
    output: Path | None = None


def change_trust(
    workspace: Workspace, request: TrustKeyRequest | RevokeKeyRequest, signing: TrustSigning, terminal: Terminal
) -> Trust:
    """Makes the change and puts it in force, or proposes it; returns the changed trust.

    Raises InputError where it is not signed or cannot be, IntegrityError where its signers may not decide it.
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
    _check_signing(workspace, old, signing)
    with opened_keys(signing.keys, terminal) as signers:
        if old is not None and signing.output is not None:
            _propose(signing.output, old, _signed_by(old, new.envelope, signers), workspace.now(), terminal)
            return new
        _decide(workspace, old, new, signers)
    terminal.say(f"{what}; version {new.version} of the trust file is in force")
    if not signing.keys.uris:
        terminal.warn("this first trust file is signed by nobody; every later change needs --key")
    _warn_of_unsigned(workspace, terminal)
    return new


def sign_trust(workspace: Workspace, file: Path, keys: KeyChoice, terminal: Terminal) -> Trust:
    """Adds signatures to the change in *file*, after saying what it would change; returns the proposed trust."""
    old = trust_in_force(workspace)
    with changing(file) as path:
        envelope, new = load_trust(path)
        if new == old:
            terminal.say(f"version {new.version} of the trust file is in force already")
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
    """Takes over the trust file *file*: the first by its *fingerprint*, a later one only if the one before signed it.

    A fingerprint that is None is asked for. Raises IntegrityError where the file may not follow.
    """
    envelope, new = load_trust(file)
    old = workspace.trust
    if old == new:
        terminal.say(f"version {new.version} of the trust file is in force already")
        return new
    if old is None:
        _compare(fingerprint or _asked_fingerprint(file, terminal), new, file)
        judge_clock(workspace.now(), new.created, "this trust file was made", str(file))
    signers = _take(workspace, old, envelope, str(file), downgrade=allow_downgrade)
    by = f"signed by {', '.join(map(str, signers))}" if signers else "its fingerprint is right"
    terminal.say(f"version {new.version} of the trust file is in force: {by}")
    if old is not None:
        _say_changes(new, old, terminal)
    _warn_of_unsigned(workspace, terminal)
    return new


def export_trust(workspace: Workspace, output: Path, *, force: bool = False) -> Trust:
    """Writes the trust file in force to *output*, which may hold an earlier version of it; returns it."""
    trust = trust_in_force(workspace)
    write_file(output, read_input(workspace.trust_path), force=force or _is_earlier(output, trust))
    return trust


def put_in_force(workspace: Workspace, old: Trust | None, new: Trust, signers: Sequence[Signer]) -> None:
    """Writes *new*, signed by *signers*, where it may follow *old*. Raises IntegrityError where it may not."""
    where = str(workspace.trust_path)
    envelope = _signed_by(old or new, new.envelope, signers)
    if old is None and signers:
        judge_signatures(envelope, PAYLOAD_TYPE, new, new.keepers, workspace.now(), where=where)
    _take(workspace, old, envelope, where)


def trust_in_force(workspace: Workspace) -> Trust:
    """The trust in force. Raises InputError where there is none yet."""
    trust = workspace.trust
    if trust is None:
        raise InputError(
            "nobody is trusted here yet",
            where=str(workspace.trust_path),
            hint="`rmfab trust add` begins a trust file, `rmfab trust import` takes one over",
            cause="no-trust",
        )
    return trust


def _trusting(workspace: Workspace, request: TrustKeyRequest) -> tuple[Trust | None, Trust, str]:
    """The trust now, the one with the key of *request*, and what that means."""
    key, old = load_public_key(request.file), workspace.trust
    there = old.find(key.id) if old is not None else None
    default = there.name if there is not None else re.sub(r"[^A-Za-z0-9._-]", "-", request.file.stem)[:64]
    roles = tuple(sorted(request.roles))
    added = TrustedKey(key, request.name or default, roles, request.valid_from, request.valid_until)
    new = (old or Trust(0, workspace.now())).adding(added, workspace.now(), request.threshold)
    return old, new, f"{added} may sign as {', '.join(roles)}"


def _check_signing(workspace: Workspace, old: Trust | None, signing: TrustSigning) -> None:
    where = str(workspace.trust_path)
    if old is None and signing.output is not None:
        raise InputError(
            "nobody is trusted here yet, so that nobody needs to agree", where=where, hint="without --output"
        )
    if old is not None and not signing.keys.uris:
        raise InputError(
            "a change of the trust file must be signed",
            where=where,
            hint=f"--key URI: {old.who_must_sign}",
            cause="unsigned",
        )


def _decide(workspace: Workspace, old: Trust | None, new: Trust, signers: Sequence[Signer]) -> None:
    try:
        put_in_force(workspace, old, new, signers)
    except IntegrityError as error:
        if old is None or error.cause != "too-few-signatures":
            raise
        hint = f"{old.who_must_sign}: a --key for each, or --output FILE, which others can sign"
        where = str(workspace.trust_path)
        raise IntegrityError(error.what, where=where, hint=hint, cause=error.cause) from None


def _signed_by(keepers_of: Trust, envelope: Envelope, signers: Sequence[Signer]) -> Envelope:
    """The trust file in *envelope*, signed by *signers* too. Raises IntegrityError for one that keeps it not."""
    for signer in signers:
        known = keepers_of.find(signer.public.id)
        if known is None or not known.has(keepers_of.keepers):
            who = str(known) if known is not None else f"a key that nobody here knows ({short(signer.public.id)})"
            raise IntegrityError(
                f"the trust file is not signed by those who may: {who} is none of them",
                hint=keepers_of.who_must_sign,
                cause="not-a-keeper",
            )
    return envelope.signed(*signers)


def _take(
    workspace: Workspace, old: Trust | None, envelope: Envelope, where: str, *, downgrade: bool = False
) -> tuple[TrustedKey, ...]:
    """Puts *envelope*, as it reads back, in the place of *old*, lets the ledger know, and returns the keepers of *old*
    who signed it. *downgrade*: also where the ledger knows a newer one.

    Raises IntegrityError where it may not follow, InputError where something else has followed already.
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
                "another command has changed the trust file meanwhile",
                where=str(path),
                hint="the same command again, which begins with what is there now",
                cause="busy",
            )
        write_file(path, data, force=True)
    record_trust(workspace, downgrade=downgrade)
    return signers


def _propose(
    path: Path, old: Trust, envelope: Envelope, now: datetime, terminal: Terminal, *, replaces: bool = False
) -> None:
    """Writes a change of *old* for its keepers to sign, and says whether enough have.

    Raises IntegrityError where it could never follow, InputError where another file stands there.
    """
    data = envelope.encode()
    new = read_envelope(data, str(path))[1]
    enough = judge_proposal(old, envelope, new, now, str(path))
    try:
        write_file(path, data, force=replaces)
    except InputError as error:
        hint = "another name; a file that others may be signing is not replaced" if error.cause == "exists" else None
        raise InputError(error.what, where=error.where, hint=hint or error.hint, cause=error.cause) from None
    names = ", ".join(str(new.find(one.key_id)) for one in envelope.signatures)
    terminal.say(f"{path}: version {new.version} of the trust file, not yet in force, signed by {names}")
    if enough:
        terminal.say(f"enough have signed: `rmfab trust import {path}` puts it in force")
    else:
        number = old.threshold(old.keepers)
        terminal.say(f"{number} keys of the role {old.keepers} must sign: `rmfab trust sign {path} --key URI`")


def _is_earlier(path: Path, trust: Trust) -> bool:
    """Whether an earlier version of *trust*, which it follows, stands in *path*: no loss."""
    try:
        there = load_trust(path)[1]
    except (InputError, IntegrityError):
        return False
    return there.version < trust.version and all(trust.find(one.id) for one in there.keys)


def _asked_fingerprint(file: Path, terminal: Terminal) -> str:
    if not terminal.interactive:
        raise InputError(
            "the first trust file is taken by its fingerprint, and there is no terminal to type it on",
            where=str(file),
            hint="--fingerprint F, as `rmfab trust export` printed it",
            cause="fingerprint",
        )
    return terminal.ask("Fingerprint, as the owner of the trust file told you")


def _compare(typed: str, new: Trust, file: Path) -> None:
    if re.sub(r"[^0-9a-f]", "", typed.lower()) != new.fingerprint.replace("-", ""):
        raise IntegrityError(
            "this is not the trust file of that fingerprint",
            where=str(file),
            hint="a typing error, or another file than its owner meant: ask them",
            cause="fingerprint",
        )


def _say_changes(new: Trust, old: Trust, terminal: Terminal) -> None:
    for line in new.changes_since(old) or ("changes nothing",):
        terminal.say(f"it {line}")


def _warn_of_unsigned(workspace: Workspace, terminal: Terminal) -> None:
    """Warns where the product lets unsigned releases pass whatever the trust file says."""
    if workspace.product.release.allow_unsigned:
        terminal.warn(
            "product.toml says allow_unsigned = true: what nobody has signed is still taken here. Remove that line"
        )
