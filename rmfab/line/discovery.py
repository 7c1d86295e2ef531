"""Which port is which slot: a person plugs in slot after slot, and the port that appears is the slot's.

`Discovery` judges what each look at the ports shows. It opens no port and prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from rmfab.board.port import PluggedIn

LOOKS = 3
"""How many looks in a row must see a port: a loose plug comes and goes, and udev names a port a moment later."""

_Key = tuple[str, str]
"""A device and its place in the USB tree: the same ttyUSB number may be a different socket at the next look."""


@dataclass(frozen=True)
class SlotFound:
    """The slot *name* has this *port*."""

    name: str
    port: PluggedIn


@dataclass(frozen=True)
class SameSocket:
    """A port appeared that the slot *name* has already."""

    name: str
    port: PluggedIn


@dataclass(frozen=True)
class PortVanished:
    """A port appeared and went away again."""

    port: PluggedIn


@dataclass(frozen=True)
class SeveralPorts:
    """Several *ports* appeared at once; all but one go away again, or the person chooses one."""

    ports: tuple[PluggedIn, ...]


Finding = SlotFound | SameSocket | PortVanished | SeveralPorts


class Discovery:
    """Slots get the *names* in their order. Ports that are *there* already are no slot until they are plugged in again.

    *slot_at* returns the name of the slot that has a port already, None if none has it.
    """

    def __init__(
        self, there: Iterable[PluggedIn], names: Iterator[str], slot_at: Callable[[PluggedIn], str | None]
    ) -> None:
        self.found: list[SlotFound] = []
        self._names = names
        self.name = next(names, None)
        self._slot_at = slot_at
        self._settled = {_key(port) for port in there}
        self._fresh: dict[_Key, tuple[PluggedIn, int]] = {}
        self._open: dict[_Key, PluggedIn] = {}
        self._asked = False

    def look(self, ports: Iterable[PluggedIn]) -> list[Finding]:
        """Return what *ports*, the ports of this moment, show."""
        now = {_key(port): port for port in ports}
        findings = self._gone(now)
        new = [(key, port) for key, port in now.items() if key not in self._settled]
        self._fresh = {key: (port, self._fresh.get(key, (port, 0))[1] + 1) for key, port in new}
        if self._fresh and all(looks >= LOOKS for _, looks in self._fresh.values()):
            findings += self._came()
        return findings

    def choose(self, number: int) -> SlotFound | None:
        """Give the next slot port *number*, from 1, of those that appeared at once; return None if there is none."""
        if not 1 <= number <= len(self._open) or self.name is None:
            return None
        self._asked = False
        return self._take(list(self._open)[number - 1])

    def _gone(self, now: dict[_Key, PluggedIn]) -> list[Finding]:
        findings: list[Finding] = [PortVanished(port) for key, (port, _) in self._fresh.items() if key not in now]
        self._settled &= now.keys()
        left = {key: port for key, port in self._open.items() if key in now}
        fewer, self._open = len(left) < len(self._open), left
        if self._asked and fewer and len(left) <= 1:
            self._asked = False
            findings += [self._take(key) for key in list(left)]
        return findings

    def _came(self) -> list[Finding]:
        new = {key: port for key, (port, _) in self._fresh.items()}
        self._settled |= new.keys()
        self._fresh = {}
        known = {key: name for key, port in new.items() if (name := self._owner(port)) is not None}
        findings: list[Finding] = [SameSocket(name, new[key]) for key, name in known.items()]
        added = {key: port for key, port in new.items() if key not in known}
        if not added or self.name is None:
            return findings
        self._open = (self._open if self._asked else {}) | added
        if len(self._open) > 1:
            self._asked = True
            return [*findings, SeveralPorts(tuple(self._open.values()))]
        return [*findings, self._take(next(iter(added)))]

    def _take(self, key: _Key) -> SlotFound:
        found = SlotFound(self.name or "", self._open.pop(key))
        self.found.append(found)
        self.name = next(self._names, None)
        return found

    def _owner(self, port: PluggedIn) -> str | None:
        mine = (one.name for one in self.found if one.port.address == port.address)
        return next(mine, None) or self._slot_at(port)


def _key(port: PluggedIn) -> _Key:
    return port.device, port.location
