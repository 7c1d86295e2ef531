"""The step `recheck`: the firmware that the unit has now still is the unit of its label, as its owner finds it.

A different firmware may derive the PoP or the service name differently from the same factory partition.
"""

from __future__ import annotations

import time

from rmfab.label.content import label_of
from rmfab.ledger.events import Outcome
from rmfab.line.boot_judge import judge_identity
from rmfab.line.ending import Passed, Skipped
from rmfab.line.stages import AsNew
from rmfab.line.visit import Visit

_LOOK_SECONDS = 0.05


def recheck(visit: Visit, stage: AsNew) -> Passed[AsNew]:
    """Check node id and QR payload, with the PoP in it, in the log of the start after the factory reset."""
    policy, proofs, log = visit.job.product.verify, visit.proofs, visit.board.log
    ending = time.monotonic() + (policy.boot_timeout if proofs.qr.required else policy.settle)
    while log is not None and log.qr_payload is None and time.monotonic() < ending:
        visit.keep_going()
        visit.board.hear()
        time.sleep(_LOOK_SECONDS)
    if log is None or not (log.app_started or proofs.log.required):
        raise Skipped(proofs.log.why or "the console does not show it")
    identity, product = stage.bound.identity, visit.job.product
    payload, credentials = label_of(identity, product).payload, product.identity.credentials
    judge_identity(log, identity.node_id, payload, credentials, needs_qr=proofs.qr.required)
    done = {"node_id": log.node_id is not None, "qr": log.qr_payload is not None}
    checks = {name: (Outcome.PASS if seen else Outcome.SKIP).value for name, seen in done.items()}
    return Passed(stage, {"checks": checks})
