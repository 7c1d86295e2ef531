"""What the label of a unit says: the one description that printing, the line and its proofs share."""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.errors import InputError
from rmfab.identity.identity import Identity
from rmfab.identity.qr import payload
from rmfab.label.text import LabelField
from rmfab.product.product import Product
from rmfab.secret import Secret


@dataclass(frozen=True)
class Label:
    """What one label says. *payload* is the text of the code; an empty *pop* is left off."""

    product: str
    serial: str
    service_name: str
    pop: Secret[str]
    payload: Secret[str]

    def __post_init__(self) -> None:
        if not self.serial or not self.payload.reveal():
            raise InputError("a label needs a serial and a payload for its code", where=self.serial or None)

    def texts(self) -> dict[LabelField, Secret[str]]:
        """What each line says."""
        return {
            LabelField.PRODUCT: Secret(self.product),
            LabelField.SERIAL: Secret(self.serial),
            LabelField.NAME: Secret(self.service_name),
            LabelField.POP: self.pop,
        }


def label_of(identity: Identity, product: Product) -> Label:
    """The label of *identity*; a unit that provisions without a PoP shows none. Raises InputError."""
    pop = identity.pop if product.provisioning.has_pop else Secret("")
    code = payload(identity.service_name, identity.pop, product.provisioning)
    return Label(product.name, identity.serial, identity.service_name, pop, code)
