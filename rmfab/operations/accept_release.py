"""Releases as operations take them: opened, judged by whom this station trusts, and accepted by the ledger.

There is one way to a release that may be flashed: `accept_release`. The functions before it judge one that is only
looked at, published or verified.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rmfab.errors import IntegrityError
from rmfab.ledger.events import Event, EventKind, StoredEvent, timestamp
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.release import acceptance
from rmfab.release.acceptance import Accepted, LastAccepted, event_details, judge_order, judge_release, judge_trust
from rmfab.release.bundle import Bundle
from rmfab.release.opening import open_unparsed
from rmfab.release.preflight import preflight
from rmfab.release.release import Release
from rmfab.signing.trust import Trust, load_trust
from rmfab.workspace.workspace import Workspace, now


@dataclass(frozen=True)
class TrustChoice:
    """By whom a release is judged: the trust *file*, else the workspace's; with *allow_unknown* signatures by keys that
    nobody here knows are overlooked."""

    file: Path | None = None
    allow_unknown: bool = False


@dataclass(frozen=True)
class AcceptRequest:
    """The release in *path*, None for the product's; *allow_downgrade* takes one that is a step back."""

    path: Path | None = None
    allow_unknown: bool = False
    allow_downgrade: bool = False


def accept_release(workspace: Workspace, request: AcceptRequest, terminal: Terminal = UNATTENDED) -> Accepted:
    """The release that *request* names, opened, judged, checked against the product and accepted by the ledger.

    Raises IntegrityError where it is not trusted, altered, or a step back that is not meant; InputError where it would
    brick or confuse a board.
    """
    accepted = judge_for_line(workspace, request, terminal)
    record_acceptance(workspace, accepted, request, terminal)
    return accepted


def judge_for_line(workspace: Workspace, request: AcceptRequest, terminal: Terminal) -> Accepted:
    """As `accept_release`, but the ledger does not accept it yet: nothing may be flashed."""
    opened = open_unparsed(workspace.release_path(request.path))
    accepted = judge_in(workspace, opened, TrustChoice(allow_unknown=request.allow_unknown), terminal)
    preflight(accepted.release, workspace.product)
    return accepted


def judge_for_all(path: Path, workspace: Workspace | None, choice: TrustChoice, terminal: Terminal) -> Accepted:
    """The release in *path*, judged as `judge_opened` does it, for everybody's devices.

    Where the workspace trusts somebody, allow_unsigned, which is for a bench of one's own, lets nothing out.
    """
    opened = open_unparsed(path)
    trust = trust_in(workspace) if workspace is not None and choice.file is None else None
    if trust is not None:
        return _judge(opened, trust, None, choice, terminal)
    return judge_opened(opened, workspace, choice, terminal)


def judge_opened(
    opened: Bundle | Release, workspace: Workspace | None, choice: TrustChoice, terminal: Terminal
) -> Accepted:
    """What was opened, judged by the trust file of *choice*, else by the workspace.

    In no workspace and without a trust file signatures are not asked for, and that is said. Raises IntegrityError
    where it is not trusted.
    """
    if choice.file is not None:
        return _judge(opened, load_trust(choice.file)[1], None, choice, terminal)
    if workspace is not None:
        return judge_in(workspace, opened, choice, terminal)
    return _judge(opened, None, "--trust FILE asks for signatures", choice, terminal)


def judge_in(workspace: Workspace, opened: Bundle | Release, choice: TrustChoice, terminal: Terminal) -> Accepted:
    """What was opened, judged by whom *workspace* trusts and what its product allows. Raises IntegrityError."""
    allowed = "allow_unsigned in product.toml lets it pass" if workspace.product.release.allow_unsigned else None
    return _judge(opened, trust_in(workspace), allowed, choice, terminal)


def judge_again(workspace: Workspace, accepted: Accepted, *, allow_unknown: bool) -> None:
    """Raises IntegrityError where whom *workspace* trusts by now would not vouch for the release any more."""
    acceptance.judge_again(accepted, trust_in(workspace), workspace.now(), allow_unknown=allow_unknown)


def trust_in(workspace: Workspace) -> Trust | None:
    """Whom *workspace* trusts. Raises IntegrityError where its ledger knows a newer trust file."""
    trust = workspace.trust
    if trust is not None:
        refuse_older(workspace, trust, str(workspace.trust_path))
    return trust


def refuse_older(workspace: Workspace, trust: Trust, where: str) -> None:
    """Raises IntegrityError where the ledger of *workspace* knows a newer trust file than *trust*."""
    known = workspace.ledger.last_trust(workspace.product.name) if workspace.has_ledger else None
    judge_trust(trust, known.event.details if known else None, where)


def record_trust(workspace: Workspace, *, downgrade: bool = False) -> None:
    """Lets the ledger know the trust file in force, if that is news; with *downgrade* also where it knew a newer one.

    Raises IntegrityError where it does.
    """
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
        event = Event(timestamp(workspace.now()), EventKind.TRUST, cause=cause, details=details)
        noted = workspace.ledger.accept(workspace.station.name, event, after=before)


def record_acceptance(workspace: Workspace, accepted: Accepted, request: AcceptRequest, terminal: Terminal) -> None:
    """Lets the ledger accept a release that is about to be flashed, and know the trust file in force.

    Raises IntegrityError where it would be a step back and that is not meant.
    """
    record_trust(workspace)
    while not _record(workspace, accepted, request, terminal):
        pass  # another station accepted one meanwhile: judge again by that


def _record(workspace: Workspace, accepted: Accepted, request: AcceptRequest, terminal: Terminal) -> bool:
    """Puts an acceptance that is news into the ledger; returns False where it was judged by an old last one."""
    product = workspace.product.name
    before = workspace.ledger.last_release(product)
    last = _last(before)
    refusals = judge_order(accepted.release, last, workspace.now())
    for refusal in refusals:
        if not (request.allow_downgrade and _confirmed(refusal.what, terminal)):
            raise refusal
    details = event_details(accepted, product, last, downgrade=bool(refusals))
    if before is not None and details.items() <= before.event.details.items():
        return True
    cause, reason = ("downgrade", "; ".join(one.what for one in refusals)) if refusals else (None, None)
    event = Event(timestamp(workspace.now()), EventKind.RELEASE, cause=cause, reason=reason, details=details)
    return workspace.ledger.accept(workspace.station.name, event, after=before)


def _last(event: StoredEvent | None) -> LastAccepted | None:
    if event is None:
        return None
    when = datetime.strptime(event.event.ts, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    return LastAccepted.from_details(event.event.details, when)


def _confirmed(what: str, terminal: Terminal) -> bool:
    """Asks on a terminal; elsewhere --allow-downgrade is the answer."""
    if not terminal.interactive:
        terminal.warn(f"a step back, as --allow-downgrade says: {what}")
        return True
    return terminal.confirm(f"{what}. Take it all the same?")


def _judge(
    opened: Bundle | Release,
    trust: Trust | None,
    unsigned_because: str | None,
    choice: TrustChoice,
    terminal: Terminal,
) -> Accepted:
    """The judgement, told: who vouches, or why nobody needs to."""
    allowed = unsigned_because is not None
    accepted = judge_release(opened, trust, now(), allow_unsigned=allowed, allow_unknown=choice.allow_unknown)
    if accepted.signers:
        names = ", ".join(map(str, accepted.signers))
        terminal.say(f"release {accepted.release.name}, seq {accepted.release.seq}, signed by {names}")
    elif accepted.unchecked:
        terminal.warn(
            "the signatures were not judged: there is no trust file here (--trust FILE, `rmfab trust import`)"
        )
    else:
        terminal.warn(f"nobody has signed this release; {unsigned_because}")
    return accepted
