"""`[[step]]`: a product's own steps. product.toml names a step, its place and its limits.

It never says what runs: product.toml comes from elsewhere, and the command is each host's own, in its station.toml.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from rmfab.product.toml_reader import Table, Walker

PLACES = ("readback", "boot", "identify", "provision", "reset")
"""The steps of the line that one of the product may follow."""
TAKEN = ("detect", "claim", "flash", *PLACES, "cloud", "update", "back", "recheck", "label")
"""The names of the line's own steps."""
MEASUREMENT = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,39}")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]{1,200}")
_MOST_STEPS, _MOST_LIMITS = 32, 64
_RUN_SECONDS, _ASK_SECONDS, _LONGEST_SECONDS = 30.0, 300.0, 3600.0


@dataclass(frozen=True)
class ValueLimits:
    """What a measurement may be: at least *low* and at most *high*, in *unit*; None: no limit."""

    low: float | None = None
    high: float | None = None
    unit: str = ""

    def fits(self, value: float) -> bool:
        """Return whether *value* is within the limits."""
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def __str__(self) -> str:
        low, high = ("" if end is None else f"{end:g}" for end in (self.low, self.high))
        shown = f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}"
        return f"{shown} {self.unit}".rstrip()


@dataclass(frozen=True)
class OwnStep:
    """A step of the product, after the step *after*, with *timeout* in seconds.

    It asks the operator the question *ask*, with the file *picture* to compare with; without one, a program of the
    station does it, whose measurements must be within *limits*.
    """

    name: str
    after: str
    timeout: float = _RUN_SECONDS
    limits: Mapping[str, ValueLimits] = field(default_factory=dict)
    ask: str | None = None
    picture: Path | None = None


def read_own_steps(walker: Walker, root: Path) -> tuple[OwnStep, ...]:
    """Read the tables `[[step]]` of a product.toml in *root*."""
    tables = walker.tables("step")
    if len(tables) > _MOST_STEPS:
        walker.complain("[[step]]", f"{len(tables)} steps, at most {_MOST_STEPS} are possible")
    steps = tuple(_step(table, root) for table in tables[:_MOST_STEPS])
    names = [step.name for step in steps]
    for name in sorted({name for name in names if name and names.count(name) > 1}):
        walker.complain("[[step]]", f'two steps have the same name "{name}"')
    return steps


def _step(table: Table, root: Path) -> OwnStep:
    name = table.text("name", check=_bad_name)
    after = table.text("after", check=_bad_place)
    ask = table.text("ask", "", check=lambda text: _bad_text(text) if text else None) or None
    timeout = table.number("timeout", _ASK_SECONDS if ask else _RUN_SECONDS, 0.1, _LONGEST_SECONDS)
    limits = _limits(table.table("limits"))
    picture = table.text("picture", "", check=_bad_path)
    if picture and ask is None:
        table.complain("picture", "only a question has a picture", 'add ask = "…"')
    if limits and ask is not None:
        table.complain("limits", "a question has no measurements", "remove ask or limits")
    if table.raw("command") is not None:
        table.complain(
            "command", "product.toml names no commands", f"write it into station.toml: [step.{name}] command = […]"
        )
    table.finish()
    return OwnStep(name, after, timeout, limits, ask, root / picture if picture else None)


def _limits(table: Table) -> dict[str, ValueLimits]:
    names = list(table.everything())
    if len(names) > _MOST_LIMITS:
        table.complain("", f"{len(names)} limits, at most {_MOST_LIMITS} are possible")
    limits = {}
    for name in names[:_MOST_LIMITS]:
        if not MEASUREMENT.fullmatch(name):
            table.complain(name[:40], "not the name of a measurement (1 to 40 of A-Z a-z 0-9 . _ -)")
        else:
            limits[name] = _one_limit(table.table(name), table, name)
    return limits


def _one_limit(table: Table, above: Table, name: str) -> ValueLimits:
    low, high = (_end(table, key) for key in ("min", "max"))
    unit = table.text("unit", "", check=lambda text: _bad_text(text) if text else None)
    table.finish()
    if low is None and high is None:
        above.complain(name, "a limit needs min or max", f"for example {name} = {{ min = 10, max = 80 }}")
    if low is not None and high is not None and low > high:
        above.complain(name, f"min {low:g} is above max {high:g}")
    return ValueLimits(low, high, unit)


def _end(table: Table, key: str) -> float | None:
    return None if table.raw(key) is None else table.number(key, 0.0, -1e15, 1e15)


def _bad_name(name: str) -> str | None:
    if name in TAKEN:
        return f'"{name}" is a step of the line: choose a different name'
    return None if _NAME.fullmatch(name) else f'"{name:.40}" is not the name of a step (1 to 24 of a-z 0-9 -)'


def _bad_place(after: str) -> str | None:
    return None if after in PLACES else f'"{after:.40}" is not one of {", ".join(PLACES)}'


def _bad_text(text: str) -> str | None:
    return None if _TEXT.fullmatch(text) else "expected a text of 1 to 200 printable characters on one line"


def _bad_path(path: str) -> str | None:
    pure = PurePosixPath(path)
    inside = not pure.is_absolute() and ".." not in pure.parts and "\\" not in path and ":" not in path
    return None if not path or (inside and _TEXT.fullmatch(path)) else "expected a path inside the workspace"
