"""`rmfab trace`: a unit's story, or the units that got a release."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmfab.errors import InputError

if TYPE_CHECKING:
    from rmfab.workspace import Workspace


_HEX = re.compile(r"[0-9a-f]{64}")


@click.command("trace")
@click.argument("unit", metavar="[SERIAL|NODE_ID|MAC]", required=False)
@click.option("--release", metavar="FILE|DIGEST", help="List the units that were flashed with this release.")
@click.option("--signer", metavar="KEY", help="List the units that got a release signed by this key: name, id or .pub.")
@click.option("--json", "json_wanted", is_flag=True, help="Print one JSON document.")
def command(unit: str | None, release: str | None, signer: str | None, json_wanted: bool) -> None:
    """Tell everything that happened to a unit: its identity, its board, every step with its reason and log.

    Or list the units that a release went to: which of them must be recalled, which have got another one since.

    \b
    rmfab trace LMP-000017
    rmfab trace --release lamp-1.4.0.rmfab
    rmfab trace --signer ci                what a leaked key has signed, and where it is
    """
    from rmfab.commands import terminal
    from rmfab.workspace import open_workspace

    if sum(one is not None for one in (unit, release, signer)) != 1:
        raise click.UsageError("a unit, or --release, or --signer")
    workspace = open_workspace(terminal.folder())
    if unit is not None:
        _tell_unit(workspace, unit, json_wanted)
    elif release is not None:
        _tell_flashed(workspace, "digest", _digest(release), json_wanted)
    else:
        _tell_flashed(workspace, "signer", _key_id(workspace, signer or ""), json_wanted)


def _tell_unit(workspace: Workspace, unit: str, json_wanted: bool) -> None:
    from rmfab.commands import terminal
    from rmfab.report import trace

    identities, events = workspace.ledger.find(unit), workspace.ledger.history(unit)
    if not identities and not events:
        raise InputError(f'nothing in the ledger is called "{unit}"', hint="give a serial, a node id or a MAC")
    if json_wanted:
        terminal.document(trace.as_json(identities, events))
        return
    for line in trace.as_lines(identities, events):
        terminal.data(line)


def _tell_flashed(workspace: Workspace, what: str, digest: str, json_wanted: bool) -> None:
    from rmfab.commands import terminal
    from rmfab.report import flashed_units

    found = workspace.ledger.flashed_units(digest)
    if json_wanted:
        terminal.document({what: digest, "units": [flashed_units.as_json(one) for one in found]})
        return
    rows = [flashed_units.as_row(one) for one in found]
    if rows:
        terminal.table(flashed_units.HEAD, rows)
    terminal.say(f"{terminal.counted(len(rows), 'unit')} in this ledger")


def _digest(release: str) -> str:
    """The digest itself, or that of the release in a file or folder; nobody's signature is asked for."""
    from rmfab.release.opening import open_release

    path = Path(release)
    if path.exists():
        return open_release(path).digest
    if not _HEX.fullmatch(release.lower()):
        raise InputError(
            "there is no such file, and it is no digest", where=release, hint="a bundle, or the 64 hex digits of one"
        )
    return release.lower()


def _key_id(workspace: Workspace, signer: str) -> str:
    """The id of a key by its name or id in the trust file, revoked or not, or of the public key in a file."""
    from rmfab.signing.publickey import load_public_key

    if Path(signer).exists():
        return load_public_key(Path(signer)).id
    trust = workspace.trust
    ids = {one.id for one in trust.meant(signer)} if trust is not None else set()
    if len(ids) > 1:
        raise InputError(f'"{signer}" names {len(ids)} keys', hint="give the id; `rmfab trust list` shows it")
    if not ids and not _HEX.fullmatch(signer.lower()):
        raise InputError(
            f'no key is called "{signer}" here',
            hint="a name or 8 digits of an id of `rmfab trust list`, a .pub, or a whole id",
        )
    return ids.pop() if ids else signer.lower()
