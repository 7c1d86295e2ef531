"""The step `cloud`: a unit that has joined the factory network reaches its broker, and obeys.

With `[verify] cloud = "console"`, `MQTT Connected` on the console is the proof. With a witness at the broker:

    config      the unit publishes its config; project, version and platform are the release's
    mapping     firmware that can, tells its cloud that the unit belongs to nobody; a unit that does not was mapped
    param       a parameter that the witness sets comes back changed, and is then set back, if the product names one

The witness has watched the unit since before it joined. No user is ever mapped. The whole step has one limit,
[verify] cloud_timeout; the time to the config counts from the IP address.
"""

from __future__ import annotations

import json
import time
from itertools import chain
from typing import Any

from rmfab.board.mqtt_symptoms import REFUSES_BROKER
from rmfab.board.symptoms import Symptom
from rmfab.cloud.node_report import (
    ExpectedConfig,
    Value,
    find_param,
    judge_config,
    judge_unmapped,
    other_value,
    request,
    same_value,
    value_in,
)
from rmfab.cloud.node_watch import NodeMessage, NodeWatch
from rmfab.errors import UnitFault, one_line
from rmfab.ledger.events import Outcome
from rmfab.line.boot_judge import judge_alive
from rmfab.line.ending import Passed, Skipped
from rmfab.line.listening import judge_meanwhile
from rmfab.line.stages import Identified, Joined
from rmfab.line.visit import Visit
from rmfab.product.product import ParamName
from rmfab.release.parts import APP
from rmfab.release.pinned import certificates_in

_LOOK_SECONDS = 0.1
_AGAIN_SECONDS = 3.0
"""A unit that is connected answers within one second."""
_MOST_SHOWN = 40
_CONFIG, _INIT, _PARAMS, _REMOTE, _MAPPING = (
    "config",
    "params/local/init",
    "params/local",
    "params/remote",
    "user/mapping",
)


def cloud(visit: Visit, stage: Identified) -> Passed[Identified]:
    """Check that the unit reaches its broker, and, with a witness, what its cloud learns of it."""
    if not isinstance(stage, Joined):
        raise Skipped("the unit did not join a network")
    seconds = visit.job.product.verify.cloud_timeout
    checks: dict[str, Any] = {}
    visit.measured |= {"checks": checks, "limit": seconds}
    if stage.watch is None:
        skipped = _await_console(visit, stage, seconds)
        checks["mqtt"] = (Outcome.SKIP if skipped else Outcome.PASS).value
        return Passed(stage, visit.measured, skipped=skipped)
    talk = _Conversation(visit, stage.watch, time.monotonic() + seconds)
    config = talk.config(stage)
    checks["config"] = Outcome.PASS.value
    init = talk.mapping(checks)
    if (name := visit.job.product.verify.cloud_param) is not None:
        checks["param"] = talk.param(config, name, init)
    return Passed(stage, visit.measured)


def _await_console(visit: Visit, stage: Joined, seconds: float) -> str | None:
    """Wait until the log reports the connection; it may have done so already. Return why that cannot be seen."""
    log, proof = visit.board.log, visit.proofs.log
    for _ in chain([""], stage.console.lines(seconds if proof.tried else 0.0)):
        if log is not None:
            if log.mqtt_connected:
                visit.measured["connected"] = round(time.monotonic() - stage.joined_at, 3)
                return None
            judge_alive(log)
    if proof.required or (log is not None and log.mqtt_trouble is not None):
        raise _unconnected(visit)
    return f"the console does not show it: {proof.why or 'it printed no MQTT Connected'}"


def _unconnected(visit: Visit) -> UnitFault:
    """Return the error of a unit that did not reach its broker, with what its console says about it."""
    log = visit.board.log
    if log is not None and log.mqtt_connected:
        hint = "check that the witness of station.toml is at the broker that mqtt_host names"
        return _silent("its config", hint)
    if log is not None and (trouble := log.mqtt_trouble) is not None:
        return _distrust(visit, trouble) or UnitFault(trouble.reason, cause=trouble.cause)
    return UnitFault(
        "the unit did not connect to MQTT, and its console does not say why",
        hint="check mqtt_host and the certificate's registration",
        cause="no-mqtt",
    )


def _distrust(visit: Visit, trouble: Symptom) -> UnitFault | None:
    """Return why the unit does not accept its broker's certificate, if its firmware shows whom it trusts.

    The console does not tell a wrong clock from a wrong CA (`rmfab.board.mqtt_symptoms`). The witness has found the
    certificate good, so a unit that trusts the same CA has the wrong time.
    """
    ca = None if visit.job.witness is None else visit.job.witness.ca
    if trouble != REFUSES_BROKER or ca is None or visit.job.firmware is None:
        return None
    pinned = certificates_in(visit.job.firmware.release.part(APP).data)
    if not pinned:
        return None  # it has the certificate bundle
    if pinned & certificates_in(ca.encode()):
        told = "the unit trusts the CA of its broker, and does not accept the certificate: its clock is wrong"
        return UnitFault(told, cause="mqtt-clock")
    return UnitFault("the firmware does not trust the CA of the unit's broker", cause="mqtt-broker")


def _silent(what: str, hint: str | None = None) -> UnitFault:
    return UnitFault(f"the unit connected to MQTT, and did not publish {what}", hint=hint, cause="cloud-silent")


class _Conversation:
    """What a unit publishes, read in order until *ending* (monotonic). Every mapping that passes is judged."""

    def __init__(self, visit: Visit, watch: NodeWatch, ending: float) -> None:
        self._visit = visit
        self._watch = watch
        self._ending = ending
        self._reset = False

    def config(self, stage: Joined) -> dict[str, object]:
        """Return the config, which must be that of the unit and of its release."""
        message = self._next(_CONFIG)
        if message is None:
            raise _unconnected(self._visit)
        self._visit.measured["config"] = round(max(0.0, message.at - stage.joined_at), 3)
        return dict(judge_config(message, self._expected(stage)))

    def mapping(self, checks: dict[str, Any]) -> NodeMessage | None:
        """Check that the unit belongs to nobody. Return the report of its parameters, if it came meanwhile.

        Only firmware with challenge-response says so; for other firmware it is skipped.
        """
        proof = self._visit.proofs.challenge
        message = None
        if not self._reset and (proof.required or self._visit.job.product.verify.cloud_param is not None):
            message = self._next(_MAPPING, _INIT)
        if message is None and not self._reset and proof.required:
            raise _silent("that it belongs to nobody")
        if not self._reset and proof.required:
            raise UnitFault(
                "the unit belongs to a user already: it has not told its cloud to forget", cause="cloud-mapped"
            )
        checks["mapping"] = (Outcome.PASS if self._reset else Outcome.SKIP).value
        return message if message is not None and message.suffix == _INIT else None

    def param(self, config: dict[str, object], name: ParamName, init: NodeMessage | None) -> str:
        """Set the parameter *name* to a different value, and back; return the outcome."""
        param = find_param(config, name)
        reported = init or self._next(_INIT)
        if reported is None and not self._visit.proofs.challenge.required:
            self._visit.warn(f"skipped setting {name}: the firmware reports no parameters before its owner maps it")
            return Outcome.SKIP.value
        if reported is None:
            raise _silent("its parameters")
        current = value_in(reported, name)
        if current is None:
            raise UnitFault(f"the unit does not report {name}", cause="cloud-param")
        self._set(name, other_value(param, current, name), "param")
        self._set(name, current, "restored")
        return Outcome.PASS.value

    def _set(self, name: ParamName, value: Value, measurement: str) -> None:
        """Set *name*, wait until the unit reports the value, and note the time that it took.

        A unit that reconnects has no session at its broker, which keeps nothing for it: it is told again.
        """
        began = time.monotonic()
        while not self._told(name, value, began):
            if time.monotonic() >= self._ending:
                told = one_line(json.dumps(value), _MOST_SHOWN)
                raise UnitFault(f"the unit does not obey its cloud: {name} did not become {told}", cause="cloud-param")
        self._visit.measured[measurement] = round(time.monotonic() - began, 3)

    def _told(self, name: ParamName, value: Value, began: float) -> bool:
        """Set *name*; return whether the unit soon reports the value, or has since *began*, when it was told first."""
        by = min(time.monotonic() + _AGAIN_SECONDS, self._ending)
        self._watch.send(_REMOTE, request(name, value))
        while (message := self._next(_PARAMS, by=by)) is not None:
            if message.at >= began and same_value(value_in(message, name), value):
                return True
        return False

    def _next(self, *wanted: str, by: float | None = None) -> NodeMessage | None:
        """Return the next message with one of the suffixes *wanted*, None if it does not come in time, or *by* then."""
        ending = self._ending if by is None else by
        while True:
            self._visit.keep_going()
            judge_meanwhile(self._visit)
            left = ending - time.monotonic()
            message = self._watch.next(min(left, _LOOK_SECONDS)) if left > 0 else self._watch.last()
            if message is None and left <= 0:
                return None
            if message is not None and message.suffix == _MAPPING:
                judge_unmapped(message)
                self._reset = True
            if message is not None and message.suffix in wanted:
                return message

    def _expected(self, stage: Joined) -> ExpectedConfig:
        product, firmware = self._visit.job.product, self._visit.job.firmware
        if firmware is None or stage.bound.identity.node_id is None:
            raise ValueError("the step needs a release, and a unit with a node id")
        app = firmware.release.app
        return ExpectedConfig(stage.bound.identity.node_id, app.project, app.version, product.chip.value)
