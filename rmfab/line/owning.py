"""The step `provision`: does what the owner's phone will do, and what nobody without the label may.

    session     one handshake with the PoP of the label; with security 2 the unit's verifier is proven with it
    key         a signature over a fresh challenge, verified with the certificate
    scan        the unit hears the factory's network loud enough, where the product names one
    wrong-pop   another PoP is refused, on some units; the unit is restarted after it, so that nothing counts on
    join        it joins the factory network, where the product asks for it; the step `reset` then undoes that

Nothing else is ever sent to the unit.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import Any

from rmfab.board.restart import Unwired
from rmfab.errors import Fault, InputError
from rmfab.identity.identity import Identity
from rmfab.identity.qr import parse_payload, payload
from rmfab.ledger.events import Outcome
from rmfab.line.network import load_network
from rmfab.line.proving import await_provisioning, listen_until
from rmfab.line.unit import Marginal, Skipped, Unit
from rmfab.product.product import Provisioning
from rmfab.product.vocabulary import Credentials, Security
from rmfab.provisioning.check import SignalLimits, check_key, check_scan, check_session, check_wrong_pop
from rmfab.provisioning.session import ProvisioningSession
from rmfab.provisioning.wifi import Station
from rmfab.secret import Secret

_ASK_AGAIN_SECONDS = 0.5
_MQTT = "MQTT Connected"


def provision(unit: Unit) -> dict[str, Any] | Marginal:
    """Proves that the owner of the label can provision the unit, and nobody else."""
    policy = unit.job.product.verify
    if not policy.provision:
        raise Skipped("switched off: [verify] provision = false")
    identity = unit.identity
    if identity is None or unit.boot_log is None:
        raise ValueError("provision follows identify")
    checks: dict[str, Any] = {}
    heard = _prove(unit, identity, checks)
    if _tries_wrong_pop(unit):
        with unit.job.air.reach(unit.slot, identity, unit.job.product) as transport:
            check_wrong_pop(transport, unit.job.product.provisioning, identity.pop, secrets.token_bytes)
        checks["wrong-pop"] = Outcome.PASS.value
        await_provisioning(unit)
    if policy.join:
        _join(unit, identity)
        checks["join"] = Outcome.PASS.value
    measured = checks.pop("measured") | {"checks": checks}
    return measured if heard is None else Marginal("weak-signal", heard, measured)


def _prove(unit: Unit, identity: Identity, checks: dict[str, Any]) -> str | None:
    """Session, key and scan in one conversation; returns the reason where the scan is marginal."""
    product = unit.job.product
    with unit.job.air.reach(unit.slot, identity, product) as transport:
        began = time.monotonic()
        session = check_session(
            transport,
            printed(unit, identity),
            product.identity.credentials,
            identity.pop,
            secrets.token_bytes,
        )
        checks["session"] = Outcome.PASS.value
        checks["measured"] = {"handshake": round(time.monotonic() - began, 3)}
        checks["key"] = _key(session, identity)
        return _scan(unit, session, checks)


def printed(unit: Unit, identity: Identity) -> Provisioning:
    """How the label's own code says that the unit is provisioned: what a phone would go by, read back from it.

    Raises Fault where the code and product.toml disagree.
    """
    policy = unit.job.product.provisioning
    told = parse_payload(payload(identity.service_name, identity.pop, policy).reveal())
    pop = told.pop or Secret("")
    if policy.security is not Security.PLAIN and pop != identity.pop:
        raise Fault("the label's code carries another PoP than the unit has", cause="label-mismatch")
    return replace(policy, username=told.username or policy.username)


def _key(session: ProvisioningSession, identity: Identity) -> str:
    if identity.node_id is None or identity.certificate_pem is None:
        return Outcome.SKIP.value
    check_key(session, identity.node_id, identity.certificate_pem, secrets.token_bytes)
    return Outcome.PASS.value


def _scan(unit: Unit, session: ProvisioningSession, checks: dict[str, Any]) -> str | None:
    limits = unit.job.product.verify.scan
    if not limits.ssid:
        return None
    heard = check_scan(session, limits.ssid, SignalLimits(limits.fail, limits.marginal))
    checks["scan"] = (Outcome.MARGINAL if heard.marginal else Outcome.PASS).value
    checks["measured"] |= {"rssi": heard.rssi, "rssi_limits": [limits.fail, limits.marginal]}
    if not heard.marginal:
        return None
    return f'the unit hears "{heard.ssid}" at {heard.rssi} dBm, under {limits.marginal} dBm: look at its antenna'


def _tries_wrong_pop(unit: Unit) -> bool:
    """Whether this unit is one of those on which a wrong PoP is tried; it costs a restart."""
    product = unit.job.product
    every = product.verify.wrong_pop_every
    if unit.binding is None or every == 0 or product.provisioning.security is Security.PLAIN:
        return False
    return unit.binding.position % every == 0 and not isinstance(unit.slot.link.restart, Unwired)


def _join(unit: Unit, identity: Identity) -> None:
    """Hands over the factory network and waits for the IP address, and for MQTT where the product asks for it."""
    job = unit.job
    if job.air.network is None:
        raise InputError(
            "[verify] join needs the factory network",
            hint='network = "factory-wifi.toml" in station.toml ([provisioning]), with ssid and passphrase',
            cause="no-network",
        )
    ssid, passphrase = load_network(job.air.network)
    unit.secrets.append(passphrase)
    with job.air.reach(unit.slot, identity, job.product) as transport:
        session = check_session(
            transport, job.product.provisioning, job.product.identity.credentials, identity.pop, secrets.token_bytes
        )
        session.configure(ssid, passphrase)
        session.apply()
        _await_ip(unit, session)
    if not job.product.verify.mqtt or job.product.identity.credentials is Credentials.CLAIM:
        return
    if not listen_until(unit, lambda line: _MQTT in line, job.product.verify.join_timeout):
        raise Fault(
            "the unit does not reach MQTT", hint="mqtt_host, or the certificate's registration", cause="no-mqtt"
        )


def _await_ip(unit: Unit, session: ProvisioningSession) -> None:
    ending = time.monotonic() + unit.job.product.verify.join_timeout
    while True:
        unit.keep_going()
        joining = session.status()
        if joining.state is Station.CONNECTED:
            return
        if joining.state is Station.FAILED:
            why = joining.failure.name.lower().replace("_", " ") if joining.failure is not None else "unknown"
            raise Fault(f"the unit cannot join the factory network: {why}", cause="join-failed")
        if time.monotonic() >= ending:
            raise Fault("the unit gets no IP address in time", cause="join-timeout")
        time.sleep(_ASK_AGAIN_SECONDS)
