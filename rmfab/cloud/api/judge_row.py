"""What a row that the cloud did not register means, and a node that it knows: pure judges.

Source: esp-rainmaker-neo, node_reg_failed_nodes_db.go (the codes). DUPLICATE_NODEID is any "already exists" of AWS. AWS
names a certificate by its content, so one that is registered already is the same one.
"""

from __future__ import annotations

import re
from datetime import datetime

from rmfab.cloud.api.registrar import FailedRow, SeenNode
from rmfab.cloud.api.trouble import TOLERANCE
from rmfab.errors import UnitFault

DUPLICATE = "DUPLICATE_NODEID"
_HAS = "the cloud has this node id already"
_CERTIFICATE_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", re.IGNORECASE)
_MISMATCH = "cert mismatch for existing node"
"""What Neo's specification wants as the reason for a node with a different certificate (node_reg.md, section 3.6)."""
_SAME = re.compile(r"RegisterCertificate|certificate is already (?:provisioned|registered)", re.IGNORECASE)


def judge_row(row: FailedRow, certificate_id: str) -> UnitFault | None:
    """Return why the unit with *certificate_id* is not registered; None if it is, because the cloud had it before."""
    if _MISMATCH in row.reason:
        return UnitFault(f"{_HAS}, with a different certificate: {row.reason}", cause="node-taken")
    if row.code != DUPLICATE:
        return UnitFault(f"{row.code}: {row.reason}", cause="not-registered")
    named = {one.lower() for one in _CERTIFICATE_ID.findall(row.reason)}
    if certificate_id in named or (not named and _SAME.search(row.reason)):
        return None
    told = "with a different certificate" if named else "and does not tell with which certificate"
    return UnitFault(f"{_HAS}, {told}: {row.reason}", cause="node-taken")


def judge_node(node: SeenNode, uploaded: datetime, reason: str) -> UnitFault | None:
    """Return why the unit of *node*, first *uploaded* at that time, is not registered; None if it is.

    *reason*: what the cloud says of the job in which not all were registered.
    """
    if not node.known:
        return UnitFault(reason, cause="not-registered")
    return _taken(node) if _before(node, uploaded) else None


def judge_free(node: SeenNode) -> UnitFault | None:
    """Return why the unit of *node*, which was never uploaded, must not be: the cloud has its node id already, and
    would give it a second certificate."""
    return _taken(node) if node.known else None


def judge_known(node: SeenNode, certified: datetime, *, taken: bool, proven: bool) -> UnitFault | None:
    """Return why the unit of *node* is not registered; None if it is, or may be: no cloud tells certificates.

    *certified*: from when its certificate is valid. *taken*: the cloud had its node id before this ledger uploaded it.
    *proven*: the cloud has its certificate.
    """
    if not node.known:
        return UnitFault("the cloud does not have the unit", cause="not-registered")
    return _taken(node) if not proven and (taken or _before(node, certified)) else None


def _before(node: SeenNode, time: datetime) -> bool:
    return node.registered is not None and node.registered < time - TOLERANCE


def _taken(node: SeenNode) -> UnitFault:
    since = "" if node.registered is None else f", since {node.registered:%Y-%m-%d %H:%M} UTC"
    return UnitFault(f"{_HAS}{since}, and does not tell with which certificate", cause="node-taken")
