"""The bitmap of a unit's label, for a printer."""

from __future__ import annotations

from rmfab.identity.identity import Identity
from rmfab.label.content import UnitFacts, label_of
from rmfab.label.print_raster import label_raster
from rmfab.label.raster import Raster
from rmfab.label.sheets import sheet
from rmfab.label.style_auto import AutomaticStyle
from rmfab.ledger.records import LedgerIdentity
from rmfab.product.product import Product


def draw_label(product: Product, identity: Identity, record: LedgerIdentity, dpi: int, slot: str = "") -> Raster:
    """Return the label of *identity* at *dpi* dots per inch, read back. *slot*: where its board is.

    Raise InputError if the label does not fit, IntegrityError if its code does not read back.
    """
    style = AutomaticStyle(*sheet(product.label.sheet).label, product.label.font)
    facts = UnitFacts(
        mac=record.mac or "", batch=record.batch, date=(record.standing.verified_ts or "")[:10], slot=slot
    )
    return label_raster(label_of(identity, product, facts), style, dpi).raster
