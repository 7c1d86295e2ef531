"""The step `provision`: what the owner's phone will do, and what must not work without the label.

    session     a handshake with the PoP of the label; with security 2 it also proves the unit's verifier
    key         a signature over a fresh challenge, verified with the certificate, if the firmware can sign
    scan        the unit receives the factory's network with enough signal, if the product names one
    wrong-pop   a wrong PoP is rejected, on a sample of units; a restart then clears the unit's count of failures
    join        the unit joins the factory network, if the product requires it; the step `reset` undoes that

Nothing else is sent to the unit. The whole step has one deadline, [verify] provision_timeout (and join_timeout if it
joins); only the radio's turn and a restart have limits of their own.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from rmfab.board.unit_console import UnitConsole
from rmfab.errors import InputError, UnitFault
from rmfab.identity.identity import Identity
from rmfab.ledger.events import Outcome
from rmfab.line.ending import Marginal, Passed, Skipped
from rmfab.line.label_session import Printed, label_session, printed, prove_key, reach
from rmfab.line.listening import await_provisioning, judge_meanwhile
from rmfab.line.stages import Bound, Identified, Joined
from rmfab.line.visit import Visit
from rmfab.provisioning.ble import BleTransport
from rmfab.provisioning.check import (
    WeakSignal,
    check_scan,
    check_wrong_pop,
    judge_joined,
)
from rmfab.provisioning.patience import Patience
from rmfab.provisioning.session import ProvisioningSession
from rmfab.provisioning.wifi_messages import JoinState

_ASK_AGAIN_SECONDS = 0.5


def provision(visit: Visit, stage: Identified) -> Passed[Identified]:
    """Check that the owner of the label can provision the unit, and no one without it."""
    policy = visit.job.product.verify
    if not policy.provision:
        raise Skipped("off in product.toml: [verify] provision = false")
    bound, console = stage.bound, stage.console
    checks: dict[str, Any] = {}
    visit.measured["checks"] = checks
    told = printed(bound.identity, visit.job.product)
    seconds = policy.provision_timeout + (policy.join_timeout if policy.join else 0.0)
    patience = Patience(seconds, lambda: _keep_going(visit))
    weak = _prove(visit, bound.identity, told, patience, checks)
    if _tries_wrong_pop(visit, bound):
        restarted = _try_wrong_pop(visit, bound.identity, told, patience)
        checks["wrong-pop"] = (Outcome.PASS if restarted else Outcome.SKIP).value
        console = restarted or console
    stage = Identified(bound, console)
    if policy.join:
        stage = _join(visit, stage, told, patience)
        checks["join"] = (Outcome.PASS if isinstance(stage, Joined) else Outcome.SKIP).value
    marginal = None if weak is None else Marginal("weak-signal", weak)
    return Passed(stage, visit.measured, marginal)


def _keep_going(visit: Visit) -> None:
    visit.keep_going()
    judge_meanwhile(visit)


def _prove(visit: Visit, identity: Identity, told: Printed, patience: Patience, checks: dict[str, Any]) -> str | None:
    """Check session, key and scan in one conversation. Return the reason if the scan is marginal."""
    with reach(visit, told, patience) as transport:
        began = time.monotonic()
        session = label_session(visit, transport, told)
        checks["session"] = Outcome.PASS.value
        if isinstance(transport, BleTransport) and transport.rssi is not None:
            visit.measured["ble_rssi"] = transport.rssi
        visit.measured["handshake"] = round(time.monotonic() - began, 3)
        checks["key"] = prove_key(session, identity, visit.proofs.challenge)
        return _scan(visit, session, checks)


def _scan(visit: Visit, session: ProvisioningSession, checks: dict[str, Any]) -> str | None:
    limits = visit.job.product.verify.scan
    if not limits.ssid:
        return None
    visit.measured["rssi_limits"] = [limits.fail, limits.marginal]
    try:
        heard = check_scan(session, limits)
    except WeakSignal as weak:
        visit.measured["rssi"] = weak.rssi
        raise
    visit.measured["rssi"] = heard.rssi
    checks["scan"] = (Outcome.MARGINAL if heard.marginal else Outcome.PASS).value
    if not heard.marginal:
        return None
    return f'the unit receives "{heard.ssid}" at {heard.rssi} dBm, below {limits.marginal} dBm: check its antenna'


def _tries_wrong_pop(visit: Visit, bound: Bound) -> bool:
    """Return whether to try a wrong PoP on this unit, one of a sample, since that costs a restart."""
    product = visit.job.product
    every = product.verify.wrong_pop_every
    if every == 0 or not product.provisioning.has_pop:
        return False
    return bound.record.position % every == 0


def _try_wrong_pop(visit: Visit, identity: Identity, told: Printed, patience: Patience) -> UnitConsole | None:
    """Try one wrong PoP, then restart the unit: its count of failures would in the end lock out its owner.

    Return the console after that restart. Return None without trying if the station cannot restart the unit.
    """
    if visit.board.unwired:
        return None
    with reach(visit, told, patience) as transport:
        check_wrong_pop(transport, told.provisioning, told.pop, secrets.token_bytes)
    with patience.paused():  # the restart has its own limit
        return await_provisioning(visit, identity)


def _join(visit: Visit, stage: Identified, told: Printed, patience: Patience) -> Identified:
    """Send the factory network and wait for the IP address. The witness watches the unit from before that on."""
    network = visit.job.air.network
    if network is None:
        raise InputError("[verify] join requires the factory network", cause="no-network")
    if (why := visit.unresettable) is not None:
        visit.warn(f"skipped joining a network: the unit could not be reset afterwards, since {why}")
        return stage
    node_id = stage.bound.identity.node_id
    watch = None if node_id is None else visit.watch(node_id)
    visit.secrets.append(network.passphrase)
    with reach(visit, told, patience) as transport:
        session = label_session(visit, transport, told)
        visit.holds_network = True
        session.configure(network.ssid, network.passphrase)
        session.apply()
        began = time.monotonic()
        _await_ip(visit, session, network.ssid)
        visit.measured["join"] = round(time.monotonic() - began, 3)
    return Joined(stage.bound, stage.console, time.monotonic(), watch)


def _await_ip(visit: Visit, session: ProvisioningSession, ssid: str) -> None:
    ending = time.monotonic() + visit.job.product.verify.join_timeout
    while True:
        visit.keep_going()
        joining = session.status()
        if joining.state is JoinState.CONNECTED:
            judge_joined(joining, ssid)
            return
        if joining.state is JoinState.FAILED:
            why = joining.failure.name.lower().replace("_", " ") if joining.failure is not None else "unknown"
            raise UnitFault(
                f'the unit failed to join the network "{ssid}": {why}',
                hint="if all units fail, compare ssid and passphrase in the file that [provisioning] network names",
                cause="join-failed",
            )
        if time.monotonic() >= ending:
            raise UnitFault(f'the unit did not get an IP address from "{ssid}" in time', cause="join-timeout")
        time.sleep(_ASK_AGAIN_SECONDS)
