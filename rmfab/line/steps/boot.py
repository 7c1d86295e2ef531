"""The step `boot`: restart the unit into its firmware and judge its boot log."""

from __future__ import annotations

from rmfab.errors import StationError
from rmfab.line.binding import find_unit
from rmfab.line.boot_judge import judge_boot, judge_marginal
from rmfab.line.ending import Passed
from rmfab.line.listening import listen
from rmfab.line.stages import Bound, Flashed, InLoader, OnSlot, Running
from rmfab.line.visit import Visit
from rmfab.product.vocabulary import Credentials


def boot(visit: Visit, stage: OnSlot | InLoader | Flashed) -> Passed[Running]:
    """Restart the unit into its firmware and judge its boot log."""
    bound = _bound(visit, stage)
    visit.board.restart()
    if visit.board.unwired:
        visit.say("info", "restart the board now: this slot has no restart lines")
    claims = visit.job.product.identity.credentials is Credentials.CLOUD_CLAIM
    policy = visit.job.product.verify
    console, log = listen(
        visit, lambda log: bool(log.app_started and log.qr_payload and (log.node_id or claims)), policy.settle
    )
    if visit.board.unwired and not (log.starts or log.app_started or log.symptom):
        raise StationError(
            "the board was not restarted while its console was read",
            where=visit.board.address,
            hint=f"restart it within {policy.boot_timeout:g} s of the start of this step ([verify] boot_timeout)",
            cause="not-restarted",
        )
    firmware = visit.job.firmware
    measurements = judge_boot(log, firmware.release if firmware else None)
    return Passed(Running(bound, console, log), measurements, judge_marginal(log))


def _bound(visit: Visit, stage: OnSlot | InLoader | Flashed) -> Bound | None:
    match stage:
        case Flashed():
            return stage.bound
        case InLoader():
            return find_unit(visit, stage.facts.mac)
        case OnSlot():
            return find_unit(visit, None)
