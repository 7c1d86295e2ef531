"""The content of a unit's label, as the label printer and the checks of the line use it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique

from rmfab.errors import InputError
from rmfab.identity.identity import Identity
from rmfab.identity.qr import payload
from rmfab.label.text import LabelField
from rmfab.product.product import Product
from rmfab.secret import Secret


@unique
class Placeholder(StrEnum):
    """What a style can print: `{serial}` in its texts is the serial of the unit."""

    PRODUCT = "product"
    SERIAL = "serial"
    SERVICE_NAME = "service_name"
    POP = "pop"
    MAC = "mac"
    NODE_ID = "node_id"
    BATCH = "batch"
    RELEASE = "release"
    DATE = "date"
    SLOT = "slot"


@dataclass(frozen=True)
class UnitFacts:
    """What the ledger and the line know about a unit besides its identity. Empty is unknown.

    *mac* as on the board (`24:0A:C4:00:00:01`), *release* the version that was flashed, *date* (`2026-11-28`) the day
    on which the unit was verified, *slot* the slot of the station.
    """

    mac: str = ""
    batch: str = ""
    release: str = ""
    date: str = ""
    slot: str = ""


NO_FACTS = UnitFacts()


@dataclass(frozen=True)
class Label:
    """The content of one label. *payload* is the text of the QR code. An empty *pop* is omitted."""

    product: str
    serial: str
    service_name: str
    pop: Secret[str]
    payload: Secret[str]
    node_id: str = ""
    facts: UnitFacts = NO_FACTS

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

    def value(self, placeholder: Placeholder) -> Secret[str]:
        """Return the text for *placeholder*, empty if it is unknown."""
        values = {
            Placeholder.PRODUCT: self.product,
            Placeholder.SERIAL: self.serial,
            Placeholder.SERVICE_NAME: self.service_name,
            Placeholder.NODE_ID: self.node_id,
            Placeholder.MAC: self.facts.mac,
            Placeholder.BATCH: self.facts.batch,
            Placeholder.RELEASE: self.facts.release,
            Placeholder.DATE: self.facts.date,
            Placeholder.SLOT: self.facts.slot,
        }
        return self.pop if placeholder is Placeholder.POP else Secret(values[placeholder])


def label_of(identity: Identity, product: Product, facts: UnitFacts = NO_FACTS) -> Label:
    """Return the label of *identity*, without a PoP if the product has none. Raise InputError as `qr.payload` does."""
    pop = identity.pop if product.provisioning.has_pop else Secret("")
    code = payload(identity.service_name, identity.pop, product.provisioning)
    return Label(product.name, identity.serial, identity.service_name, pop, code, identity.node_id or "", facts)
