"""The content of a unit's label, as the label printer and the checks of the line use it."""

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
    """The content of one label. *payload* is the text of the QR code. An empty *pop* is omitted."""

    product: str
    serial: str
    service_name: str
    pop: Secret[str]
    payload: Secret[str]

    def __post_init__(self) -> None:
        if not self.serial or not self.payload.reveal():
            raise InputError("a label needs a serial and a QR payload", where=self.serial or None)

    def texts(self) -> dict[LabelField, Secret[str]]:
        """Return the text of each line."""
        return {
            LabelField.PRODUCT: Secret(self.product),
            LabelField.SERIAL: Secret(self.serial),
            LabelField.NAME: Secret(self.service_name),
            LabelField.POP: self.pop,
        }


def label_of(identity: Identity, product: Product) -> Label:
    """Return the label of *identity*, without a PoP if the product has none. Raise InputError as `qr.payload` does."""
    pop = identity.pop if product.provisioning.has_pop else Secret("")
    code = payload(identity.service_name, identity.pop, product.provisioning)
    return Label(product.name, identity.serial, identity.service_name, pop, code)
