"""Which port is which slot: what looks at the ports show."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import pytest

from rmfab.board.port import PluggedIn
from rmfab.line.discovery import LOOKS, Discovery, Finding, PortVanished, SameSocket, SeveralPorts, SlotFound


def port(place: str, device: str | None = None) -> PluggedIn:
    return PluggedIn(f"/dev/serial/by-path/{place}", device or f"/dev/ttyUSB{place[-1]}", place, "CP2102N")


ONE, TWO, THREE = port("1-1"), port("1-2"), port("1-3")


def discovery(there: Iterable[PluggedIn] = (), names: Iterable[str] | None = None, **slots: PluggedIn) -> Discovery:
    """Return a discovery of A1, A2 …, or of *names*; *slots* are in station.toml."""
    known = {one.address: name for name, one in slots.items()}
    return Discovery(there, iter(names or (f"A{n}" for n in count(1))), lambda one: known.get(one.address))


def looks(one: Discovery, *ports: PluggedIn, times: int = LOOKS) -> list[Finding]:
    """Return what *times* looks at the same ports show."""
    return [finding for _ in range(times) for finding in one.look(ports)]


def test_each_port_that_appears_is_a_slot() -> None:
    """Ports get the names in the order in which they appear, once they have stayed for some looks."""
    one = discovery()
    assert looks(one, times=5) == []
    assert looks(one, ONE, times=LOOKS - 1) == []
    assert looks(one, ONE, times=1) == [SlotFound("A1", ONE)]
    assert looks(one, ONE, TWO) == [SlotFound("A2", TWO)]
    assert looks(one, ONE, TWO, times=9) == []
    assert [found.name for found in one.found] == ["A1", "A2"]
    assert one.name == "A3"


def test_one_board_goes_around() -> None:
    """One board that is plugged in everywhere, one socket after the other, finds them all, under one device name."""
    one = discovery(names=["left", "right"])
    left, right = port("1-1", "/dev/ttyUSB0"), port("1-2", "/dev/ttyUSB0")
    assert looks(one, left) == [SlotFound("left", left)]
    assert looks(one) == []
    assert looks(one, right) == [SlotFound("right", right)]
    assert one.name is None


def test_a_board_that_moves_between_two_looks() -> None:
    """The same device name in a different socket at the next look is a different port."""
    one = discovery()
    looks(one, port("1-1", "/dev/ttyUSB0"))
    moved = port("1-2", "/dev/ttyUSB0")
    assert looks(one, moved) == [SlotFound("A2", moved)]


def test_what_was_there_is_no_slot_before_it_is_plugged_in_again() -> None:
    """A port that was there at the start counts once it has gone and come back."""
    one = discovery(there=[ONE])
    assert looks(one, ONE) == []
    assert looks(one, ONE, TWO) == [SlotFound("A1", TWO)]
    assert looks(one, TWO) == []
    assert looks(one, ONE, TWO) == [SlotFound("A2", ONE)]


def test_the_same_socket_again() -> None:
    """A port that is a slot already, of the file or of this discovery, is not a second one; each time, it is said."""
    one = discovery(B1=TWO)
    assert looks(one, TWO) == [SameSocket("B1", TWO)]
    assert looks(one, TWO, ONE) == [SlotFound("A1", ONE)]
    assert looks(one) == []
    assert looks(one, ONE) == [SameSocket("A1", ONE)]
    assert one.name == "A2"


def test_a_port_that_goes_away_again() -> None:
    """A port that does not stay is no slot; the next one gets the name."""
    one = discovery()
    assert looks(one, ONE, times=LOOKS - 1) == []
    assert looks(one, times=1) == [PortVanished(ONE)]
    assert looks(one, ONE, times=LOOKS - 1) == []
    assert looks(one) == [PortVanished(ONE)]
    assert looks(one, TWO) == [SlotFound("A1", TWO)]


def test_a_name_that_udev_makes_later() -> None:
    """The address is that of the last look: udev makes the link a moment after the device."""
    early = PluggedIn("/dev/ttyUSB1", "/dev/ttyUSB1", "1-1", "CP2102N")
    one = discovery()
    assert looks(one, early, times=1) == []
    assert looks(one, ONE, times=LOOKS - 1) == [SlotFound("A1", ONE)]


@pytest.mark.parametrize("apart", range(LOOKS))
def test_several_at_once(apart: int) -> None:
    """Ports that appear within a moment are not guessed at: unplugging all but one answers."""
    one = discovery()
    assert looks(one, ONE, times=apart) == []
    assert looks(one, ONE, TWO) == [SeveralPorts((ONE, TWO))]
    assert looks(one, ONE, TWO, times=9) == []
    assert looks(one, TWO) == [SlotFound("A1", TWO)]
    assert looks(one, TWO, ONE) == [SlotFound("A2", ONE)]


def test_a_third_one_does_not_answer() -> None:
    """While two wait for an answer, a third one is one of them; if all go away, nothing is asked any more."""
    one = discovery()
    looks(one, ONE, TWO)
    assert looks(one, ONE, TWO, THREE) == [SeveralPorts((ONE, TWO, THREE))]
    assert looks(one, ONE, THREE) == []
    assert looks(one) == []
    assert looks(one, ONE) == [SlotFound("A1", ONE)]


def test_a_choice() -> None:
    """A bridge with two ports is answered by a number; the other port can be the next slot, by its number or not."""
    one = discovery()
    looks(one, ONE, TWO)
    assert [one.choose(number) for number in (0, 3, -1)] == [None] * 3
    assert one.choose(2) == SlotFound("A1", TWO)
    assert looks(one, ONE, TWO) == []
    assert one.choose(1) == SlotFound("A2", ONE)
    assert one.choose(1) is None
    one = discovery()
    looks(one, ONE, TWO)
    one.choose(2)
    assert looks(one, ONE, TWO, THREE) == [SlotFound("A2", THREE)]
    assert one.choose(1) is None


def test_slots_among_several() -> None:
    """A hub that is plugged in with a slot and one new port on it is no question."""
    one = discovery(B1=ONE)
    assert looks(one, ONE, TWO) == [SameSocket("B1", ONE), SlotFound("A1", TWO)]


def test_the_last_name() -> None:
    """Once all names are given, further ports are ignored."""
    one = discovery(names=["only"])
    assert looks(one, ONE) == [SlotFound("only", ONE)]
    assert looks(one, ONE, TWO) == []
    assert one.choose(1) is None
