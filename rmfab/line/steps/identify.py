"""The step `identify`: have the running unit prove its identity, as far as its firmware can."""

from __future__ import annotations

import re

from rmfab.errors import InputError, StationError, UnitFault, one_line
from rmfab.identity.identity import Identity
from rmfab.identity.node_id import judge_same_node
from rmfab.identity.unit_signature import signed_by
from rmfab.label.content import label_of
from rmfab.ledger.events import Outcome
from rmfab.line.boot_judge import judge_alive, judge_identity
from rmfab.line.ending import Passed
from rmfab.line.listening import NODE_ID_ANSWER
from rmfab.line.proofs import Proof, no_proof
from rmfab.line.stages import Identified, Running
from rmfab.line.visit import Visit
from rmfab.product.vocabulary import Credentials

_SIGNATURE = re.compile(r"hex signature\(len \d+\): ([0-9a-fA-F]+)")
_UNKNOWN = "Unrecognized command"  # ESP-IDF, components/console/esp_console_common.c
_LOG_ONLY = 'if the firmware has no such command, set console = "log" in product.toml ([verify])'
_ANSWER_SECONDS = 5.0
_ASKS = 2


def identify(visit: Visit, stage: Running) -> Passed[Identified]:
    """Check that the unit is the expected one: its node id, its QR payload, and a signature made with its key."""
    log, bound = stage.log, stage.bound
    if bound is None:
        said = f' (its console prints "{one_line(log.node_id)}", which alone is no proof)' if log.node_id else ""
        raise UnitFault(
            f"this board has no identity in the ledger{said}",
            hint="flash it (`rmfab flash`), or if its MAC cannot be read, name the expected unit with --serial",
            cause="unbound",
        )
    product, identity = visit.job.product, bound.identity
    proofs, credentials = visit.proofs, product.identity.credentials
    judge_identity(
        log,
        identity.node_id,
        label_of(identity, product).payload,
        credentials,
        needs_node=proofs.log.required or log.app_started,
        needs_qr=proofs.qr.required,
    )
    has_node = credentials is Credentials.CERTIFICATE and log.node_id is not None
    proven = {
        "qr": (log.qr_payload is not None, proofs.qr),
        "node_id": (has_node, proofs.log),
        "console": (_ask_node_id(stage, identity, proofs.node_id), proofs.node_id),
        "signature": (_ask_signature(visit, stage, identity, proofs.signature), proofs.signature),
    }
    checks = {name: (Outcome.PASS if done else Outcome.SKIP).value for name, (done, _) in proven.items()}
    skipped = {name: proof.why for name, (done, proof) in proven.items() if not done and proof.why}
    measured = {"node_id": identity.node_id, "checks": checks} | ({"skipped": skipped} if skipped else {})
    return Passed(Identified(bound, stage.console), measured, skipped=_only_provisioning(visit, checks, skipped))


def _only_provisioning(visit: Visit, checks: dict[str, str], skipped: dict[str, str]) -> str | None:
    """Return why the step proved nothing, if so. Raise InputError if nothing follows that proves the identity."""
    if Outcome.PASS.value in checks.values():
        return None
    why = next(iter(skipped.values()), "the firmware reports nothing")
    if not visit.provisioning_proves:
        raise no_proof(why)
    return f"provisioning alone proves the identity: {why}"


def _ask(stage: Running, command: str, answer: re.Pattern[str], proof: Proof) -> str | None:
    """Return the console's answer, None if there is none and none is required. Ask a second time, since a line of the
    log may have run into the first answer.

    Raise UnitFault if the firmware dies or restarts meanwhile, or does not answer what it can answer for certain;
    InputError if it does not have the *command*.
    """
    name = command.split()[0]
    unknown = False
    for _ in range(_ASKS if proof.tried else 0):
        match = stage.console.ask(command, re.compile(f"{answer.pattern}|{_UNKNOWN}"), _ANSWER_SECONDS)
        judge_alive(stage.log)
        if match and match[1]:
            return match[1]
        unknown = match is not None
    if unknown and proof.required:
        raise InputError(
            f"the firmware has no console command {name}",
            where="product.toml: [verify] console",
            hint=_LOG_ONLY,
            cause="config-mismatch",
        )
    if proof.required:
        raise UnitFault(f"the console did not answer {name}", hint=_LOG_ONLY, cause="no-console")
    return None


def _ask_node_id(stage: Running, identity: Identity, proof: Proof) -> bool:
    """Return whether the unit proved its node id."""
    told = _ask(stage, "get-node-id", NODE_ID_ANSWER, proof)
    if told is None:
        return False
    if told != identity.node_id and _ask(stage, "get-node-id", NODE_ID_ANSWER, proof) != told:
        raise _garbled("get-node-id")
    judge_same_node(told, identity.node_id)
    return True


def _ask_signature(visit: Visit, stage: Running, identity: Identity, proof: Proof) -> bool:
    """Return whether the unit proved its key."""
    challenge = visit.job.challenge()
    told = _ask(stage, f"sign-data {challenge}", _SIGNATURE, proof)
    if told is None:
        return False
    if not _signed(identity, challenge, told):
        if _signed(identity, challenge, _ask(stage, f"sign-data {challenge}", _SIGNATURE, proof) or ""):
            raise _garbled("sign-data")
        raise UnitFault(
            "the key in the unit does not belong to its certificate",
            hint="void the unit; its factory partition holds the wrong key",
            cause="key-mismatch",
        )
    return True


def _signed(identity: Identity, challenge: str, told: str) -> bool:
    pem = identity.certificate_pem
    return pem is not None and signed_by(pem, challenge.encode(), _octets(told))


def _garbled(command: str) -> StationError:
    return StationError(
        f"two answers to {command} do not read the same",
        hint="check the cable, the contacts and the console's baud, then run it again",
        cause="console-garbled",
    )


def _octets(told: str) -> bytes:
    """Return the octets of a signature in hex; none if a digit is missing, so that its verification fails."""
    return bytes.fromhex(told) if len(told) % 2 == 0 else b""
