"""The step `identify`: have the running unit prove its identity."""

from __future__ import annotations

import re

from rmfab.errors import StationError, UnitFault, one_line
from rmfab.identity.identity import Identity
from rmfab.identity.node_id import judge_same_node
from rmfab.identity.unit_signature import signed_by
from rmfab.label.content import label_of
from rmfab.ledger.events import Outcome
from rmfab.line.boot_judge import judge_alive, judge_identity
from rmfab.line.ending import Passed
from rmfab.line.stages import Identified, Running
from rmfab.line.visit import Visit
from rmfab.product.vocabulary import Credentials

_NODE_ID = re.compile(r"Node ID: (\S+)")
_SIGNATURE = re.compile(r"hex signature\(len \d+\): ([0-9a-fA-F]+)")
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
    expected = label_of(identity, product).payload
    certificate = product.identity.credentials is Credentials.CERTIFICATE
    judge_identity(log, identity.node_id, expected, product.identity.credentials)
    asked = certificate and product.verify.console
    if asked:
        _ask_node_id(stage, identity)
        _ask_signature(stage, identity, visit.job.challenge())
    done = {True: Outcome.PASS.value, False: Outcome.SKIP.value}
    checks = {"qr": done[True], "node_id": done[certificate], "console": done[asked], "signature": done[asked]}
    return Passed(Identified(bound, stage.console), {"node_id": identity.node_id, "checks": checks})


def _ask(stage: Running, command: str, answer: re.Pattern[str]) -> str | None:
    """Return the console's answer. Ask a second time, since a line of the log may have run into the first answer.

    Raise UnitFault if the firmware dies or restarts meanwhile.
    """
    for _ in range(_ASKS):
        match = stage.console.ask(command, answer, _ANSWER_SECONDS)
        judge_alive(stage.log)
        if match:
            return match[1]
    return None


def _ask_node_id(stage: Running, identity: Identity) -> None:
    told = _ask(stage, "get-node-id", _NODE_ID)
    if told is None:
        raise UnitFault(
            "the console did not answer get-node-id",
            hint="if the firmware has no console commands, set console = false in product.toml ([verify])",
            cause="no-console",
        )
    if told != identity.node_id and _ask(stage, "get-node-id", _NODE_ID) != told:
        raise _garbled("get-node-id")
    judge_same_node(told, identity.node_id)


def _ask_signature(stage: Running, identity: Identity, challenge: str) -> None:
    told = _ask(stage, f"sign-data {challenge}", _SIGNATURE)
    if told is None:
        raise UnitFault("the console did not answer sign-data", cause="no-console")
    if not _signed(identity, challenge, told):
        if _signed(identity, challenge, _ask(stage, f"sign-data {challenge}", _SIGNATURE) or ""):
            raise _garbled("sign-data")
        raise UnitFault(
            "the key in the unit does not belong to its certificate",
            hint="void the unit; its factory partition holds the wrong key",
            cause="key-mismatch",
        )


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
