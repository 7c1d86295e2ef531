"""The bitmap of a unit's label for the station's printer, in the style of the product or a chosen one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rmfab.errors import InputError
from rmfab.identity.identity import Identity
from rmfab.label.content import Placeholder, label_of
from rmfab.label.design import LabelDesign
from rmfab.label.print_raster import LabelRaster, label_raster
from rmfab.label.printers.area import printable_area
from rmfab.label.sample_label import sample_label
from rmfab.label.sheets import sheet
from rmfab.label.style import LabelStyle
from rmfab.label.unit_facts import facts_of
from rmfab.ledger.events import StoredEvent
from rmfab.ledger.records import LedgerIdentity
from rmfab.operations.label_design import label_design
from rmfab.product.product import Product
from rmfab.workspace.workspace import Workspace


@dataclass(frozen=True)
class LabelArtist:
    """Draws the labels of *product* in *design*."""

    product: Product
    design: LabelDesign

    @classmethod
    def of(cls, workspace: Workspace, style: str | None = None, size: str | None = None) -> LabelArtist:
        """Return the one for *style* and *size*, else those of the product, on the labels in the station's printer.

        The automatic layout keeps to what the printer can print of them.

        Raise InputError if there is no such style, or if it does not fit.
        """
        printer = workspace.station.printer
        if printer is not None and printer.media is not None:
            area = printable_area(printer, printer.media)
            media = area.width, area.height
        else:
            media = sheet(workspace.product.label.sheet).label
        return cls(workspace.product, label_design(workspace, style, size, media))

    def draw(
        self,
        identity: Identity,
        record: LedgerIdentity,
        history: Callable[[], Sequence[StoredEvent]],
        dpi: int,
        slot: str = "",
    ) -> LabelRaster:
        """Return the label of *identity* at *dpi* dots per inch, read back. *slot*: where its board is.

        *history* is only called if the style prints something of it. Raise InputError if the label does not fit,
        IntegrityError if its code does not read back.
        """
        asked = self.design.placeholders if isinstance(self.design, LabelStyle) else frozenset()
        facts = facts_of(record, history() if Placeholder.RELEASE in asked else (), slot)
        return label_raster(label_of(identity, self.product, facts), self.design, dpi)

    def draw_sample(self, dpi: int) -> LabelRaster:
        """Return the label of no unit at *dpi* dots per inch: it has the warnings of all. Raise as `draw`."""
        return label_raster(sample_label(self.product), self.design, dpi)

    def judge_for_line(self) -> None:
        """Raise InputError if the labels are not those of units, but of cartons: without the PoP."""
        if not self.design.shows_pop:
            raise InputError(
                f"the style {self.design.name} has no code with the PoP, so it is not a unit's label",
                where="product.toml: [label] style",
                hint="choose a style with the code; print labels for cartons with `rmfab label --print --style`",
                cause="carton-style",
            )
