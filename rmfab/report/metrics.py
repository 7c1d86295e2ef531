"""The metrics of a line, as a text file for the textfile collector of Prometheus' node_exporter.

Text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats), names after Prometheus' conventions: base
units, counters end with `_total`. A label never contains a serial or a MAC: each would be a time series of its own. The
counters of an earlier run in the same file go on: a line that runs once per tray would else always say "8".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rmfab.errors import InputError, RmfabError, UsageError, printable
from rmfab.files import output_path, read_input
from rmfab.line.events import LineEvent, StepEnded, UnitEnded

ENDING = ".prom"
_LARGEST = 4 << 20
_LONGEST = 100
_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0)
_LINE = re.compile(
    r"(?P<name>rmfab_[a-z_]{1,60})"
    r'\{(?P<labels>(?:[a-z]{1,20}="(?:[^"\\\n]|\\.){0,300}",?){0,10})\}'
    r" (?P<value>[0-9.e+-]{1,30})"
)
_LABEL = re.compile(r'([a-z]{1,20})="((?:[^"\\\n]|\\.){0,300})"')
_ESCAPED = re.compile(r"\\(.)")


class Family(NamedTuple):
    """Metrics of one name: their *kind* and *help* text."""

    name: str
    kind: str
    help: str


_UNITS = Family("rmfab_units_total", "counter", "Runs of units by verdict.")
_STEPS = Family("rmfab_steps_total", "counter", "Steps by outcome and cause.")
_SECONDS = Family("rmfab_step_duration_seconds", "histogram", "Seconds of the steps that passed.")
_LAST = Family("rmfab_last_unit_timestamp_seconds", "gauge", "When a slot last ended a unit.")
_RUNNING = Family("rmfab_line_running", "gauge", "Whether the line is running.")
_FAMILIES = (_UNITS, _STEPS, _SECONDS, _LAST, _RUNNING)
_GOES_ON = (_UNITS.name, _STEPS.name, _LAST.name, *(f"{_SECONDS.name}_{part}" for part in ("bucket", "sum", "count")))

Labels = tuple[tuple[str, str], ...]


class MetricsFile:
    """The file *path*, which says how the line of *product* on *station* does; written anew after every unit.

    Raise UsageError unless its name ends with `.prom`: the collector reads no other.
    """

    def __init__(self, path: Path, product: str, station: str) -> None:
        if path.suffix != ENDING:
            raise UsageError(f'"{path.name}" does not end with {ENDING}', hint="node_exporter reads no other file")
        self._path = path
        self._common: Labels = (("product", product), ("station", station))
        self._values: defaultdict[tuple[str, Labels], float] = defaultdict(float)
        self.failure: RmfabError | None = None
        """Why the file could not be written the last time, None if it was."""

    def begin(self) -> None:
        """Read what an earlier run counted, and write the file. Raise InputError or StationError if that fails."""
        for name, labels, value in _read(self._path):
            if name in _GOES_ON:
                self._values[name, labels] = value
        self._set(_RUNNING.name, 1)
        self._write()

    def take(self, event: LineEvent) -> None:
        """Count *event*; write the file at the end of a unit. A file that cannot be written does not end a line."""
        if isinstance(event, StepEnded):
            self._count_step(event)
        elif isinstance(event, UnitEnded):
            self._add(_UNITS.name, slot=event.slot, outcome=event.outcome.value)
            self._set(_LAST.name, datetime.fromisoformat(event.ts).timestamp(), slot=event.slot)
            self._try()

    def end(self) -> None:
        """Write that the line has ended."""
        self._set(_RUNNING.name, 0)
        self._try()

    def text(self) -> str:
        """Return the content of the file."""
        return "".join(f"{line}\n" for family in _FAMILIES for line in self._lines(family))

    def _count_step(self, event: StepEnded) -> None:
        step = event.step.value
        outcome, cause = event.outcome.value, event.cause or ""
        self._add(_STEPS.name, slot=event.slot, step=step, outcome=outcome, cause=cause)
        if outcome not in ("PASS", "MARGINAL"):
            return
        for bucket in _BUCKETS:
            self._add(f"{_SECONDS.name}_bucket", float(event.seconds <= bucket), step=step, le=str(bucket))
        self._add(f"{_SECONDS.name}_bucket", step=step, le="+Inf")
        self._add(f"{_SECONDS.name}_sum", event.seconds, step=step)
        self._add(f"{_SECONDS.name}_count", step=step)

    def _add(self, name: str, value: float = 1.0, **labels: str) -> None:
        self._values[name, (*self._common, *labels.items())] += value

    def _set(self, name: str, value: float, **labels: str) -> None:
        self._values[name, (*self._common, *labels.items())] = value

    def _lines(self, family: Family) -> Iterator[str]:
        names = (
            [family.name] if family.kind != "histogram" else [f"{family.name}_{p}" for p in ("bucket", "sum", "count")]
        )
        found = [(name, key) for name in names for key in self._values if key[0] == name]
        if not found:
            return
        yield f"# HELP {family.name} {family.help}"
        yield f"# TYPE {family.name} {family.kind}"
        for name, key in found:
            labels = ",".join(f'{label}="{_escape(value)}"' for label, value in key[1])
            yield f"{name}{{{labels}}} {self._values[key]:.15g}"

    def _try(self) -> None:
        try:
            self._write()
        except RmfabError as error:
            self.failure = error
        else:
            self.failure = None

    def _write(self) -> None:
        """Write the file at once, readable for the collector, which is a different user."""
        with output_path(self._path, force=True) as path:
            path.write_text(self.text(), encoding="utf-8")
            path.chmod(0o644)


def _escape(value: str) -> str:
    text = printable(value)[:_LONGEST].replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"')


def _read(path: Path) -> Iterator[tuple[str, Labels, float]]:
    """Yield the values in the file *path*, none if it does not exist. What is not of rmfab is left out."""
    if not path.exists():
        return
    try:
        lines = read_input(path, "metrics file", most=_LARGEST).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError("not a metrics file: it is not UTF-8", where=str(path)) from None
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        labels = tuple((name, _unescape(value)) for name, value in _LABEL.findall(found["labels"]))
        try:
            yield found["name"], labels, float(found["value"])
        except ValueError:
            continue


def _unescape(value: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], value)
