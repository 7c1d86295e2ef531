"""Releases as commands take them: opened, and judged by whom this station trusts."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmfab.commands import terminal
from rmfab.errors import InputError, IntegrityError

if TYPE_CHECKING:
    from rmfab.ledger.events import StoredEvent
    from rmfab.release.acceptance import Accepted, LastAccepted
    from rmfab.release.bundle import Bundle
    from rmfab.release.release import Release
    from rmfab.signing.trust import Trust
    from rmfab.workspace import Workspace

trust_option = click.option(
    "--trust",
    "trust_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Judge by this trust file (default: the workspace's).",
)
unknown_option = click.option(
    "--allow-unknown-signers",
    "allow_unknown",
    is_flag=True,
    help="Overlook signatures by keys that nobody here knows; those of trusted ones must still be enough.",
)
downgrade_option = click.option(
    "--allow-downgrade",
    is_flag=True,
    help="Take a release older than the last one; asked again on a terminal, and the ledger remembers it.",
)


def nearest_workspace() -> Workspace | None:
    """The workspace, None where this command line is in none and names none."""
    from rmfab.workspace import open_workspace

    try:
        return open_workspace(terminal.folder())
    except InputError as error:
        if error.cause == "no-workspace":
            return None
        raise


def accepted_for_all(path: Path, *, trust: Path | None, allow_unknown: bool) -> Accepted:
    """The release in *path*, judged as `judged` does it; where the workspace trusts somebody, allow_unsigned, which is
    for a bench of one's own, lets nothing out."""
    from rmfab.release.opening import open_unparsed

    release, workspace = open_unparsed(path), nearest_workspace() if trust is None else None
    trusted = trusted_in(workspace) if workspace is not None else None
    if trusted is not None:
        return _judge(release, trusted, None, allow_unknown)
    return judged(release, trust=trust, allow_unknown=allow_unknown)


def judged(release: Bundle | Release, *, trust: Path | None, allow_unknown: bool) -> Accepted:
    """What was opened, judged by the file *trust*, else by the workspace.

    In no workspace and without a trust file signatures are not asked for, and that is said. Raises IntegrityError
    where it is not trusted.
    """
    from rmfab.signing.trust import load_trust

    if trust is not None:
        return _judge(release, load_trust(trust)[1], None, allow_unknown)
    workspace = nearest_workspace()
    if workspace is not None:
        return judged_in(workspace, release, allow_unknown=allow_unknown)
    return _judge(release, None, "--trust FILE asks for signatures", allow_unknown)


def judged_in(workspace: Workspace, release: Bundle | Release, *, allow_unknown: bool) -> Accepted:
    """What was opened, judged by whom *workspace* trusts and what its product allows. Raises IntegrityError."""
    allowed = "allow_unsigned in product.toml lets it pass" if workspace.product.release.allow_unsigned else None
    return _judge(release, trusted_in(workspace), allowed, allow_unknown)


def trusted_in(workspace: Workspace) -> Trust | None:
    """Whom *workspace* trusts. Raises IntegrityError where its ledger knows a newer trust file."""
    trust = workspace.trust
    if trust is not None:
        refuse_older(workspace, trust, str(workspace.trust_path))
    return trust


def refuse_older(workspace: Workspace, trust: Trust, where: str) -> None:
    """Raises IntegrityError where the ledger of *workspace* knows a newer trust file than *trust*."""
    from rmfab.release.acceptance import judge_trust

    known = workspace.ledger.last_trust(workspace.product.name) if workspace.has_ledger else None
    judge_trust(trust, known.event.details if known else None, where)


def note_trust(workspace: Workspace, *, downgrade: bool = False) -> None:
    """Lets the ledger know the trust file in force, if that is news; with *downgrade* also where it knew a newer one.

    Raises IntegrityError where it does.
    """
    from rmfab.ledger.events import Event, EventKind, timestamp
    from rmfab.release.acceptance import judge_trust
    from rmfab.workspace import now

    trust, product, noted = workspace.trust, workspace.product.name, False
    while trust is not None and workspace.has_ledger and not noted:  # again where another station was faster
        before = workspace.ledger.last_trust(product)
        known = before.event.details if before is not None else None
        cause = None
        try:
            judge_trust(trust, known, str(workspace.trust_path))
        except IntegrityError as refusal:
            if not downgrade:
                raise
            cause = refusal.cause
        details = trust.summary | {"product": product}
        if known is not None and details.items() <= known.items():
            return
        event = Event(timestamp(now()), EventKind.TRUST, cause=cause, details=details)
        noted = workspace.ledger.accept(workspace.station.name, event, after=before)


def _judge(
    release: Bundle | Release, trust: Trust | None, unsigned_because: str | None, allow_unknown: bool
) -> Accepted:
    """The judgement, told: who vouches, or why nobody needs to."""
    from rmfab.release.acceptance import judge_release
    from rmfab.workspace import now

    allowed = unsigned_because is not None
    verdict = judge_release(release, trust, now(), allow_unsigned=allowed, allow_unknown=allow_unknown)
    if verdict.signers:
        names = ", ".join(map(str, verdict.signers))
        terminal.say(f"release {verdict.release.name}, seq {verdict.release.seq}, signed by {names}")
    elif verdict.unchecked:
        terminal.warn(
            "the signatures were not judged: there is no trust file here (--trust FILE, `rmfab trust import`)"
        )
    else:
        terminal.warn(f"nobody has signed this release; {unsigned_because}")
    return verdict


def judge_again(workspace: Workspace, verdict: Accepted, *, allow_unknown: bool) -> None:
    """Raises IntegrityError where whom *workspace* trusts by now would not vouch for the release any more."""
    from rmfab.release import acceptance
    from rmfab.workspace import now

    acceptance.judge_again(verdict, trusted_in(workspace), now(), allow_unknown=allow_unknown)


def accept(workspace: Workspace, verdict: Accepted, *, allow_downgrade: bool) -> None:
    """Lets the ledger accept a release that is about to be flashed, and know the trust file in force.

    Raises IntegrityError where it would be a step back and that is not meant.
    """
    note_trust(workspace)
    while not _accept(workspace, verdict, allow_downgrade):
        pass  # another station accepted one meanwhile: judge again by that


def _accept(workspace: Workspace, verdict: Accepted, allow_downgrade: bool) -> bool:
    """Puts an acceptance that is news into the ledger; returns False where it was judged by an old last one."""
    from rmfab.ledger.events import Event, EventKind, timestamp
    from rmfab.release.acceptance import event_details, judge_order
    from rmfab.workspace import now

    product = workspace.product.name
    before = workspace.ledger.last_release(product)
    last = _last(before)
    refusals = judge_order(verdict.release, last, now())
    for refusal in refusals:
        if not (allow_downgrade and _confirmed(refusal.what)):
            raise refusal
    details = event_details(verdict, product, last, downgrade=bool(refusals))
    if before is not None and details.items() <= before.event.details.items():
        return True
    cause, reason = ("downgrade", "; ".join(one.what for one in refusals)) if refusals else (None, None)
    event = Event(timestamp(now()), EventKind.RELEASE, cause=cause, reason=reason, details=details)
    return workspace.ledger.accept(workspace.station.name, event, after=before)


def _last(event: StoredEvent | None) -> LastAccepted | None:
    from rmfab.release.acceptance import LastAccepted

    if event is None:
        return None
    when = datetime.strptime(event.event.ts, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return LastAccepted.from_details(event.event.details, when)


def _confirmed(what: str) -> bool:
    """Asks on a terminal; elsewhere --allow-downgrade is the answer."""
    if not sys.stdin.isatty():
        terminal.warn(f"a step back, as --allow-downgrade says: {what}")
        return True
    return click.confirm(f"{what}. Take it all the same?", err=True)
