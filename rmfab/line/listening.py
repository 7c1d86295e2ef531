"""Readers of a unit that boots: of its console, until its log is complete, or of its advertisement if it has no log."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rmfab.board.bootlog import BootLog, is_start
from rmfab.board.symptoms import CLAIMING, NO_CREDENTIALS
from rmfab.board.unit_console import UnitConsole
from rmfab.errors import StationError, UnitFault
from rmfab.line.boot_judge import judge_alive, judge_unprovisioned
from rmfab.line.visit import Visit
from rmfab.product.vocabulary import Credentials
from rmfab.provisioning.patience import Patience

if TYPE_CHECKING:
    from rmfab.identity.identity import Identity

NODE_ID_ANSWER = re.compile(r"Node ID: (\S+)")
"""The answer to the console command get-node-id (esp-rainmaker, esp_rmaker_commands.c)."""

_LEAST_SETTLE_SECONDS = 0.1
_ABSENT = frozenset({"unreachable", "link-lost", "not-advertising", "refused", "stalled", "provision-timeout"})
"""Causes of a look at a unit that is not there, or that only a proxy answers for."""
_NOT_YET = _ABSENT | {"wifi"}
"""Causes that may pass if the station looks again: it joins the unit's network; without a radio it has others."""

_NEXT_START_SECONDS = 3.0
"""How long the watchdog of a ROM that has given up may take; in public logs it bites after 0.4 s to 1 s."""


def listen(
    visit: Visit,
    complete: Callable[[BootLog], bool],
    settle: float,
    *,
    from_restart: bool = False,
    awaits: bool = False,
) -> tuple[UnitConsole, BootLog]:
    """Read the console until the log is *complete* or the boot has failed, and then for *settle* more seconds.

    What is read from the console afterwards is added to the log: see `judge_meanwhile`. If the firmware has no log, or
    has shown none before, do not wait for it.

    *from_restart*: skip the lines before the first sign of a restart, since they belong to the previous run. *awaits*:
    wait for what [verify] console_must names, too.
    """
    console = visit.board.open_console()
    claims = visit.job.product.identity.credentials is Credentials.CLOUD_CLAIM
    policy, proofs = visit.job.product.verify, visit.proofs
    expected = frozenset({CLAIMING, NO_CREDENTIALS, "no-node-id"}) if claims else frozenset[str]()
    log = BootLog(expected, policy.patterns, awaits=awaits and proofs.listens)
    tried = proofs.log.tried and not visit.silent
    waits = tried or (from_restart and proofs.listens) or bool(log.missing)
    for line in _boot_lines(console, log, seconds=policy.boot_timeout if waits else 0.0):
        if from_restart and not is_start(line):
            continue
        from_restart = False
        log.feed(line)
        if log.failed or (not log.missing and (complete(log) or not tried)):
            break
    if proofs.log.required or log.app_started or complete(log):
        log.complete()
    if proofs.listens:
        for line in console.lines(settle):
            log.feed(line)
        visit.board.follow(log)
    return console, log


def await_offer(visit: Visit, identity: Identity, console: UnitConsole, log: BootLog) -> None:
    """Wait until the unit offers provisioning, at most [verify] boot_timeout, and add what it prints to its *log*.

    Return early if the log shows that the boot has failed. Raise UnitFault if the unit does not offer provisioning,
    StationError if this host cannot look for it.
    """
    policy = visit.job.product.verify
    settle = max(policy.settle, _LEAST_SETTLE_SECONDS)
    patience = Patience(policy.boot_timeout, visit.keep_going)
    failed: StationError | UnitFault | None = None
    offered = False
    while not offered:
        _hear(console, settle)
        if log.failed:
            return
        if patience.cut(1.0) <= 0:
            if log.symptom is not None:  # its last start has failed, and no other followed
                return
            raise _no_offer(policy.boot_timeout, failed) from failed
        try:
            visit.job.air.look(visit.slot, identity.service_name, visit.job.product, patience, visit.warn)
            offered = True
        except StationError as error:
            if error.cause not in _NOT_YET:
                raise
            failed = error
        except UnitFault as error:  # perhaps its server is up, and its endpoints are not yet
            failed = error
    log.offered()
    _hear(console, settle)


def _hear(console: UnitConsole, seconds: float) -> None:
    """Read the console for *seconds*, for its follower; only wait if it must not be read."""
    for _ in console.lines(seconds):
        pass


def _no_offer(seconds: float, last: StationError | UnitFault | None) -> StationError | UnitFault:
    """Return the error of a unit that was not found in time; *last* is why the last look failed, which may say more."""
    if last is not None and last.cause not in _ABSENT:
        return last
    return UnitFault(
        f"the unit did not offer provisioning within {seconds:g} s after its restart",
        hint="check the unit's radio; a longer [verify] boot_timeout may help",
        cause="no-provisioning",
    )


def _boot_lines(console: UnitConsole, log: BootLog, *, seconds: float) -> Iterator[str]:
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

    Firmware without a log shows that by radio, or not if the product leaves provisioning out. Raise UnitFault if the
    unit does not offer it: it is then provisioned, the wrong unit, or does not boot.
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
    by_radio = log.service_name is None and not visit.proofs.log.required
    if by_radio and not log.failed and visit.job.product.verify.provision:
        await_offer(visit, identity, console, log)
    judge_unprovisioned(log, identity, seen=by_radio)
    return console
