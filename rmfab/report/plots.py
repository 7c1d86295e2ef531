"""The plots of a report, as SVG for a page with a strict policy: no script, no style, nothing from elsewhere.

matplotlib draws them; this is the only module that knows it. It writes styles into `style` attributes, which such a
policy forbids: they become attributes of SVG (SVG 1.1, 6.3). Its ids get a prefix, because one page has several plots.
What devices and people named is text here: as mathematics, `$` in a slot's name would be an error.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from math import floor
from typing import Any
from xml.etree import ElementTree as ET

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from rmfab.errors import one_line
from rmfab.line.shifts import LocalTime
from rmfab.report.numbers import MeasurementNumbers, ReportNumbers
from rmfab.report.sections import Section
from rmfab.report.yields import Tally

_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rmfab",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "hatch.linewidth": 0.6,
}
_BLUE, _ORANGE, _DARK, _PALE = "#0072b2", "#d55e00", "#333333", "#c9d6df"
"""Blue and orange of Okabe and Ito, which colour-blind people tell apart. FAIL is hatched as well."""
_ABOVE: dict[str, Any] = {"loc": "lower right", "ncols": 2, "frameon": False, "bbox_to_anchor": (1, 1)}
_WIDE = 7.1  # inches: the width of A4 between its margins
_MOST_BARS = 16
_MOST_HOURS = 48
_LONGEST_NAME = 28
_MOST_HISTOGRAMS = 4

Drawn = Callable[[Axes], None]


def plots(numbers: ReportNumbers, sections: Mapping[str, Section]) -> dict[str, str]:
    """Return the plots of the sections that have something to show, as SVG by the name of the section."""
    local = numbers.shifts.local
    drawn: dict[str, tuple[float, Drawn, str]] = {}
    pieces = numbers.by_hour if few_hours(numbers) else numbers.by_shift
    if pieces:
        drawn["time"] = (2.2, lambda axes: _over_time(axes, pieces, local), "First passes over time")
    for name, draw, text in (
        ("steps", _steps, "Seconds by step"),
        ("causes", _pareto, "Causes of FAIL"),
        ("slots", _slots, "First-pass yield by slot"),
    ):
        rows = sections[name].rows[:_MOST_BARS]
        if rows:
            drawn[name] = (0.7 + 0.24 * len(rows), _drawing(draw, sections[name]), text)
    done = {name: _svg(name, height, draw, text) for name, (height, draw, text) in drawn.items()}
    return done | _histograms(numbers)


def few_hours(numbers: ReportNumbers) -> bool:
    """Return whether people can read the yield by hour; of a longer time they get it by shift."""
    return len(numbers.by_hour) <= _MOST_HOURS


def _drawing(draw: Callable[[Axes, list[dict[str, Any]]], None], section: Section) -> Drawn:
    return lambda axes: draw(axes, section.to_json()[:_MOST_BARS])


def _over_time(axes: Axes, pieces: Mapping[datetime, Tally], local: LocalTime) -> None:
    starts = sorted(pieces)
    passed, failed = [pieces[at].passed for at in starts], [pieces[at].failed for at in starts]
    places = range(len(starts))
    axes.bar(places, passed, color=_BLUE, label="PASS", width=0.7)
    axes.bar(places, failed, bottom=passed, color=_ORANGE, hatch="///", edgecolor="white", label="FAIL", width=0.7)
    every = len(starts) // 12 + 1
    axes.set_xticks(places[::every], [f"{local.of(at):%m-%d\n%H:%M}" for at in starts[::every]])
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("units")
    axes.set_xlim(-0.8, max(len(starts), 6) - 0.2)
    right = axes.twinx()
    yields = [pieces[at].ratio.value or 0.0 for at in starts]
    right.plot(places, yields, color=_DARK, marker="o", markersize=3, linewidth=1)
    right.set_ylim(0, 1.08)
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    right.set_ylabel("first-pass yield")
    right.spines["right"].set_visible(True)
    axes.legend(**_ABOVE)


def _steps(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw a bar up to the median of each step, and a line up to 95 %."""
    timed = [row for row in rows if row["median"] is not None]
    medians, most = [row["median"] for row in timed], [row["p95"] for row in timed]
    _lying(axes, [row["step"] for row in timed])
    axes.barh(range(len(timed)), medians, color=_BLUE, height=0.6, label="median")
    axes.hlines(range(len(timed)), medians, most, color=_DARK, linewidth=1)
    axes.plot(most, range(len(timed)), "|", color=_DARK, label="95 %")
    axes.set_xlabel("seconds")
    axes.set_xlim(left=0)
    axes.legend(**_ABOVE)


def _pareto(axes: Axes, rows: list[dict[str, Any]]) -> None:
    _lying(axes, [f"{row['step']}: {row['class']}" for row in rows])
    axes.barh(
        range(len(rows)), [row["units"] for row in rows], color=_ORANGE, hatch="///", edgecolor="white", height=0.6
    )
    for place, row in enumerate(rows):
        axes.annotate(f"{row['units']}, together {row['cumulative']:.0%}", (row["units"], place), (3, 0),
                      textcoords="offset points", va="center")  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0, max(row["units"] for row in rows) * 1.25)
    axes.set_xlabel("units that failed their first pass")


def _slots(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw the yield of each slot in its interval; a suspect slot is orange, and named so."""
    judged = [row for row in rows if row["yield"] is not None]
    if not judged:
        return
    _lying(axes, [f"{row['station']} {row['slot']}" for row in judged])
    for place, row in enumerate(judged):
        colour = _ORANGE if row["suspect"] else _BLUE
        axes.hlines(place, row["low"], row["high"], color=colour, linewidth=1.5)
        shape = "s" if row["suspect"] else "o"
        axes.plot(row["yield"], place, shape, color=colour, markersize=5, clip_on=False)
        told = f"{row['passed']} of {row['passed'] + row['failed']}{', suspect' if row['suspect'] else ''}"
        axes.annotate(told, (1.02, place), xycoords=("axes fraction", "data"), va="center", annotation_clip=False)
    axes.set_xlim(min(0.9, floor(10 * min(row["low"] for row in judged)) / 10), 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("first-pass yield, with its 95 % interval")


def _lying(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a plot whose bars lie, the first one on top."""
    axes.set_yticks(range(len(names)), [one_line(name, _LONGEST_NAME) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def _histograms(numbers: ReportNumbers) -> dict[str, str]:
    """Return the histograms of the measurements with limits, then of the others, at most four."""
    chosen = [(f"{step}: {name}", one) for (step, name), one in numbers.measured()][:_MOST_HISTOGRAMS]
    if not chosen:
        return {}

    def draw(axes: Sequence[Axes]) -> None:
        for (title, one), place in zip(chosen, axes, strict=False):
            _histogram(place, title, one)

    return {"measurements": _drawn("measurements", 1.9, draw, "Measurements", len(chosen))}


def _histogram(axes: Axes, title: str, one: MeasurementNumbers) -> None:
    bins = one.every.bins()
    width = bins[0][1] - bins[0][0]
    axes.bar([start for start, _, _ in bins], [count for *_, count in bins], width=width, align="edge", color=_BLUE)
    for value, name, line in (
        (one.limits.low, "low limit", "-"),
        (one.limits.marginal, "marginal", ":"),
        (one.limits.high, "high limit", "-"),
    ):
        if value is not None:
            axes.axvline(value, color=_ORANGE, linestyle=line, linewidth=1.2, label=name)
    axes.set_title(one_line(title, _LONGEST_NAME))
    axes.set_xlabel(one.unit)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=7)


def _svg(name: str, height: float, draw: Drawn, text: str) -> str:
    return _drawn(name, height, lambda axes: draw(axes[0]), text, 1)


def _drawn(name: str, height: float, draw: Callable[[Sequence[Axes]], None], text: str, columns: int) -> str:
    """Return what *draw* draws as SVG with the accessible name *text*."""
    stream = io.StringIO()
    with rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a letter that matplotlib's font lacks; the reader's has it
        figure = Figure(figsize=(_WIDE, height), layout="constrained")
        draw(figure.subplots(1, columns, squeeze=False)[0])
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _embedded(stream.getvalue(), name, text)


def _embedded(svg: str, name: str, text: str) -> str:
    """Return *svg* as a part of a page with a strict policy."""
    ET.register_namespace("", _SVG)
    root = ET.fromstring(svg)  # noqa: S314 - matplotlib wrote it
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        _tame(element, f"{name}-")
    for dimension in ("width", "height"):
        root.attrib.pop(dimension, None)
    root.attrib |= {"role": "img", "aria-label": text, "stroke-linejoin": "round", "class": "plot"}
    return ET.tostring(root, encoding="unicode")


def _tame(element: ET.Element, prefix: str) -> None:
    """Make attributes of a style, and of references to ids those with *prefix*."""
    for part in element.attrib.pop("style", "").split(";"):
        key, found, value = part.partition(":")
        if found:
            element.set(key.strip(), "sans-serif" if key.strip() == "font-family" else value.strip())
    for key, value in list(element.attrib.items()):
        if key == "id":
            element.set(key, prefix + value)
        elif key == _HREF:
            element.set("href", value.replace("#", f"#{prefix}", 1))
            del element.attrib[key]
        elif value.startswith("url(#"):
            element.set(key, value.replace("url(#", f"url(#{prefix}", 1))
