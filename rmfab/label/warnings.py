"""The warnings about labels: small modules, and text that is omitted or shortened."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rmfab.label.content import Label
from rmfab.label.layout import LARGER_HINT, Layout, small_module
from rmfab.label.text import LabelField
from rmfab.label.typeface import is_writable


@dataclass(frozen=True)
class LabelWarning:
    """A warning about labels, and a hint. It never contains a secret."""

    what: str
    hint: str | None = None


def remarks(label: Label, layout: Layout) -> Iterator[LabelWarning]:
    """Yield the warnings about one label."""
    if small := small_module(label, layout):
        yield LabelWarning(*small)
    crowded = [each.value for each in layout.omitted if _writable(each, label)]
    if crowded:
        yield LabelWarning(f"no room for text: {', '.join(crowded)} omitted", LARGER_HINT)
    for each in layout.omitted:
        if each.value not in crowded:
            yield LabelWarning(f"the {each.value} is omitted: the label's typeface lacks some of its characters")
    for each in layout.shortened:
        yield LabelWarning(f"the {each.value} is shortened", LARGER_HINT)
    if label.product and LabelField.PRODUCT not in layout.omitted and not _writable(LabelField.PRODUCT, label):
        yield LabelWarning("the label's typeface lacks some characters of the product: replaced with the nearest")


def counted_warnings(of_labels: Iterable[Iterable[LabelWarning]]) -> tuple[LabelWarning, ...]:
    """Return the warnings *of_labels*, each once, with the number of labels."""
    found: dict[LabelWarning, int] = {}
    for warnings in of_labels:
        for notice in warnings:
            found[notice] = found.get(notice, 0) + 1
    return tuple(
        LabelWarning(f"{notice.what} ({number} label{'s' if number > 1 else ''})", notice.hint)
        for notice, number in found.items()
    )


def _writable(each: LabelField, label: Label) -> bool:
    return is_writable(label.texts()[each].reveal(), each.face)
