"""The places of this host where a board can be: the slots of station.toml, and the USB ports that are in no slot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rmfab.board.port import PluggedIn, plugged_in
from rmfab.errors import InputError, StationError
from rmfab.line.slot_book import OutOfService
from rmfab.line.station import Slot
from rmfab.operations.slot_states import slot_book
from rmfab.operations.terminal import Terminal
from rmfab.workspace.workspace import nearest_station


@dataclass(frozen=True)
class BoardPlace:
    """A *port*, and the name of its *slot* in station.toml, None if it is in no slot.

    *present*: whether the port is there now, None if that cannot be seen from here: it is on the network. *usb*: what
    is plugged in there. *out*: why the slot is out of service, None if it is not.
    """

    port: str
    slot: str | None = None
    present: bool | None = True
    usb: PluggedIn | None = None
    out: OutOfService | None = None

    def to_json(self) -> dict[str, str | bool | None]:
        """Return its JSON form."""
        usb = self.usb
        return {
            "slot": self.slot,
            "port": self.port,
            "present": self.present,
            "device": usb.device if usb else None,
            "location": usb.location if usb else None,
            "description": usb.description if usb else None,
            "state": None if self.slot is None else "in service" if self.out is None else self.out.word,
        }


def list_ports(folder: Path | None, terminal: Terminal) -> tuple[BoardPlace, ...]:
    """Return the slots of the station in their order, then the USB ports that are in no slot. Open no port.

    *folder* is the workspace; without one, only the user's station.toml has slots. A station.toml that cannot be read
    is a warning. Raise StationError if there is neither a slot nor a port.
    """
    slots: tuple[Slot, ...] = ()
    book = None
    try:
        station = nearest_station(folder)
        slots, book = station.slots, slot_book(station)
    except InputError as error:
        for one in error.complaints:
            terminal.warn(f"the slots are not listed: {one}", one.hint)
    ports = plugged_in()
    places = [_place(slot, ports, None if book is None else book.out_of_service(slot)) for slot in slots]
    used = {place.usb for place in places}
    places += [BoardPlace(port.address, usb=port) for port in ports if port not in used]
    if not places:
        raise StationError("no USB serial port found", hint="plug in a board, or check its cable: some only charge")
    return tuple(places)


def _place(slot: Slot, ports: tuple[PluggedIn, ...], out: OutOfService | None) -> BoardPlace:
    """Return the place of *slot*."""
    port = slot.link.address
    if "://" in port:
        return BoardPlace(port, slot.name, None, None, out)
    usb = next((one for one in ports if one.is_at(port)), None)
    return BoardPlace(port, slot.name, usb is not None or Path(port).exists(), usb, out)
