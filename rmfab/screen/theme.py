"""The colours of the styles: blue and orange, which people with every kind of colour vision tell apart.

The palette is that of Okabe and Ito, "Color Universal Design" (2008). A verdict is never told by its colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.style import Style

from rmfab.screen.tile import Look

_BLUE, _ORANGE, _YELLOW, _SKY = "#0072b2", "#e69f00", "#f0e442", "#56b4e9"
_PAPER, _CARD, _WORK, _INK, _DIM = "#101418", "#1b2229", "#23303c", "#e8ecef", "#8a949e"
_VERDICTS = {
    Look.PASS: ("#ffffff", _BLUE),
    Look.MARGINAL: ("#000000", _SKY),
    Look.FAIL: ("#000000", _ORANGE),
    Look.ERROR: ("#ffffff", "#97447f"),
    Look.ABORTED: ("#ffffff", "#68727c"),
    Look.SEEN: ("#ffffff", "#00785a"),
    Look.LOCKED: ("#000000", _YELLOW),
    Look.WORKING: (_INK, _WORK),
    Look.HELD: ("#000000", "#c9d1d8"),
    Look.EMPTY: (_DIM, _CARD),
}
_TEXTS = {
    Look.PASS: "#3a9ad9",
    Look.ERROR: "#cc79a7",
    Look.ABORTED: _DIM,
    Look.SEEN: "#1fb98a",
    Look.WORKING: _INK,
    Look.EMPTY: _DIM,
}
"""The colours of words and marks on paper, where those of a tile would be too dark."""


def _colours() -> dict[str, Style]:
    styles = {
        "paper": Style(color=_INK, bgcolor=_PAPER),
        "dim": Style(color=_DIM, bgcolor=_PAPER),
        "strong": Style(color="#ffffff", bgcolor=_PAPER, bold=True),
        "warning": Style(color=_ORANGE, bgcolor=_PAPER, bold=True),
        "bar": Style(color=_INK, bgcolor="#2c3a47"),
        "bar-strong": Style(color="#ffffff", bgcolor="#2c3a47", bold=True),
        "bar-dim": Style(color="#b6c0c8", bgcolor="#2c3a47"),
        "key": Style(color="#000000", bgcolor="#b6c0c8", bold=True),
        "field": Style(color="#000000", bgcolor="#ffffff"),
        "question": Style(color="#000000", bgcolor=_YELLOW, bold=True),
        "card": Style(color=_INK, bgcolor=_CARD),
        "card-strong": Style(color="#ffffff", bgcolor=_CARD, bold=True),
        "card-dim": Style(color=_DIM, bgcolor=_CARD),
        "chosen": Style(color="#000000", bgcolor="#ffffff", bold=True),
        "chart": Style(color=_SKY, bgcolor=_PAPER, bold=True),
        "done": Style(color=_SKY, bgcolor=_SKY),
        "to-do": Style(color="#3a4856", bgcolor="#3a4856"),
    }
    for look, (ink, paper) in _VERDICTS.items():
        styles[look] = Style(color=ink, bgcolor=paper, bold=True)
        styles[f"{look}-block"] = Style(color=ink, bgcolor=ink)
        styles[f"{look}-text"] = Style(color=_TEXTS.get(look, paper), bgcolor=_PAPER, bold=True)
    return styles


def _without_colours() -> dict[str, Style]:
    """The styles for terminals without colours, or people who want none."""
    bold, reverse, nothing = Style(bold=True), Style(reverse=True), Style.null()
    styles = dict.fromkeys(COLOURS, nothing)
    reversed_ones = ("bar", "bar-strong", "bar-dim", "key", "field", "question", "chosen")
    styles |= dict.fromkeys(("strong", "card-strong", "warning", *Look), bold)
    return styles | dict.fromkeys(reversed_ones, reverse)


COLOURS: Mapping[str, Style] = _colours()
NO_COLOURS: Mapping[str, Style] = _without_colours()
