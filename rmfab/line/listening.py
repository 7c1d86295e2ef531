"""Readers of the console of a unit that boots: until its log is complete, or until it offers provisioning."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rmfab.board.bootlog import BootLog, is_start
from rmfab.board.symptoms import CLAIMING, NO_CREDENTIALS
from rmfab.board.unit_console import UnitConsole
from rmfab.errors import UnitFault
from rmfab.identity.identity import Identity
from rmfab.line.boot_judge import judge_alive, judge_unprovisioned
from rmfab.line.visit import Visit
from rmfab.product.vocabulary import Credentials

_NEXT_START_SECONDS = 3.0
"""How long the watchdog of a ROM that has given up may take; in public logs it bites after 0.4 s to 1 s."""


def listen(
    visit: Visit, complete: Callable[[BootLog], bool], settle: float, *, from_restart: bool = False
) -> tuple[UnitConsole, BootLog]:
    """Read the console until the log is *complete* or the boot has failed, and then for *settle* more seconds.

    What is read from the console afterwards is added to the log: see `judge_meanwhile`.

    *from_restart*: skip the lines before the first sign of a restart, since they belong to the previous run.
    """
    console = visit.board.open_console()
    claims = visit.job.product.identity.credentials is Credentials.CLOUD_CLAIM
    log = BootLog(frozenset({CLAIMING, NO_CREDENTIALS, "no-node-id"}) if claims else frozenset())
    for line in _boot_lines(console, log, visit.job.product.verify.boot_timeout):
        if from_restart and not is_start(line):
            continue
        from_restart = False
        log.feed(line)
        if log.failed or complete(log):
            break
    log.complete()
    for line in console.lines(settle):
        log.feed(line)
    visit.board.follow(log)
    return console, log


def _boot_lines(console: UnitConsole, log: BootLog, seconds: float) -> Iterator[str]:
    """Yield lines for *seconds*, or until a start has failed and no other follows it, as *log* has read them."""
    ending = time.monotonic() + seconds
    while (left := ending - time.monotonic()) > 0:
        last = log.may_start_again
        for line in console.lines(min(left, _NEXT_START_SECONDS) if last else left):
            yield line
            if log.may_start_again is not last:
                break
        else:
            return


def judge_meanwhile(visit: Visit) -> None:
    """Raise UnitFault if the running unit has died or restarted since its boot was complete.

    Whatever a step does with a running unit, its console is read for this, again and again if the step takes long.
    """
    visit.board.hear()
    if visit.board.log is not None:
        judge_alive(visit.board.log)


def await_provisioning(visit: Visit, identity: Identity, *, by_itself: bool = False) -> UnitConsole:
    """Restart the unit (or let it restart *by_itself*) and check that it offers provisioning under its own name.

    Raise UnitFault if it does not: the unit is then provisioned, the wrong unit, or does not boot.
    """
    if not by_itself:
        judge_meanwhile(visit)
        visit.board.restart()
    settle = visit.job.product.verify.settle
    console, log = listen(visit, lambda log: log.service_name is not None, settle, from_restart=by_itself)
    if by_itself and not log.lines:
        raise UnitFault(
            "the unit did not restart after the factory reset command on its console",
            hint="check that the firmware has console commands, or leave out --via console to reset with the loader",
            cause="no-console",
        )
    judge_unprovisioned(log, identity)
    return console
