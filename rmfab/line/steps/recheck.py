"""The step `recheck`: with the firmware that it has now, the unit still is that of its label, as its owner finds it.

A different firmware may derive PoP and service name differently from the same factory partition.

    console   node id and QR payload, with the PoP in it, in the log of the start after the factory reset
    session   a handshake with the PoP of the label, and a signature with the unit's key if the firmware can sign
"""

from __future__ import annotations

import time
from typing import Any

from rmfab.label.content import label_of
from rmfab.ledger.events import Outcome
from rmfab.line.boot_judge import judge_identity
from rmfab.line.ending import Passed
from rmfab.line.label_session import label_session, printed, prove_key, reach
from rmfab.line.listening import judge_meanwhile
from rmfab.line.stages import AsNew
from rmfab.line.visit import Visit
from rmfab.provisioning.patience import Patience

_LOOK_SECONDS = 0.05


def recheck(visit: Visit, stage: AsNew) -> Passed[AsNew]:
    """Check node id, PoP and key of a unit that waits for its owner."""
    checks: dict[str, Any] = {}
    visit.measured["checks"] = checks
    identity, product = stage.bound.identity, visit.job.product
    checks["console"] = _console(visit, stage)
    patience = Patience(product.verify.provision_timeout, lambda: _keep_going(visit))
    told = printed(identity, product)
    with reach(visit, told, patience) as transport:
        session = label_session(visit, transport, told)
        checks["session"] = Outcome.PASS.value
        checks["key"] = prove_key(session, identity, visit.proofs.challenge)
    return Passed(stage, visit.measured)


def _keep_going(visit: Visit) -> None:
    visit.keep_going()
    judge_meanwhile(visit)


def _console(visit: Visit, stage: AsNew) -> str:
    """Judge what the console shows; return the outcome."""
    policy, proofs, log = visit.job.product.verify, visit.proofs, visit.board.log
    ending = time.monotonic() + (policy.boot_timeout if proofs.qr.required else policy.settle)
    while log is not None and log.qr_payload is None and time.monotonic() < ending:
        _keep_going(visit)
        time.sleep(_LOOK_SECONDS)
    if log is None or not (log.app_started or proofs.log.required):
        return Outcome.SKIP.value
    identity, product = stage.bound.identity, visit.job.product
    payload, credentials = label_of(identity, product).payload, product.identity.credentials
    judge_identity(log, identity.node_id, payload, credentials, needs_qr=proofs.qr.required)
    return Outcome.PASS.value
