"""The bitmap of a unit's label, for a printer."""

from __future__ import annotations

import io

from PIL import Image

from rmfab.identity.identity import Identity
from rmfab.label.content import label_of
from rmfab.label.picture import make_png
from rmfab.label.raster import Raster
from rmfab.label.sheets import sheet
from rmfab.ledger.records import LedgerIdentity
from rmfab.product.product import Product


def draw_label(product: Product, identity: Identity, _record: LedgerIdentity, dpi: int, _slot: str = "") -> Raster:
    """Return the label of *identity* at *dpi* dots per inch, read back. Raise as `make_png`."""
    png = make_png(label_of(identity, product), *sheet(product.label.sheet).label, dpi)
    with Image.open(io.BytesIO(png.data)) as image:
        return Raster.of_image(image)
