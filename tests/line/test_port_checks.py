"""Checks of ports on hosts that are built in a folder: permissions, grabbers, lost bridges, hubs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from serial.tools.list_ports_common import ListPortInfo

from rmfab.board.esp.loader import SlotLink
from rmfab.board.restart import Auto
from rmfab.line.diagnosis import Diagnosis
from rmfab.line.host_facts import examine
from rmfab.line.port_checks import diagnose_ports
from rmfab.line.station import Slot, Station
from tests.host_tree import HostTree, usb_host

BENCH = Station("bench")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HostTree:
    """A host with a USB hub, which this process takes for its own; its ports are those of the tree."""
    tree = usb_host(tmp_path)
    monkeypatch.setattr("rmfab.line.host_facts.ROOT", tmp_path)
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: _ports(tmp_path))
    monkeypatch.setattr("rmfab.board.port._BY_PATH", tmp_path / "none")
    return tree


def _ports(root: Path) -> list[ListPortInfo]:
    found = []
    for device in sorted((root / "sys/bus/usb/devices").iterdir()):
        ttys = [*device.glob("*:*/tty?*"), *device.glob("*:*/tty/tty*")]
        for tty in (path.name for path in ttys if path.name != "tty"):
            info = ListPortInfo(f"/dev/{tty}")
            info.vid = int((device / "idVendor").read_text(), 16)
            info.pid = int((device / "idProduct").read_text(), 16)
            info.location, info.description = device.name, "bridge"
            found.append(info)
    return found


def slots(*ports: str, baud: int | None = None) -> Station:
    """Return a station with slots A1, A2 … at *ports*."""
    return Station(
        "bench", tuple(Slot(f"A{n}", SlotLink(f"/dev/{port}", baud, Auto())) for n, port in enumerate(ports, 1))
    )


def bad(station: Station = BENCH) -> list[Diagnosis]:
    """Return what is wrong with the ports of this host."""
    found = list(diagnose_ports(examine(station), station))
    assert all(one.hint for one in found if not one.good)
    return [one for one in found if not one.good and "nothing is plugged in at" not in one.what]


def wrong(station: Station = BENCH) -> str:
    """Return the one thing that is wrong."""
    (one,) = bad(station)
    return f"{one.what}; {one.hint}; {one.command}"


class TestHubs:
    def test_two_slots_at_three_megabaud(self, host: HostTree) -> None:
        """Two fast slots behind one translator wait for each other; one, or two slow ones, do not."""
        host.usb("1-1.1", tty="ttyUSB0")
        assert bad() == []
        host.usb("1-1.2", tty="ttyUSB1")
        assert wrong(slots("ttyUSB0", "ttyUSB1")).startswith(
            "slot A1, slot A2 share 12 Mbit/s behind USB 1-1, and may want 6000000 baud together"
        )
        assert bad(slots("ttyUSB0", "ttyUSB1", baud=921600)) == []
        assert "share 12 Mbit/s" in wrong(), "without slots, each port is one"
        assert bad(slots("ttyUSB0")) == [], "the other port is not the line's"

    @pytest.mark.parametrize("places", [("1-1.1", "1-2"), ("1-3.1", "1-3.2"), ("1-2", "1-4")])
    def test_translators_of_their_own(self, host: HostTree, places: tuple[str, str]) -> None:
        """Ports of the PC and of a multi-TT hub do not share."""
        host.hub("1-3", protocol="02")
        for number, place in enumerate(places):
            host.usb(place, tty=f"ttyUSB{number}")
        assert bad() == []

    def test_many_slow_ones(self, host: HostTree) -> None:
        """Unknown bridges stay at 921600 baud: five of them fit, six do not; at most three are named."""
        for number in range(1, 6):
            host.usb(f"1-1.{number}", "dead:beef", tty=f"ttyUSB{number}")
        assert bad() == []
        host.usb("1-1.6", "dead:beef", tty="ttyUSB6")
        assert "/dev/ttyUSB1, /dev/ttyUSB2, /dev/ttyUSB3 and 3 more share" in wrong()

    def test_a_chips_own_usb(self, host: HostTree) -> None:
        """A chip's own USB counts as a fast bridge, whatever the baud of its slot is."""
        for number in (1, 2):
            host.usb(f"1-1.{number}", "303a:1001", tty=f"ttyACM{number}")
        assert "share 12 Mbit/s" in wrong(slots("ttyACM1", "ttyACM2", baud=115200))

    def test_a_hub_without_a_supply(self, host: HostTree) -> None:
        """A hub that takes its power from the PC is named, if it has two boards."""
        host.hub("1-4", protocol="02", attributes="80")
        host.usb("1-4.1", tty="ttyUSB0")
        assert bad() == []
        host.usb("1-4.2", tty="ttyUSB1")
        assert "the hub at USB 1-4 has no supply of its own: /dev/ttyUSB0, /dev/ttyUSB1 share 500 mA" in wrong()


class TestGrabbers:
    def test_modem_manager(self, host: HostTree) -> None:
        """It is named with the command that stops it, and with the rule for a PC that needs it."""
        host.runs("ModemManager")
        host.usb("1-2", tty="ttyUSB0")
        host.usb("1-3", "0403:6015", tty="ttyUSB1")
        told = wrong()
        assert "ModemManager is running and may grab serial ports such as /dev/ttyUSB0" in told
        assert "sudo systemctl disable --now ModemManager" in told
        assert 'ATTRS{idVendor}=="0403|10c4", ENV{ID_MM_DEVICE_IGNORE}="1"' in told

    def test_modem_manager_that_ignores_the_ports(self, host: HostTree) -> None:
        """Ports that udev's rules exclude are safe; one that they do not is named."""
        host.runs("bash", "ModemManager")
        host.usb("1-2", tty="ttyUSB0")
        host.usb("1-3", tty="ttyUSB1")
        host.noted_by_udev("188:0", "ttyUSB0", "E:ID_MM_CANDIDATE=1", "E:ID_MM_PORT_IGNORE=1")
        assert "/dev/ttyUSB1" in wrong()
        host.file("sys/bus/usb/devices/1-3/dev", "189:7\n")
        host.file("run/udev/data/c189:7", "E:ID_MM_DEVICE_IGNORE=1\n")
        assert bad() == []
        (said,) = [one.what for one in diagnose_ports(examine(BENCH), BENCH) if "Modem" in one.what]
        assert said == "ModemManager is running and ignores these ports"

    @pytest.mark.parametrize("note", ["E:ID_MM_DEVICE_IGNORE=0", "E:X_ID_MM_DEVICE_IGNORE=1", "\x00\xff" * 9])
    def test_notes_of_something_else(self, host: HostTree, note: str) -> None:
        """Only the exact notes of udev exclude a port."""
        host.runs("ModemManager")
        host.usb("1-2", tty="ttyUSB0")
        host.noted_by_udev("188:0", "ttyUSB0", note)
        assert "may grab" in wrong()

    def test_brltty(self, host: HostTree) -> None:
        """brltty ignores no port."""
        host.runs("brltty")
        host.usb("1-2", tty="ttyUSB0")
        host.noted_by_udev("188:0", "ttyUSB0", "E:ID_MM_DEVICE_IGNORE=1")
        assert "brltty is running and may grab" in wrong()

    @pytest.mark.parametrize(
        ("path", "starts"),
        [("multi-user.target.wants/ModemManager.service", True), ("other.wants/cups.service", False)],
    )
    def test_what_starts_tomorrow(self, host: HostTree, path: str, starts: bool) -> None:
        """A service that was only stopped comes back with the next start of the PC."""
        host.usb("1-2", tty="ttyUSB0")
        link = host.root / "etc/systemd/system" / path
        link.parent.mkdir(parents=True)
        link.symlink_to("/lib/systemd/system/ModemManager.service")
        assert [one.hint for one in bad()] == ["sudo systemctl disable ModemManager"] * starts
        host.runs("ModemManager")
        assert all("starts with" not in one.what for one in bad())


class TestLostBridges:
    @pytest.mark.parametrize(
        ("ids", "words"),
        [
            ("1a86:7523", "the CH340 at USB 1-2 has no serial port; sudo modprobe ch341"),
            ("10c4:ea60", "the CP210x at USB 1-2 has no serial port; sudo modprobe cp210x"),
            ("0403:6015", "sudo modprobe ftdi_sio"),
            ("1a86:55d4", "sudo modprobe cdc_acm"),
        ],
    )
    def test_a_driver_is_missing(self, host: HostTree, ids: str, words: str) -> None:
        """A known bridge without a port is reported, with its driver."""
        host.usb("1-4", "dead:beef", tty="ttyUSB0")
        host.usb("1-2", ids)
        assert words in wrong()

    def test_brltty_has_taken_it(self, host: HostTree) -> None:
        """If brltty is installed, it has probably taken the bridge: its rule starts it for a moment only."""
        host.usb("1-4", "dead:beef", tty="ttyUSB0")
        host.usb("1-2", "1a86:7523")
        host.file("usr/lib/udev/rules.d/85-brltty.rules")
        assert "sudo apt-get remove brltty" in wrong()

    def test_others_need_none(self, host: HostTree) -> None:
        """Keyboards, hubs, and a chip whose firmware has no serial port are no lost bridges."""
        host.usb("1-4", "dead:beef", tty="ttyUSB0")
        for place, ids in (("1-2", "046d:c31c"), ("1-3", "303a:4001")):
            host.usb(place, ids)
        assert bad() == []


def test_a_slot_by_any_name(host: HostTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port is a slot's if both name one device; a denied one has the command for the group of its file."""
    host.usb("1-2", tty="ttyUSB0")
    host.file("etc/group", "dialout:x:20:\n")
    access: Callable[..., bool] = lambda path, mode: False  # noqa: E731
    monkeypatch.setattr("rmfab.board.access.os.access", access)
    assert wrong(slots("../dev/ttyUSB0")).startswith("slot A1: no permission for port /dev/ttyUSB0; ")
