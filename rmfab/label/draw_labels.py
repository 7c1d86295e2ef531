"""The drawing of many labels, on all cores if there are enough labels.

Separate from `pdf.py`, so that a worker process does not import reportlab's canvas.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from rmfab.label.content import Label
from rmfab.label.layout import Artwork, make_artwork
from rmfab.label.typeface import choose_font, chosen_font
from rmfab.secret import Secret
from rmfab.workers.crew import cores, open_crew
from rmfab.workers.feeding import chunked

_WORTH_SPREADING = 200
_LABELS_AT_ONCE = 16

PlainLabel = tuple[str, str, str, str, str]


def make_artworks(labels: Sequence[Label], width: float, height: float) -> Generator[Artwork, None, None]:
    """Yield the drawings of *labels* on *width* x *height* mm, in order. Raise InputError as `make_artwork` does."""
    jobs = cores() if len(labels) >= _WORTH_SPREADING else 1
    with open_crew(_Drawer, (width, height, chosen_font()), jobs) as crew:
        for _, artworks in crew.run(_Drawer.draw, chunked(map(_plain, labels), _LABELS_AT_ONCE if jobs > 1 else 1)):
            yield from artworks


def _plain(label: Label) -> PlainLabel:
    # A Secret cannot be pickled. The plain values go through a pipe that no other process reads.
    return label.product, label.serial, label.service_name, label.pop.reveal(), label.payload.reveal()


class _Drawer:
    """The worker that draws labels of one size."""

    def __init__(self, order: tuple[float, float, Path | None]) -> None:
        self._width, self._height, font = order
        if font != chosen_font():  # in a process of its own
            choose_font(font)

    def draw(self, labels: Sequence[PlainLabel]) -> list[Artwork]:
        """Return the drawings of a chunk of labels."""
        return [self._artwork(*label) for label in labels]

    def _artwork(self, product: str, serial: str, name: str, pop: str, payload: str) -> Artwork:
        artwork = make_artwork(Label(product, serial, name, Secret(pop), Secret(payload)), self._width, self._height)
        _ = artwork.symbol.path  # now, on all cores: it is kept, and the pages are made on one
        return artwork
