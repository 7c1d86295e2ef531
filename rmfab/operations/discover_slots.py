"""station.toml by plugging in: a person plugs in slot after slot, and each port that appears becomes a slot."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from rmfab.board.access import access_hint, device_node
from rmfab.board.bridges import known_bridge
from rmfab.board.port import PluggedIn
from rmfab.board.port_watch import PortWatch
from rmfab.errors import InputError, StationError, UsageError
from rmfab.files import changing, is_there, make_folder, read_input, write_file
from rmfab.line.discovery import Discovery, Finding, PortVanished, SameSocket, SeveralPorts, SlotFound
from rmfab.line.slot_table import described, slot_table
from rmfab.line.station import Station, bad_name, host_station, load_station, parse_station
from rmfab.operations.terminal import Terminal, counted
from rmfab.product.toml_reader import toml_text
from rmfab.workspace.workspace import station_file

LOOK_SECONDS = 0.25
"""How often the ports are looked at."""
_LONGEST_FILE = 1 << 20

Typed = Callable[[float], str | None]
"""Waits at most so many seconds for a line that the person types: its text, or None if none came."""


@dataclass(frozen=True)
class DiscoverRequest:
    """The slots get *names* in this order, or without names, A1, A2 …; *number*: how many, None until Enter.

    *folder*: the workspace whose station.toml is extended, None for the nearest, or without one the user's.
    """

    folder: Path | None = None
    names: tuple[str, ...] = ()
    number: int | None = None

    def __post_init__(self) -> None:
        for name, times in Counter(self.names).items():
            if (wrong := bad_name(name)) is not None:
                raise UsageError(f'"{name}" is not the name of a slot: {wrong}')
            if times > 1:
                raise UsageError(f"the name {name} is given twice")
        if self.names and self.number is not None:
            raise UsageError("give names, or --count, not both")


@dataclass(frozen=True)
class NewSlot:
    """A slot that was added to station.toml: its *name*, its *port*, and the URL of its *unit* if it is virtual."""

    name: str
    port: PluggedIn
    unit: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """Return its JSON form."""
        bridge = known_bridge(self.port.usb)
        return {
            "slot": self.name,
            "port": self.port.address,
            "device": self.port.device,
            "location": self.port.location,
            "description": self.port.description,
            "bridge": None if bridge is None else bridge.name,
            "unit": self.unit,
        }

    @property
    def table(self) -> str:
        """Its table for station.toml."""
        about = ", ".join(part for part in (self.port.location, self.port.description) if part)
        return slot_table(self.name, self.port.address, about, self.unit)


@dataclass(frozen=True)
class Discovered:
    """The *slots* that were added to *file*."""

    file: Path
    slots: tuple[NewSlot, ...]


def discover_slots(request: DiscoverRequest, watch: PortWatch, typed: Typed, terminal: Terminal) -> Discovered:
    """Ask the person to plug in slot after slot, and add them to station.toml at the end.

    Nothing is written before. Raise UsageError if there is no terminal and no end, InputError if station.toml cannot be
    read or written or has a slot of such a name, StationError if no port appeared.
    """
    if not terminal.interactive and not request.names and request.number is None:
        raise UsageError("without a terminal, nobody can press Enter", hint="give the names of the slots, or --count")
    path = station_file(request.folder)
    station = load_station(path) if is_there(path) else host_station()
    names = _names(request, station, path)
    _refuse_unwritable(path)
    there = watch.look()
    _introduce(path, station, there, terminal)
    discovery = Discovery(there, names, station.slot_at)
    try:
        _watch(discovery, watch, typed, terminal)
    except KeyboardInterrupt:
        terminal.say(f"{path} is unchanged")
        raise
    return _added(path, discovery, watch, terminal)


def _watch(discovery: Discovery, watch: PortWatch, typed: Typed, terminal: Terminal) -> None:
    """Look at the ports until all slots are found, or the person presses Enter."""
    warned: set[str] = set()
    asked = _ask(discovery, None, terminal)
    while discovery.name is not None:
        line = typed(LOOK_SECONDS)
        if line is not None and not line.strip():
            return
        if line is not None:
            _tell(_chosen(discovery, line.strip(), terminal), warned, terminal)
        _tell(discovery.look(watch.look()), warned, terminal)
        asked = _ask(discovery, asked, terminal)


def _chosen(discovery: Discovery, line: str, terminal: Terminal) -> list[Finding]:
    found = discovery.choose(int(line)) if line.isascii() and line.isdecimal() and len(line) < 4 else None
    if found is None:
        terminal.warn(f'"{line[:40]}" is not the number of a port', "Enter alone ends, ^C gives up")
    return [] if found is None else [found]


def _ask(discovery: Discovery, asked: str | None, terminal: Terminal) -> str | None:
    """Ask for the next slot, unless that was *asked* before; return its name."""
    if discovery.name is not None and discovery.name != asked:
        end = "; Enter ends" if terminal.interactive else ""
        terminal.say(f"plug in slot {discovery.name}{end}")
    return discovery.name


def _tell(findings: list[Finding], warned: set[str], terminal: Terminal) -> None:
    for one in findings:
        match one:
            case SlotFound(name, port):
                bridge = known_bridge(port.usb)
                terminal.say(f"slot {name}: {described(port)}{f' ({bridge.name})' if bridge else ''}")
                _warn_of(port, terminal)
            case SameSocket(name, port):
                terminal.say(f"{described(port)} is slot {name} already; plug into a different socket")
            case PortVanished(port) if port.address not in warned:
                warned.add(port.address)
                what = f"{described(port)} appeared and went away again"
                terminal.warn(what, "check the plug; hold BOOT on a blank board with native USB")
            case SeveralPorts(ports):
                terminal.warn("several ports appeared at once:", None)
                for number, port in enumerate(ports, 1):
                    terminal.say(f"  {number}  {described(port)}")
                terminal.say("unplug all but one, or type its number and Enter")


def _warn_of(port: PluggedIn, terminal: Terminal) -> None:
    """Warn if the port cannot be opened by this user, or has no name that stays."""
    if "://" in port.address:
        return
    node = device_node(port.device)
    if not node.usable:
        terminal.warn(f"no permission for {port.device}", access_hint(node))
    if sys.platform == "linux" and port.address == port.device and port.device.startswith("/dev/tty"):
        terminal.warn(
            f"{port.device} has no name by its place in the USB tree: the slot follows the number, which changes",
            "start udev, which makes /dev/serial/by-path",
        )


def _names(request: DiscoverRequest, station: Station, path: Path) -> Iterator[str]:
    """Return the names for new slots. Raise InputError if a slot has one of them."""
    taken = {slot.name: slot.link.address for slot in station.slots}
    for name in request.names:
        if name in taken:
            hint = f"give a different name, or remove that slot from {path}"
            raise InputError(f"slot {name} is there already, at {taken[name]}", where=str(path), hint=hint)
    free = (name for number in count(1) if (name := f"A{number}") not in taken)
    return iter(request.names) if request.names else islice(free, request.number)


def _refuse_unwritable(path: Path) -> None:
    """Raise InputError before the person starts if *path* could not be written at the end."""
    folder = next(one for one in path.absolute().parents if one.is_dir())
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            "no permission to write to this folder",
            where=str(folder),
            hint="run rmfab as the user who owns it, or get write access",
            cause="no-permission",
        )


def _introduce(path: Path, station: Station, there: tuple[PluggedIn, ...], terminal: Terminal) -> None:
    if station.slots:
        terminal.say(f"{path} has {', '.join(slot.name for slot in station.slots)}; they stay as they are")
    for port in there:
        name = station.slot_at(port)
        what = "plug it in again to make it a slot" if name is None else f"it is slot {name}"
        terminal.say(f"plugged in already: {described(port)}; {what}")


def _added(path: Path, discovery: Discovery, watch: PortWatch, terminal: Terminal) -> Discovered:
    """Add what was found to station.toml. Raise StationError if that is nothing."""
    slots = tuple(NewSlot(one.name, one.port, watch.unit(one.port)) for one in discovery.found)
    if not slots:
        raise StationError(
            f"no port appeared; {path} is unchanged",
            hint="check the cable, some only charge; `rmfab doctor` checks this host",
            cause="port-absent",
        )
    try:
        add_slots(path, slots)
    except (InputError, StationError):
        terminal.warn("the slots could not be added; this is what was found:\n" + "\n".join(one.table for one in slots))
        raise
    terminal.say(f"{path}: {counted(len(slots), 'slot')} added; `rmfab doctor` checks this host")
    return Discovered(path, slots)


def add_slots(path: Path, slots: tuple[NewSlot, ...]) -> None:
    """Add *slots* at the end of the station.toml *path*, or make it; every other byte stays. Raise InputError."""
    make_folder(path.absolute().parent)
    with changing(path) as place:
        before = read_input(place, "station", most=_LONGEST_FILE) if is_there(place) else _header()
        end = "\r\n" if b"\r\n" in before else "\n"
        gap = "" if before.endswith(b"\n") or not before else end
        tables = "".join(f"\n{one.table}" for one in slots).replace("\n", end)
        changed = before + f"{gap}{tables}".encode()
        parse_station(toml_text(changed, path), path)
        write_file(place, changed, force=True)


def _header() -> bytes:
    return f'[station]\nname = "{host_station().name}"\n'.encode()
