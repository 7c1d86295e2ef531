"""`rmfab trust`: choose whose releases this station accepts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import FILE, key_option, output_option

if TYPE_CHECKING:
    from rmfab.signing.dsse import Envelope
    from rmfab.signing.trust import Trust, TrustedKey
    from rmfab.workspace.workspace import Workspace

_DAY = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"])
ROLES = ("release", "ca", "station", "trust")
_threshold_option = click.option(
    "--threshold", type=click.IntRange(1, 32), help="Number of keys of the role that must sign from now on."
)
_proposal_option = click.option(
    "-o", "--output", type=FILE, metavar="FILE",
    help="Write the change for others to sign, without putting it in force.",
)  # fmt: skip


@click.group("trust", cls=Branch)
def command() -> None:
    """Choose whose releases this station accepts.

    Each version of the trust file must be signed by keys of the previous version: those of the role trust, or if there
    are none, those of the role release. The workspace keeps it as keys/trust.json.

    \b
    rmfab trust add release.pub --role release
    rmfab trust export -o trust.json   at the owner's desk; prints the fingerprint
    rmfab trust import trust.json      at the factory; asks for the fingerprint

    If two keepers must agree, each signs with their own key:

    \b
    rmfab trust remove ci -o change.json --key first.key
    rmfab trust sign change.json --key second.key
    """


@command.command("add")
@click.argument("file", type=FILE)
@click.option(
    "--role", "roles", type=click.Choice(ROLES), multiple=True, required=True, help="What the key may sign; repeatable."
)
@click.option("--name", help="Name of the key (default: the file's name).")
@click.option("--valid-from", type=_DAY, metavar="DATE", help="First day on which the key is valid (UTC).")
@click.option("--valid-until", type=_DAY, metavar="DATE", help="Day from which the key is no longer valid (UTC).")
@_threshold_option
@_proposal_option
@key_option(required=False)
def add(
    roles: tuple[str, ...],
    valid_from: datetime | None,
    valid_until: datetime | None,
    output: Path | None,
    keys: tuple[str, ...],
    passphrase_file: Path | None,
    **options: Any,
) -> None:
    """Trust the public key or certificate in FILE.

    The first key creates the trust file, unsigned unless --key is given; every later change requires --key.
    """
    from rmfab.operations.change_trust import TrustKeyRequest, TrustSigning, change_trust
    from rmfab.operations.signing_keys import KeyChoice
    from rmfab.signing.trust import Role

    request = TrustKeyRequest(
        roles=tuple(map(Role, roles)), valid_from=_utc(valid_from), valid_until=_utc(valid_until), **options
    )
    signing = TrustSigning(KeyChoice(keys, passphrase_file), output)
    _show(change_trust(_workspace(), request, signing, terminal.TERMINAL))


@command.command("remove")
@click.argument("key", metavar="NAME|ID")
@click.option("--reason", default="", help="Reason; shown whenever the key is rejected.")
@_threshold_option
@_proposal_option
@key_option(required=True)
def remove(output: Path | None, keys: tuple[str, ...], passphrase_file: Path | None, **options: Any) -> None:
    """Revoke a key by its name or the start of its id.

    Releases with its signature are rejected from then on; `rmfab trace --signer ID` lists the units that got them. The
    key stays in the trust file as revoked.
    """
    from rmfab.operations.change_trust import RevokeKeyRequest, TrustSigning, change_trust
    from rmfab.operations.signing_keys import KeyChoice

    signing = TrustSigning(KeyChoice(keys, passphrase_file), output)
    _show(change_trust(_workspace(), RevokeKeyRequest(**options), signing, terminal.TERMINAL))


@command.command("sign")
@click.argument("file", type=FILE)
@key_option(required=True)
def sign(file: Path, keys: tuple[str, ...], passphrase_file: Path | None) -> None:
    """Sign a change of the trust file that a keeper proposed.

    FILE was written with --output. Prints what it would change before it signs. When enough keepers have signed,
    `rmfab trust import FILE` puts it in force.
    """
    from rmfab.operations.change_trust import sign_trust
    from rmfab.operations.signing_keys import KeyChoice

    _show(sign_trust(_workspace(), file, KeyChoice(keys, passphrase_file), terminal.TERMINAL))


@command.command("list")
@click.argument("file", type=FILE, required=False)
def list_(file: Path | None) -> None:
    """List the keys of the workspace's trust file, or of FILE."""
    from rmfab.operations.change_trust import trust_in_force
    from rmfab.signing.trust import load_trust
    from rmfab.workspace.workspace import now

    if file is None:
        workspace = _workspace()
        trust_in_force(workspace)
        file = workspace.trust_path
    envelope, trust = load_trust(file)
    if terminal.json_wanted():
        terminal.document(_document(envelope, trust))
        return
    signers = [str(trust.find(one.key_id)) for one in envelope.signatures]
    terminal.data(f"version      {trust.version} of {trust.created:%Y-%m-%d %H:%M} UTC")
    terminal.data(f"fingerprint  {trust.fingerprint}")
    terminal.data(f"signed by    {', '.join(signers) or 'no one'}")
    terminal.data("")
    rows: list[tuple[object, ...]] = [
        (one.name, one.id[:16], one.key.kind, ",".join(one.roles), _standing(one, now())) for one in trust.keys
    ]
    terminal.table(("name", "id", "kind", "roles", "standing"), rows)
    for role, number in sorted(trust.thresholds.items()):
        if number > 1:
            terminal.data(f"\n{number} keys of the role {role} must sign")


@command.command("import")
@click.argument("file", type=FILE)
@click.option(
    "--fingerprint", metavar="F", help="Fingerprint of the first trust file, received over a separate channel."
)
@click.option("--allow-downgrade", is_flag=True, help="Accept a first trust file older than the one in the ledger.")
def import_(file: Path, fingerprint: str | None, allow_downgrade: bool) -> None:
    """Import a trust file and put it in force.

    The first one is accepted by its fingerprint, a later one only if keepers of the previous version signed it. The
    ledger records each, and rejects one older than the last. Use --allow-downgrade if the owner has started over.
    """
    from rmfab.operations.change_trust import import_trust

    workspace = _workspace()
    _show(import_trust(workspace, file, fingerprint, terminal.TERMINAL, allow_downgrade=allow_downgrade))


@command.command("export")
@output_option
@click.option("--force", is_flag=True, help="Replace an existing file.")
def export(output: Path, force: bool) -> None:
    """Write the trust file, and print its fingerprint.

    Send the fingerprint to the station over a separate channel, such as the phone.
    """
    from rmfab.operations.change_trust import export_trust

    trust = export_trust(_workspace(), output, force=force)
    terminal.say(
        f"{output}: version {trust.version}; send this fingerprint over a separate channel, such as the phone:"
    )
    _show(trust)


def _workspace() -> Workspace:

    return terminal.workspace()


def _show(trust: Trust) -> None:
    """Print the fingerprint; with --json also the version."""
    terminal.show(trust.summary, trust.fingerprint)


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
    """Return the signed document with its fingerprint and signers."""
    import json

    signers = [one.key_id for one in envelope.signatures]
    document: dict[str, Any] = json.loads(trust.payload)
    return {"fingerprint": trust.fingerprint, "signed_by": signers} | document
