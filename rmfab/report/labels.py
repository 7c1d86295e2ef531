"""The label of a unit: the parts of its identity that are printed."""

from __future__ import annotations

from rmfab.identity.identity import Identity
from rmfab.identity.qr import payload
from rmfab.label.layout import Label
from rmfab.product.product import Product
from rmfab.product.vocabulary import Security
from rmfab.secret import Secret


def label_of(identity: Identity, product: Product) -> Label:
    """Return the label of *identity*, without the PoP if provisioning does not use one. Raise InputError."""
    pop = Secret("") if product.provisioning.security is Security.PLAIN else identity.pop
    code = payload(identity.service_name, identity.pop, product.provisioning)
    return Label(product.name, identity.serial, identity.service_name, pop, code)
