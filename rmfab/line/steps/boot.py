"""The step `boot`: restart the unit into its firmware and judge its boot log.

Firmware without a log proves its boot by offering provisioning, and the console is read for symptoms only.
"""

from __future__ import annotations

from rmfab.board.bootlog import BootLog
from rmfab.board.unit_console import UnitConsole
from rmfab.errors import StationError, UnitFault
from rmfab.label.content import label_of
from rmfab.line.binding import find_unit
from rmfab.line.boot_judge import (
    CONTRADICTIONS,
    judge_alive,
    judge_boot,
    judge_identity,
    judge_marginal,
    judge_patterns,
    judge_readable,
    judge_same_reading,
)
from rmfab.line.ending import Passed
from rmfab.line.listening import await_offer, listen
from rmfab.line.stages import Bound, Flashed, InLoader, OnSlot, Running
from rmfab.line.visit import Visit
from rmfab.product.vocabulary import Credentials
from rmfab.release.release import Release


def boot(visit: Visit, stage: OnSlot | InLoader | Flashed) -> Passed[Running]:
    """Restart the unit into its firmware, and judge its boot log or wait for its advertisement."""
    bound = _bound(visit, stage)
    visit.board.restart()
    if visit.board.unwired:
        visit.say("restart the board now: this slot has no restart lines")
    policy, proofs = visit.job.product.verify, visit.proofs
    console, log = _listen(visit)
    if proofs.log.required and visit.board.unwired and not (log.starts or log.app_started or log.symptom):
        raise StationError(
            "the board was not restarted while its console was read",
            where=visit.board.address,
            hint=f"restart it within {policy.boot_timeout:g} s of the start of this step ([verify] boot_timeout)",
            cause="not-restarted",
        )
    if not (proofs.log.required or log.app_started or log.failed):
        return _without_log(visit, bound, console, log)
    firmware = visit.job.firmware
    release = firmware.release if firmware else None
    if not visit.board.unwired and _contradicts(visit, log, release, bound):
        visit.board.restart()
        console, again = _listen(visit)
        judge_same_reading(log, again)
        log = again
    judge_readable(log, console.text)
    measurements = judge_boot(log, release) | judge_patterns(log, visit.job.product.verify.patterns)
    return Passed(Running(bound, console, log), measurements, judge_marginal(log))


def _without_log(visit: Visit, bound: Bound | None, console: UnitConsole, log: BootLog) -> Passed[Running]:
    """Judge the boot of a unit whose app printed nothing, and need not."""
    proof, running = visit.proofs.log, Running(bound, console, log)
    if proof.tried:
        judge_readable(log, console.text)
    judge_patterns(log, visit.job.product.verify.patterns)
    if not visit.job.provisions or bound is None:
        log.complete()
        if proof.tried:
            judge_boot(log, None)
        return Passed(running, skipped=proof.why)
    try:
        await_offer(visit, bound.identity, console, log)
    except UnitFault:
        if proof.tried:
            judge_boot(log, None)  # its silence says more
        raise
    visit.silent = not log.app_started
    judge_alive(log)
    offers = None if log.symptom is not None else bound.identity.service_name  # a symptom that `identify` judges
    return Passed(running, {"offers": offers, "log": proof.why}, judge_marginal(log))


def _listen(visit: Visit) -> tuple[UnitConsole, BootLog]:
    claims = visit.job.product.identity.credentials is Credentials.CLOUD_CLAIM
    proofs = visit.proofs
    return listen(
        visit,
        lambda log: bool(log.app_started and (log.qr_payload or not proofs.qr.tried) and (log.node_id or claims)),
        visit.job.product.verify.settle,
        awaits=True,
    )


def _contradicts(visit: Visit, log: BootLog, release: Release | None, bound: Bound | None) -> bool:
    """Return whether *log* contradicts the release or the ledger, as one wrong character may do."""
    product = visit.job.product
    try:
        judge_boot(log, release)
        if bound is not None:
            payload = label_of(bound.identity, product).payload
            judge_identity(log, bound.identity.node_id, payload, product.identity.credentials)
    except UnitFault as fault:
        return fault.cause in CONTRADICTIONS
    return False


def _bound(visit: Visit, stage: OnSlot | InLoader | Flashed) -> Bound | None:
    match stage:
        case Flashed():
            return stage.bound
        case InLoader():
            return find_unit(visit, stage.facts.mac)
        case OnSlot():
            return find_unit(visit, None)
