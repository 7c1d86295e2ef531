"""The label as a phone uses it: the contents of its code, and a provisioning session with them."""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from rmfab.errors import UnitFault
from rmfab.identity.identity import Identity
from rmfab.identity.qr import parse_payload
from rmfab.label.content import label_of
from rmfab.label.readback import codes_in, picture
from rmfab.label.symbol import encode
from rmfab.ledger.events import Outcome
from rmfab.line.proofs import Proof
from rmfab.line.visit import Visit
from rmfab.product.product import Product, Provisioning
from rmfab.provisioning.check import check_key, check_session
from rmfab.provisioning.patience import Patience
from rmfab.provisioning.session import ProvisioningSession
from rmfab.provisioning.transport import ProvisioningTransport
from rmfab.secret import Secret


@dataclass(frozen=True)
class Printed:
    """The contents of the label's code: the name to look for, the PoP, and the parameters of the handshake."""

    name: str
    pop: Secret[str]
    provisioning: Provisioning


def printed(identity: Identity, product: Product) -> Printed:
    """Return the contents of the label of *identity*, as read back from the drawn code.

    Raise UnitFault if the code does not contain what the unit needs.
    """
    label, provisioning = label_of(identity, product), product.provisioning
    read = codes_in(picture(encode(label.payload)))
    if len(read) != 1:
        raise UnitFault("the label's code cannot be read back", cause="label-unreadable")
    told = parse_payload(read[0].decode())
    pop = told.pop or Secret("")
    if told.name != label.service_name or pop != label.pop or told.transport != provisioning.transport.value:
        raise UnitFault("the label's code does not match the unit", cause="label-mismatch")
    return Printed(told.name, pop, replace(provisioning, username=told.username or provisioning.username))


def reach(visit: Visit, told: Printed, patience: Patience) -> AbstractContextManager[ProvisioningTransport]:
    """Return a context with a transport to the unit of that label. Raise as `Air.reach`."""
    job = visit.job
    return job.air.reach(visit.slot, told.name, job.product, patience, visit.warn)


def label_session(visit: Visit, transport: ProvisioningTransport, told: Printed) -> ProvisioningSession:
    """Open a session with the PoP of the label. Raise UnitFault if the unit does not accept it."""
    credentials = visit.job.product.identity.credentials
    return check_session(transport, told.provisioning, credentials, told.pop, secrets.token_bytes)


def prove_key(session: ProvisioningSession, identity: Identity, proof: Proof) -> str:
    """Check that the unit holds its key, by a challenge; return the outcome: firmware that cannot is skipped."""
    missing = not proof.required and not session.capabilities.challenge_response
    if identity.node_id is None or identity.certificate_pem is None or missing:
        return Outcome.SKIP.value
    check_key(session, identity.node_id, identity.certificate_pem, secrets.token_bytes)
    return Outcome.PASS.value
