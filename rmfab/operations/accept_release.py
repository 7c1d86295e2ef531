"""Releases: opened, judged by the trust file, and accepted by the ledger.

`accept_release` is the only way to a release that may be flashed. The other functions judge a release that is only
shown, published or verified.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from rmfab.errors import IntegrityError
from rmfab.ledger.events import Event, EventKind, StoredEvent, timestamp
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.release import acceptance
from rmfab.release.acceptance import Accepted, LastAccepted, event_details, judge_order, judge_release, judge_trust
from rmfab.release.bundle import Bundle
from rmfab.release.doubts import doubts_about
from rmfab.release.opening import open_unparsed
from rmfab.release.preflight import preflight
from rmfab.release.release import Release
from rmfab.signing.trust import Trust, load_trust
from rmfab.workspace.workspace import Workspace, now


@dataclass(frozen=True)
class TrustChoice:
    """The trust file that judges a release: *file*, else the workspace's. *allow_unknown* ignores signatures by unknown
    keys."""

    file: Path | None = None
    allow_unknown: bool = False


@dataclass(frozen=True)
class AcceptRequest:
    """The release in *path*, None for the product's; *allow_downgrade* accepts an older one than the last."""

    path: Path | None = None
    allow_unknown: bool = False
    allow_downgrade: bool = False


def accept_release(workspace: Workspace, request: AcceptRequest, terminal: Terminal = UNATTENDED) -> Accepted:
    """Open the release of *request*, judge it, check it against the product and record its acceptance in the ledger.

    Raise IntegrityError if it is not trusted, was altered, or is a downgrade that is not allowed; InputError if it
    would brick a board or does not fit the product.
    """
    accepted = judge_for_line(workspace, request, terminal)
    record_acceptance(workspace, accepted, request, terminal)
    return accepted


def judge_for_line(workspace: Workspace, request: AcceptRequest, terminal: Terminal) -> Accepted:
    """Judge a release as `accept_release` does, without recording its acceptance: it must not be flashed yet."""
    opened = open_unparsed(workspace.release_path(request.path))
    accepted = judge_in(workspace, opened, TrustChoice(allow_unknown=request.allow_unknown), terminal)
    preflight(accepted.release, workspace.product)
    warn_of_doubts(accepted.release, workspace, terminal)
    return accepted


def warn_of_doubts(release: Release, workspace: Workspace | None, terminal: Terminal) -> None:
    """Print what is doubtful about a release, but no reason to refuse it."""
    for doubt in doubts_about(release, workspace.product if workspace is not None else None):
        terminal.warn(doubt.what, doubt.hint)


def judge_for_all(path: Path, workspace: Workspace | None, choice: TrustChoice, terminal: Terminal) -> Accepted:
    """Judge the release in *path* as `judge_opened` does, for devices in the field.

    If the workspace has a trust file, allow_unsigned does not apply: it is meant for a bench only.
    """
    opened = open_unparsed(path)
    trust = trust_in(workspace) if workspace is not None and choice.file is None else None
    if trust is not None:
        return _judge(opened, trust, None, choice, terminal)
    return judge_opened(opened, workspace, choice, terminal)


def judge_opened(
    opened: Bundle | Release, workspace: Workspace | None, choice: TrustChoice, terminal: Terminal
) -> Accepted:
    """Judge an opened release by the trust file of *choice*, else by the workspace's.

    Without a workspace and a trust file, signatures are not required, and a warning says so. Raise IntegrityError if
    the release is not trusted.
    """
    if choice.file is not None:
        trust = replace(load_trust(choice.file)[1], file=str(choice.file))
        return _judge(opened, trust, None, choice, terminal)
    if workspace is not None:
        return judge_in(workspace, opened, choice, terminal)
    return _judge(opened, None, "--trust FILE requires signatures", choice, terminal)


def judge_in(workspace: Workspace, opened: Bundle | Release, choice: TrustChoice, terminal: Terminal) -> Accepted:
    """Judge an opened release by the trust file of *workspace* and what its product allows. Raise IntegrityError."""
    allowed = "allow_unsigned in product.toml accepts it" if workspace.product.release.allow_unsigned else None
    return _judge(opened, trust_in(workspace), allowed, choice, terminal)


def judge_again(workspace: Workspace, accepted: Accepted, *, allow_unknown: bool) -> None:
    """Raise IntegrityError if the trust file of *workspace* no longer accepts the signatures of the release."""
    acceptance.judge_again(accepted, trust_in(workspace), workspace.now(), allow_unknown=allow_unknown)


def trust_in(workspace: Workspace) -> Trust | None:
    """Return the trust of *workspace*, None if there is none. Raise IntegrityError if its ledger has a newer one."""
    trust = workspace.trust
    if trust is not None:
        refuse_older(workspace, trust, str(workspace.trust_path))
    return trust


def refuse_older(workspace: Workspace, trust: Trust, where: str) -> None:
    """Raise IntegrityError if the ledger of *workspace* has recorded a newer trust file than *trust*."""
    known = workspace.inquiry.last_trust(workspace.product.name) if workspace.has_ledger else None
    judge_trust(trust, known.event.details if known else None, where)


def record_trust(workspace: Workspace, *, downgrade: bool = False) -> None:
    """Record the trust file in force in the ledger, unless it is recorded already.

    Raise IntegrityError if the ledger has recorded a newer one and *downgrade* is not given.
    """
    trust, product, noted = workspace.trust, workspace.product.name, False
    while trust is not None and workspace.has_ledger and not noted:  # retry if a different station was faster
        before = workspace.inquiry.last_trust(product)
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


def judge_downgrade(workspace: Workspace, release: Release) -> None:
    """Raise IntegrityError if *release* is older than the last one that the ledger of *workspace* accepted."""
    last = _last(workspace.inquiry.last_release(workspace.product.name))
    for refusal in judge_order(release, last, workspace.now()):
        raise refusal


def record_acceptance(workspace: Workspace, accepted: Accepted, request: AcceptRequest, terminal: Terminal) -> None:
    """Record in the ledger that a release is about to be flashed, and the trust file in force.

    Raise IntegrityError if it is a downgrade that is not allowed.
    """
    record_trust(workspace)
    while not _record(workspace, accepted, request, terminal):
        pass  # a different station has accepted one since: judge against that


def _record(workspace: Workspace, accepted: Accepted, request: AcceptRequest, terminal: Terminal) -> bool:
    """Record the acceptance, unless it is recorded; return False if the last accepted release has changed since."""
    product = workspace.product.name
    before = workspace.inquiry.last_release(product)
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
    return LastAccepted.from_details(event.event.details, datetime.fromisoformat(event.event.ts))


def _confirmed(what: str, terminal: Terminal) -> bool:
    """Ask on a terminal; without one, --allow-downgrade is the answer."""
    if not terminal.interactive:
        terminal.warn(f"downgrade accepted (--allow-downgrade): {what}")
        return True
    return terminal.confirm(f"{what}; accept it anyway?")


def _judge(
    opened: Bundle | Release,
    trust: Trust | None,
    unsigned_because: str | None,
    choice: TrustChoice,
    terminal: Terminal,
) -> Accepted:
    """Judge the release and report who signed it, or why no signature is required."""
    allowed = unsigned_because is not None
    accepted = judge_release(opened, trust, now(), allow_unsigned=allowed, allow_unknown=choice.allow_unknown)
    if accepted.signers:
        names = ", ".join(map(str, accepted.signers))
        terminal.say(f"release {accepted.release.name}, seq {accepted.release.seq}, signed by {names}")
    elif accepted.unchecked:
        terminal.warn("signatures are not checked: there is no trust file here (--trust FILE, `rmfab trust import`)")
    else:
        terminal.warn(f"this release is not signed; {unsigned_because}")
    return accepted
