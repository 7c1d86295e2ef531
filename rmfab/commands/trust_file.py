"""The trust file of a workspace as commands change it: proposed, signed by its keepers, put in force."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rmfab.commands import terminal
from rmfab.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from rmfab.signing.dsse import Envelope
    from rmfab.signing.signer import Signer
    from rmfab.signing.trust import Trust, TrustedKey
    from rmfab.workspace import Workspace


def trust_workspace() -> Workspace:
    """The workspace whose trust file is meant. Raises InputError where there is none."""
    from rmfab.workspace import open_workspace

    return open_workspace(terminal.folder())


def in_force(workspace: Workspace) -> Trust:
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


def signed_by(keepers_of: Trust, envelope: Envelope, signers: list[Signer]) -> Envelope:
    """The trust file in *envelope*, signed by *signers* too. Raises IntegrityError for one that keeps it not."""
    from rmfab.signing.publickey import short

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


def put_in_force(workspace: Workspace, old: Trust | None, new: Trust, signers: list[Signer]) -> None:
    """Writes *new*, signed by *signers*, where it may follow *old*. Raises IntegrityError where it may not."""
    from rmfab.signing.judge_signatures import judge_signatures
    from rmfab.signing.trust import PAYLOAD_TYPE
    from rmfab.workspace import now

    where = str(workspace.trust_path)
    envelope = signed_by(old or new, new.envelope, signers)
    if old is None and signers:
        judge_signatures(envelope, PAYLOAD_TYPE, new, new.keepers, now(), where=where)
    take(workspace, old, envelope, where)


def take(
    workspace: Workspace, old: Trust | None, envelope: Envelope, where: str, *, downgrade: bool = False
) -> tuple[TrustedKey, ...]:
    """Puts *envelope*, as it reads back, in the place of *old*, lets the ledger know, and returns the keepers of *old*
    who signed it. *downgrade*: also where the ledger knows a newer one.

    Raises IntegrityError where it may not follow, InputError where something else has followed already.
    """
    from rmfab.commands.judging import note_trust, refuse_older
    from rmfab.files import locked, make_folder, write_file
    from rmfab.signing.judge_signatures import judge_successor
    from rmfab.signing.trust import read_envelope
    from rmfab.workspace import now

    path, data = workspace.trust_path, envelope.encode()
    new = read_envelope(data, where)[1]
    signers = () if old is None else judge_successor(old, envelope, new, now(), where)
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
    note_trust(workspace, downgrade=downgrade)
    return signers


def propose(path: Path, old: Trust, envelope: Envelope, *, replaces: bool = False) -> None:
    """Writes a change of *old* for its keepers to sign, and says whether enough have.

    Raises IntegrityError where it could never follow, InputError where another file stands there.
    """
    from rmfab.files import write_file
    from rmfab.signing.judge_signatures import judge_proposal
    from rmfab.signing.trust import read_envelope
    from rmfab.workspace import now

    data = envelope.encode()
    new = read_envelope(data, str(path))[1]
    enough = judge_proposal(old, envelope, new, now(), str(path))
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


def tell_changes(new: Trust, old: Trust) -> None:
    """Says what *new* does beside *old*."""
    for line in new.changes_since(old) or ("changes nothing",):
        terminal.say(f"it {line}")


def warn_of_unsigned(workspace: Workspace) -> None:
    """Warns where the product lets unsigned releases pass whatever the trust file says."""
    if workspace.product.release.allow_unsigned:
        terminal.warn(
            "product.toml says allow_unsigned = true: what nobody has signed is still taken here. Remove that line"
        )
