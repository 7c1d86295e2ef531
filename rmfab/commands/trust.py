"""`rmfab trust`: whose releases this station takes."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.keys import key_option, open_keys
from rmfab.commands.trust_file import (
    in_force,
    propose,
    put_in_force,
    signed_by,
    take,
    tell_changes,
    trust_workspace,
    warn_of_unsigned,
)
from rmfab.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from rmfab.signing.dsse import Envelope
    from rmfab.signing.trust import Trust, TrustedKey
    from rmfab.workspace import Workspace

_PATH = click.Path(path_type=Path)
_DAY = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])
ROLES = ("release", "ca", "station", "trust")
_threshold_option = click.option(
    "--threshold", type=click.IntRange(1, 32), help="How many keys of the role must sign from now on."
)
_output_option = click.option(
    "-o",
    "--output",
    type=_PATH,
    metavar="FILE",
    help="Write the change there for others to sign; it is not in force yet.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


@click.group("trust")
def command() -> None:
    """Whom this station trusts: add, list, remove keys; import and export the trust file.

    Every later version of the trust file is signed by keys of the one before: those of the role trust, or where there
    are none, of the role release. It lies in the workspace as keys/trust.json.

    \b
    rmfab trust add release.pub --role release
    rmfab trust export -o trust.json            at the owner's desk; prints the fingerprint
    rmfab trust import trust.json               at the factory; asks for the fingerprint
    rmfab trust remove ci -o change.json --key file:mine.key       where two must agree,
    rmfab trust sign change.json --key file:yours.key              each where his key is
    """


@command.command("add")
@click.argument("file", type=_PATH)
@click.option("--role", "roles", type=click.Choice(ROLES), multiple=True, required=True, help="What it may sign.")
@click.option("--name", help="What it is called (default: the file's name).")
@click.option("--valid-from", type=_DAY, metavar="DATE", help="Not before this day (UTC).")
@click.option("--valid-until", type=_DAY, metavar="DATE", help="No longer from this day on (UTC).")
@_threshold_option
@_output_option
@key_option(required=False)
@_json_option
def add(
    file: Path,
    roles: tuple[str, ...],
    name: str | None,
    valid_from: datetime | None,
    valid_until: datetime | None,
    threshold: int | None,
    output: Path | None,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Trust the public key (or certificate) in FILE.

    The first key starts the trust file, unsigned where no --key is given; each later change needs --key.
    """
    from rmfab.signing.publickey import load_public_key
    from rmfab.signing.trust import Role, Trust, TrustedKey
    from rmfab.workspace import now

    workspace, key = trust_workspace(), load_public_key(file)
    old = workspace.trust
    there = old.find(key.id) if old is not None else None
    default = there.name if there is not None else re.sub(r"[^A-Za-z0-9._-]", "-", file.stem)[:64]
    new = TrustedKey(
        key,
        name or default,
        tuple(sorted(Role(role) for role in roles)),
        _utc(valid_from),
        _utc(valid_until),
    )
    changed = (old or Trust(0, now())).adding(new, now(), threshold)
    what = f"{new} may sign as {', '.join(new.roles)}"
    _change(workspace, old, changed, what, keys=keys, passphrase_file=passphrase_file, output=output)
    _tell(changed, as_json)


@command.command("remove")
@click.argument("key", metavar="NAME|ID")
@click.option("--reason", default="", help="Why; every refusal will say it.")
@_threshold_option
@_output_option
@key_option(required=True)
@_json_option
def remove(
    key: str,
    reason: str,
    threshold: int | None,
    output: Path | None,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    as_json: bool,
) -> None:
    """Revoke a key, by its name or the beginning of its id: nothing that it signed is taken any more.

    It stays in the trust file as revoked. `rmfab trace --signer ID` lists the units that got what it signed.
    """
    from rmfab.workspace import now

    workspace = trust_workspace()
    old = in_force(workspace)
    changed = old.revoking(key, reason, now(), threshold)
    what = f"{old.named(key)} is revoked"
    _change(workspace, old, changed, what, keys=keys, passphrase_file=passphrase_file, output=output)
    _tell(changed, as_json)


@command.command("sign")
@click.argument("file", type=_PATH)
@key_option(required=True)
@_json_option
def sign(file: Path, keys: tuple[str, ...], passphrase_file: Path | None, as_json: bool) -> None:
    """Agree to a change that another keeper wrote with --output: add a signature to FILE.

    Says first what it would change in the trust file of this workspace. Once enough have signed,
    `rmfab trust import FILE` puts it in force.
    """
    from rmfab.files import changing
    from rmfab.signing.judge_signatures import judge_proposal
    from rmfab.signing.trust import load_trust
    from rmfab.workspace import now

    old = in_force(trust_workspace())
    with changing(file) as path:
        envelope, new = load_trust(path)
        if new == old:
            terminal.say(f"version {new.version} of the trust file is in force already")
            _tell(new, as_json)
            return
        judge_proposal(old, envelope, new, now(), str(path))
        tell_changes(new, old)
        propose(path, old, signed_by(old, envelope, open_keys(keys, passphrase_file)), replaces=True)
    _tell(new, as_json)


@command.command("list")
@click.argument("file", type=_PATH, required=False)
@_json_option
def list_(file: Path | None, as_json: bool) -> None:
    """Show whom the workspace, or the trust file FILE, trusts."""
    from rmfab.signing.trust import load_trust
    from rmfab.workspace import now

    if file is None:
        workspace = trust_workspace()
        in_force(workspace)
        file = workspace.trust_path
    envelope, trust = load_trust(file)
    if as_json:
        terminal.document(_document(envelope, trust))
        return
    signers = [str(trust.find(one.key_id)) for one in envelope.signatures]
    terminal.data(f"version      {trust.version} of {trust.created:%Y-%m-%d %H:%M} UTC")
    terminal.data(f"fingerprint  {trust.fingerprint}")
    terminal.data(f"signed by    {', '.join(signers) or 'nobody'}")
    terminal.data("")
    rows: list[tuple[object, ...]] = [
        (one.name, one.id[:16], one.key.kind, ",".join(one.roles), _standing(one, now())) for one in trust.keys
    ]
    terminal.table(("name", "id", "kind", "roles", "standing"), rows)
    for role, number in sorted(trust.thresholds.items()):
        if number > 1:
            terminal.data(f"\n{number} keys of the role {role} must sign")


@command.command("import")
@click.argument("file", type=_PATH)
@click.option("--fingerprint", metavar="F", help="Of the first trust file, as its owner told you by another way.")
@click.option("--allow-downgrade", is_flag=True, help="Take a first one that is older than the one the ledger knows.")
@_json_option
def import_(file: Path, fingerprint: str | None, allow_downgrade: bool, as_json: bool) -> None:
    """Take over a trust file: the first by its fingerprint, a later one only if the one before signed it.

    The ledger remembers it, so that a first one is refused where a later one was in force here before; an owner who has
    begun anew is what --allow-downgrade is for.
    """
    from rmfab.signing.judge_signatures import judge_clock
    from rmfab.signing.trust import load_trust
    from rmfab.workspace import now

    workspace = trust_workspace()
    envelope, new = load_trust(file)
    old = workspace.trust
    if old == new:
        terminal.say(f"version {new.version} of the trust file is in force already")
        _tell(new, as_json)
        return
    if old is None:
        _compare(fingerprint or _asked_fingerprint(file), new, file)
        judge_clock(now(), new.created, "this trust file was made", str(file))
    signers = take(workspace, old, envelope, str(file), downgrade=allow_downgrade)
    told = f"signed by {', '.join(map(str, signers))}" if signers else "its fingerprint is right"
    terminal.say(f"version {new.version} of the trust file is in force: {told}")
    if old is not None:
        tell_changes(new, old)
    warn_of_unsigned(workspace)
    _tell(new, as_json)


@command.command("export")
@click.option("-o", "--output", type=_PATH, required=True, metavar="FILE", help="The file to write.")
@click.option("--force", is_flag=True, help="Replace another file.")
@_json_option
def export(output: Path, force: bool, as_json: bool) -> None:
    """Write the trust file for a station, and print the fingerprint to tell it by another way."""
    from rmfab.files import read_input, write_file

    workspace = trust_workspace()
    trust = in_force(workspace)
    write_file(output, read_input(workspace.trust_path), force=force or _is_earlier(output, trust))
    terminal.say(f"{output}: version {trust.version}; tell the station this fingerprint by another way than the file:")
    _tell(trust, as_json)


def _is_earlier(path: Path, trust: Trust) -> bool:
    """Whether an earlier version of *trust*, which it follows, stands in *path*: no loss."""
    from rmfab.signing.trust import load_trust

    try:
        there = load_trust(path)[1]
    except (InputError, IntegrityError):
        return False
    return there.version < trust.version and all(trust.find(one.id) for one in there.keys)


def _asked_fingerprint(file: Path) -> str:
    if not sys.stdin.isatty():
        raise InputError(
            "the first trust file is taken by its fingerprint, and there is no terminal to type it on",
            where=str(file),
            hint="--fingerprint F, as `rmfab trust export` printed it",
            cause="fingerprint",
        )
    text: str = click.prompt("Fingerprint, as the owner of the trust file told you", err=True)
    return text


def _compare(typed: str, new: Trust, file: Path) -> None:
    if re.sub(r"[^0-9a-f]", "", typed.lower()) != new.fingerprint.replace("-", ""):
        raise IntegrityError(
            "this is not the trust file of that fingerprint",
            where=str(file),
            hint="a typing error, or another file than its owner meant: ask them",
            cause="fingerprint",
        )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC)


def _standing(key: TrustedKey, now: datetime) -> str:
    if key.revoked is not None:
        return f"revoked {key.revoked.date()}" + (f": {key.reason}" if key.reason else "")
    if key.valid_until is not None and now >= key.valid_until:
        return f"expired {key.valid_until.date()}"
    if key.valid_from is not None and now < key.valid_from:
        return f"valid from {key.valid_from.date()}"
    return f"valid until {key.valid_until.date()}" if key.valid_until else "valid"


def _document(envelope: Envelope, trust: Trust) -> dict[str, Any]:
    """The document as it is signed, with its fingerprint and signers."""
    import json

    signers = [one.key_id for one in envelope.signatures]
    document: dict[str, Any] = json.loads(trust.payload)
    return {"fingerprint": trust.fingerprint, "signed_by": signers} | document


def _change(
    workspace: Workspace,
    old: Trust | None,
    new: Trust,
    what: str,
    *,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    output: Path | None,
) -> None:
    """Puts *new*, signed by *keys*, in the place of *old* and says *what* that means; with *output* proposes it."""
    if new == old:
        terminal.say(f"nothing to do: {what} already")
        return
    where = str(workspace.trust_path)
    if old is None and output is not None:
        raise InputError(
            "nobody is trusted here yet, so that nobody needs to agree", where=where, hint="without --output"
        )
    if old is not None and not keys:
        raise InputError(
            "a change of the trust file must be signed",
            where=where,
            hint=f"--key URI: {old.who_must_sign}",
            cause="unsigned",
        )
    signers = open_keys(keys, passphrase_file)
    if old is not None and output is not None:
        propose(output, old, signed_by(old, new.envelope, signers))
        return
    try:
        put_in_force(workspace, old, new, signers)
    except IntegrityError as error:
        if old is None or error.cause != "too-few-signatures":
            raise
        hint = f"{old.who_must_sign}: a --key for each, or --output FILE, which others can sign"
        raise IntegrityError(error.what, where=where, hint=hint, cause=error.cause) from None
    terminal.say(f"{what}; version {new.version} of the trust file is in force")
    if not keys:
        terminal.warn("this first trust file is signed by nobody; every later change needs --key")
    warn_of_unsigned(workspace)


def _tell(trust: Trust, as_json: bool) -> None:
    """Prints the fingerprint, or with it the version."""
    if as_json:
        terminal.document(trust.summary)
    else:
        terminal.data(trust.fingerprint)
