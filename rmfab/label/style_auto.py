"""The style of a label without one: the layout that fits its size best, with all fields that have room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

AUTOMATIC = "auto"
"""The name by which `--style` chooses it."""
_LONGEST = 30.0


@dataclass(frozen=True)
class AutomaticStyle:
    """A label of *width* x *height* mm that lays itself out. *product_font*: `[label] font` of product.toml."""

    width: float
    height: float
    product_font: Path | None = None
    name: str = AUTOMATIC
    copies: int = 1
    shows_pop: bool = True

    @classmethod
    def for_media(cls, width: float, height: float | None, product_font: Path | None = None) -> AutomaticStyle:
        """Return the style for the labels in a printer. A continuous roll (no *height*) is cut after 30 mm at most."""
        return cls(width, min(width, _LONGEST) if height is None else height, product_font)

    def __str__(self) -> str:
        return self.name
