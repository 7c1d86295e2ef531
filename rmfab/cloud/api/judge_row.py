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
_CERTIFICATE_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])", re.IGNORECASE)
_SAME = re.compile(r"RegisterCertificate|certificate is already (?:provisioned|registered)", re.IGNORECASE)


def judge_row(row: FailedRow, certificate_id: str) -> UnitFault | None:
    """Return why the unit with *certificate_id* is not registered; None if it is, because the cloud had it before."""
    if row.code != DUPLICATE:
        return UnitFault(f"{row.code}: {row.reason}", cause="not-registered")
    named = {one.lower() for one in _CERTIFICATE_ID.findall(row.reason)}
    if certificate_id in named or (not named and _SAME.search(row.reason)):
        return None
    told = "with a different certificate" if named else "and does not tell with which certificate"
    return UnitFault(f"the cloud has this node id already, {told}: {row.reason}", cause="node-taken")


def judge_node(node: SeenNode, uploaded: datetime, reason: str) -> UnitFault | None:
    """Return why the unit of *node*, first *uploaded* at that time, is not registered; None if it is.

    *reason*: what the cloud says of the job in which not all were registered.
    """
    if not node.known:
        return UnitFault(reason, cause="not-registered")
    if node.registered is not None and node.registered < uploaded - TOLERANCE:
        since = f"{node.registered:%Y-%m-%d %H:%M} UTC"
        return UnitFault(
            f"the cloud has had this node id since {since}, and does not tell with which certificate",
            cause="node-taken",
        )
    return None
