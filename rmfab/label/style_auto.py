"""The style of a label without one: the layout that fits its size best, with all fields that have room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class AutomaticStyle:
    """A label of *width* x *height* mm that lays itself out. *product_font*: `[label] font` of product.toml."""

    width: float
    height: float
    product_font: Path | None = None
    name: str = ""
    copies: int = 1
    shows_pop: bool = True
