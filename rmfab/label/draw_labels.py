"""The drawing of many labels, on all cores if there are enough labels.

Separate from `pdf.py`, so that a worker process does not import reportlab's canvas.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import astuple

from rmfab.label.compose import Composition
from rmfab.label.content import Label, UnitFacts
from rmfab.label.design import LabelDesign, draw_design
from rmfab.secret import Secret
from rmfab.workers.crew import cores, open_crew
from rmfab.workers.feeding import chunked

_WORTH_SPREADING = 200
_LABELS_AT_ONCE = 16

PlainLabel = tuple[str, str, str, str, str, str, tuple[str, ...]]


def draw_labels(labels: Sequence[Label], design: LabelDesign, dot: float | None) -> Generator[Composition, None, None]:
    """Yield the drawings of *labels* for pages, in order. Raise InputError as `draw_design` does.

    *dot*: the size of a dot in mm if all lengths are to be whole dots.
    """
    jobs = cores() if len(labels) >= _WORTH_SPREADING else 1
    with open_crew(_Drawer, (design, dot), jobs) as crew:
        for _, drawn in crew.run(_Drawer.draw, chunked(map(_plain, labels), _LABELS_AT_ONCE if jobs > 1 else 1)):
            yield from drawn


def _plain(label: Label) -> PlainLabel:
    # A Secret cannot be pickled. The plain values go through a pipe that no other process reads.
    secrets = label.pop.reveal(), label.payload.reveal()
    return label.product, label.serial, label.service_name, *secrets, label.node_id, astuple(label.facts)


class _Drawer:
    """The worker that draws labels of one design."""

    def __init__(self, order: tuple[LabelDesign, float | None]) -> None:
        self._design, self._dot = order

    def draw(self, labels: Sequence[PlainLabel]) -> list[Composition]:
        """Return the drawings of a chunk of labels."""
        return [self._drawn(*label) for label in labels]

    def _drawn(
        self, product: str, serial: str, name: str, pop: str, payload: str, node_id: str, facts: tuple[str, ...]
    ) -> Composition:
        label = Label(product, serial, name, Secret(pop), Secret(payload), node_id, UnitFacts(*facts))
        made = draw_design(label, self._design, self._dot, on_paper=True)
        if made.drawing.code is not None:
            _ = made.drawing.code.symbol.path  # now, on all cores: it is kept, and the pages are made on one
        return made
