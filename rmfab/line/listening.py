"""Readers of the console of a unit that boots: until its log is complete, or until it offers provisioning."""

from __future__ import annotations

from collections.abc import Callable

from rmfab.board.bootlog import BootLog, is_start
from rmfab.board.symptoms import CLAIMING, NO_CREDENTIALS
from rmfab.board.unit_console import UnitConsole
from rmfab.errors import UnitFault
from rmfab.identity.identity import Identity
from rmfab.line.boot_judge import judge_unprovisioned
from rmfab.line.visit import Visit
from rmfab.product.vocabulary import Credentials


def listen(
    visit: Visit, complete: Callable[[BootLog], bool], settle: float, *, from_restart: bool = False
) -> tuple[UnitConsole, BootLog]:
    """Read the console until the log is *complete* or shows a symptom, and then for *settle* more seconds.

    What is read from the console afterwards is added to the log.

    *from_restart*: skip the lines before the first sign of a restart, since they belong to the previous run.
    """
    console = visit.board.open_console()
    claims = visit.job.product.identity.credentials is Credentials.CLOUD_CLAIM
    log = BootLog(frozenset({CLAIMING, NO_CREDENTIALS, "no-node-id"}) if claims else frozenset())
    for line in console.lines(visit.job.product.verify.boot_timeout):
        if from_restart and not is_start(line):
            continue
        from_restart = False
        log.feed(line)
        if log.symptom or complete(log):
            break
    for line in console.lines(settle):
        log.feed(line)
    console.follow(log.feed)
    return console, log


def await_provisioning(visit: Visit, identity: Identity, *, by_itself: bool = False) -> UnitConsole:
    """Restart the unit (or let it restart *by_itself*) and check that it offers provisioning under its own name.

    Raise UnitFault if it does not: the unit is then provisioned, the wrong unit, or does not boot.
    """
    if not by_itself:
        visit.board.restart()
    console, log = listen(visit, lambda log: log.service_name is not None, 0.0, from_restart=by_itself)
    if by_itself and not log.lines:
        raise UnitFault(
            "the unit did not restart after the factory reset command on its console",
            hint="check that the firmware has console commands, or leave out --via console to reset with the loader",
            cause="no-console",
        )
    judge_unprovisioned(log, identity)
    return console
