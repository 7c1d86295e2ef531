"""The table `[[slot]]` of station.toml, as `rmfab ports` prints it and `rmfab station discover` adds it."""

from __future__ import annotations

from rmfab.board.port import PluggedIn
from rmfab.errors import one_line
from rmfab.product.toml_reader import toml_value


def slot_table(name: str, port: str, about: str = "", unit: str | None = None) -> str:
    """Return the lines of a slot; *about*: what is plugged in there; *unit*: where its running unit answers."""
    comment = f"                 # {one_line(about)}" if about else ""
    place = f"port = {toml_value(port)}"
    lines = [f"[[slot]]{comment}", f'name = "{name}"', place, 'baud = "auto"', 'restart = "auto"']
    if unit is not None:
        lines.append(f"unit = {toml_value(unit)}")
    return "\n".join(lines) + "\n"


def described(port: PluggedIn) -> str:
    """Return what *port* is: its device, its place in the USB tree, and its description."""
    return ", ".join(part for part in (port.device, port.location, port.description) if part)
