"""The steps on the running unit's console: boot and identify. They restart it, listen, and ask."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from rmfab.board.bootlog import CLAIMING, NO_CREDENTIALS, BootLog, is_start
from rmfab.board.native_usb import returned, usb_number
from rmfab.board.port import guarded
from rmfab.board.restart import Auto, Unwired, restart_into_run
from rmfab.board.unit_console import UnitConsole
from rmfab.errors import InputError, StationError, UnitFault
from rmfab.identity.identity import Identity
from rmfab.identity.unit_signature import signed_by
from rmfab.label.content import label_of
from rmfab.ledger.events import Outcome
from rmfab.line.boot_judge import judge_boot, judge_identity, judge_unprovisioned
from rmfab.line.unit import Unit
from rmfab.product.vocabulary import Credentials

_NODE_ID = re.compile(r"Node ID: (\S+)")
_SIGNATURE = re.compile(r"hex signature\(len \d+\): ([0-9a-fA-F]+)")
_ANSWER_SECONDS = 5.0
_HEAR_OUT_SECONDS = 0.05
_ASKS = 2


def boot(unit: Unit) -> dict[str, Any]:
    """Restarts the unit into its firmware and judges its boot log."""
    bind_known(unit)
    restart(unit)
    if isinstance(unit.slot.link.restart, Unwired):
        unit.say("info", "restart the board now: nothing here can")
    claims = unit.job.product.identity.credentials is Credentials.CLAIM
    policy = unit.job.product.verify
    log = unit.boot_log = listen(
        unit, lambda log: bool(log.app_started and log.qr_payload and (log.node_id or claims)), policy.settle
    )
    if isinstance(unit.slot.link.restart, Unwired) and not (log.starts or log.app_started or log.symptom):
        raise StationError(
            "nobody restarted the board while its console was read",
            where=unit.slot.link.address,
            hint=f"restart it within [verify] boot_timeout ({policy.boot_timeout:g} s) of this step's beginning",
            cause="not-restarted",
        )
    firmware = unit.job.firmware
    return judge_boot(log, firmware.release if firmware else None)


def listen(unit: Unit, complete: Callable[[BootLog], bool], settle: float, *, from_restart: bool = False) -> BootLog:
    """Reads the console until the log is *complete* or shows a symptom, and *settle* seconds more.

    *from_restart*: what comes before the first sign of a restart belongs to the life before, and is not looked at.
    """
    if unit.console is not None:
        unit.transcript.append(unit.console.text)
    console = unit.console = UnitConsole(unit.port, unit.slot.link.address, unit.keep_going)
    claims = unit.job.product.identity.credentials is Credentials.CLAIM
    log = BootLog(frozenset({CLAIMING, NO_CREDENTIALS, "no-node-id"}) if claims else frozenset())
    for line in console.lines(unit.job.product.verify.boot_timeout):
        if from_restart and not is_start(line):
            continue
        from_restart = False
        log.feed(line)
        if log.symptom or complete(log):
            break
    for line in console.lines(settle):
        log.feed(line)
    return log


def listen_until(unit: Unit, heard: Callable[[str], bool], seconds: float) -> bool:
    """Reads the console until *heard* likes a line; False where none came in *seconds*."""
    if unit.console is None:
        raise ValueError("the console is not open")
    return any(heard(line) for line in unit.console.lines(seconds))


def await_provisioning(unit: Unit, *, by_itself: bool = False) -> None:
    """Restarts the unit (or lets it restart *by_itself*) and proves that it offers provisioning under its own name.

    Raises Fault where it does not: it then is provisioned, another unit, or does not boot.
    """
    if not by_itself:
        _drain_console(unit)
        restart(unit)
    log = listen(unit, lambda log: log.service_name is not None, 0.0, from_restart=by_itself)
    if by_itself and not log.lines:
        raise UnitFault(
            "the unit does not restart when its console is asked for a factory reset",
            hint="a firmware without console commands; without --via console the loader does it",
            cause="no-console",
        )
    judge_unprovisioned(log, unit.identity)


def _drain_console(unit: Unit) -> None:
    """Reads what the unit has printed until now, so that it is not taken for what it prints after its restart."""
    if unit.console is not None and unit.loader is None:
        for _ in unit.console.lines(_HEAR_OUT_SECONDS):
            pass


def restart(unit: Unit) -> None:
    """Leaves the loader and restarts into the firmware, unless somebody else restarts this slot."""
    link, loader = unit.slot.link, unit.loader
    unit.loader = None
    own_usb = usb_number(link.address) if isinstance(link.restart, Auto) else None
    if own_usb is not None and loader is not None:
        loader.restart()
    else:
        if loader is not None:
            loader.leave()
        if not isinstance(link.restart, Unwired):
            guarded(link.address, lambda: restart_into_run(unit.port, link.restart))
    if own_usb is not None:
        unit.port = returned(unit.port, link.address, own_usb)


def bind_known(unit: Unit) -> None:
    """Which unit it ought to be: by the MAC that the loader told, or by the serial that the operator gave."""
    job = unit.job
    if unit.binding is None and unit.mac is not None:
        unit.binding = job.ledger.identity_by_mac(unit.mac)
        if unit.binding is not None and job.serial not in (None, unit.binding.serial):
            raise InputError(
                f"this board is {unit.binding.serial}, not {job.serial}", where=unit.mac, cause="serial-mismatch"
            )
    elif unit.binding is None and job.serial is not None:
        unit.binding = job.ledger.identity_by_serial(job.serial)
        if unit.binding is None:
            raise InputError(f"there is no unit {job.serial} in the ledger", cause="no-serial")
        if not unit.binding.standing.live:
            raise InputError(
                f"no board has the identity {job.serial}: it is {unit.binding.state}",
                hint="`rmfab flash` gives a board its identity before it can be verified",
                cause="not-claimed",
            )
    if unit.binding is not None and unit.identity is None:
        unit.identity = job.open_identity(unit.binding)


def identify(unit: Unit) -> dict[str, Any]:
    """Proves that the unit is who the ledger says: node id, QR payload, and a signature made with its key."""
    log, identity = unit.boot_log, unit.identity
    if log is None:
        raise ValueError("identify follows boot")
    if identity is None:
        said = f'; its console says "{log.node_id}", which proves nothing alone' if log.node_id else ""
        raise UnitFault(
            f"this board has no identity in the ledger{said}",
            hint="`rmfab flash` gives it one; where the MAC cannot be read, --serial says which unit it ought to be",
            cause="unbound",
        )
    product = unit.job.product
    expected = label_of(identity, product).payload
    certificate = product.identity.credentials is Credentials.CERTIFICATE
    judge_identity(log, identity.node_id, expected, product.identity.credentials)
    asked = certificate and product.verify.console
    if asked:
        _ask_node_id(unit, identity)
        _ask_signature(unit, identity)
    done = {True: Outcome.PASS.value, False: Outcome.SKIP.value}
    checks = {"qr": done[True], "node_id": done[certificate], "console": done[asked], "signature": done[asked]}
    return {"node_id": identity.node_id, "checks": checks}


def _ask(unit: Unit, command: str, answer: re.Pattern[str]) -> str | None:
    """The console's answer; asked a second time, since a line of the log may have run into the first."""
    if unit.console is None:
        raise ValueError("the console is not open")
    for _ in range(_ASKS):
        if match := unit.console.ask(command, answer, _ANSWER_SECONDS):
            return match[1]
    return None


def _ask_node_id(unit: Unit, identity: Identity) -> None:
    told = _ask(unit, "get-node-id", _NODE_ID)
    if told is None:
        raise UnitFault(
            "the console does not answer get-node-id",
            hint="a firmware without console commands: set console = false in product.toml ([verify])",
            cause="no-console",
        )
    if told != identity.node_id:
        raise UnitFault(f'the console says node "{told}", the ledger says "{identity.node_id}"', cause="other-identity")


def _ask_signature(unit: Unit, identity: Identity) -> None:
    challenge = unit.job.challenge()
    told = _ask(unit, f"sign-data {challenge}", _SIGNATURE)
    if told is None:
        raise UnitFault("the console does not answer sign-data", cause="no-console")
    if identity.certificate_pem is None or not signed_by(identity.certificate_pem, challenge.encode(), _octets(told)):
        raise UnitFault(
            "the key in the unit does not belong to its certificate",
            hint="void the unit; its factory partition holds another key",
            cause="key-mismatch",
        )


def _octets(told: str) -> bytes:
    """The octets of a signature in hex; none where a digit is missing, which is no signature either."""
    return bytes.fromhex(told) if len(told) % 2 == 0 else b""
