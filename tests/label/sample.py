"""Labels with the payloads of stock firmware."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import reportlab

from rmfab.label.content import Label, UnitFacts
from rmfab.label.style import LabelStyle
from rmfab.label.style_file import read_style
from rmfab.secret import Secret

KHMER = Path(reportlab.__file__).parent / "fonts" / "hb-test.ttf"
POP = 0x5EC2E700


def label(number: int = 1, form: str = "json", product: str = "Desk Lamp", serial: str | None = None) -> Label:
    """Return label *number*. Its PoP starts with 5ec2e7; *form* is json (security 2), json1 or compact."""
    name, pop = f"PROV_{number:06x}", f"{POP + number:08x}"
    return Label(product, serial or f"LMP-{number:06d}", name, Secret(pop), Secret(_payload(form, name, pop)))


def labels(count: int, form: str = "json") -> list[Label]:
    """Return labels 1 to *count*."""
    return [label(number, form) for number in range(1, count + 1)]


FACTS = UnitFacts("24:0A:C4:00:00:01", "lamp-0001", "1.4.0", "2026-11-28", "A1")
NODE_ID = "Yp5hTnGg3wqkAxmQ2cbaGK"


def known(number: int = 1, form: str = "json", product: str = "Desk Lamp", serial: str | None = None) -> Label:
    """Return label *number* of a unit that has passed: everything about it is known."""
    return replace(label(number, form, product, serial), facts=FACTS, node_id=NODE_ID)


def style_of(folder: Path, text: str, name: str = "mine") -> LabelStyle:
    """Write *text* as a style of that name into *folder*, and read it."""
    (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return read_style(folder / f"{name}.toml")


def _payload(form: str, name: str, pop: str) -> str:
    if form == "compact":
        return f"NP:{name}|{pop}|b"
    user = {"username": "wifiprov"} if form == "json" else {}
    fields = {"ver": "v1", "name": name, **user, "pop": pop, "transport": "ble"}
    return json.dumps(fields, separators=(",", ":"))
