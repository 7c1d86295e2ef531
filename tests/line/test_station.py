"""station.toml and --port: the slots they define, and every possible mistake."""

from __future__ import annotations

import pytest

from rmfab.board.esp.loader import SlotLink
from rmfab.board.port import PluggedIn
from rmfab.board.restart import Auto, FixtureCommand, Unwired
from rmfab.errors import ComplaintsError, InputError
from rmfab.label.printers.configuration import GraphicEncoding
from rmfab.label.printers.media import Media
from rmfab.line.station import JOINED, NMCLI, Radio, Slot, Station, StationBroker, host_station, load_station, slots_for

GOOD = """
[station]
name = "bench-1"

[[slot]]
name = "A1"
port = "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0"

[[slot]]
name = "A2"
port = "rfc2217://bench:4001"
baud = 460800
restart = "none"

[[slot]]
name = "A3"
port = "COM7"
restart = ["fixture", "--slot", "3", "--mode={mode}"]
unit = "http://10.0.0.7:8080"

[provisioning]
adapter = "hci1"
softap = ["join", "--open", "{ssid}"]
interface = "wlan1"
network = "wifi.toml"
"""


def load(tmp_path, text):
    """Load the station of a file with *text*."""
    path = tmp_path / "station.toml"
    path.write_text(text)
    return load_station(path)


def test_slots(tmp_path):
    """Each slot has its name, port, baud and kind of restart, in the order of the file."""
    station = load(tmp_path, GOOD)
    assert station.name == "bench-1"
    assert station.slots == (
        Slot("A1", SlotLink("/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0", None, Auto())),
        Slot("A2", SlotLink("rfc2217://bench:4001", 460800, Unwired())),
        Slot(
            "A3",
            SlotLink("COM7", None, FixtureCommand(("fixture", "--slot", "3", "--mode={mode}"))),
            "http://10.0.0.7:8080",
        ),
    )


def test_radio(tmp_path):
    """Paths are relative to the file, and NetworkManager is the default way to a SoftAP."""
    assert load(tmp_path, GOOD).radio == Radio(
        "hci1", ("join", "--open", "{ssid}"), "wlan1", tmp_path.resolve() / "wifi.toml"
    )
    assert load(tmp_path, "").radio == Radio(None, (NMCLI,), None, None)
    assert load(tmp_path, '[provisioning]\nsoftap = "joined"\n').radio.softap == (JOINED,)


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ('name = "bench-1"', 'nme = "bench-1"', "nme"),
        ('name = "bench-1"', 'name = ".bench"', "name"),
        ('name = "A2"', 'name = "A 2"', "name"),
        ('name = "A2"', 'name = "A1"', "[[slot]]"),
        ('port = "COM7"', 'port = "rfc2217://bench:4001"', "[[slot]]"),
        ('port = "COM7"', "", "port"),
        ("baud = 460800", "baud = 3", "baud"),
        ("baud = 460800", 'baud = "fast"', "baud"),
        ('restart = "none"', 'restart = "manual"', "restart"),
        ('restart = "none"', "restart = []", "restart"),
        ('restart = "none"', 'restart = ["fixture"]', "restart"),
        ('restart = "none"', 'restart = ["fixture", 3]', "restart"),
        ('restart = "none"', "start = []", "start"),
        ('restart = "none"', "start = ['']", "start"),
        ('restart = "none"', 'start = ["lid", 1]', "start"),
        ('restart = "none"', 'start = "lid --closed"', "start"),
        ('restart = "none"', "presence = ['']", "presence"),
        ('"http://10.0.0.7:8080"', '"https://10.0.0.7"', "unit"),
        ('"http://10.0.0.7:8080"', '"http://10.0.0.7/path"', "unit"),
        ('"http://10.0.0.7:8080"', "80", "unit"),
        ('["join", "--open", "{ssid}"]', '["join"]', "softap"),
        ('["join", "--open", "{ssid}"]', '"wpa_cli"', "softap"),
        ('["join", "--open", "{ssid}"]', "true", "softap"),
        ('adapter = "hci1"', "adapter = 1", "adapter"),
        ('adapter = "hci1"', 'adaptor = "hci1"', "adaptor"),
    ],
)
def test_complaints(tmp_path, old, new, where):
    """Each mistake is reported with its place in the file."""
    assert old in GOOD
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert "station.toml" in str(caught.value)
    assert where in str(caught.value)


def test_all_complaints_at_once(tmp_path):
    """Three mistakes give three complaints."""
    text = GOOD.replace("baud = 460800", "baud = 3").replace('"none"', '"manual"').replace('"COM7"', "7")
    with pytest.raises(ComplaintsError) as caught:
        load(tmp_path, text)
    assert len(caught.value.complaints) == 3


@pytest.mark.parametrize("text", ["[station", "\x00", "[station]\nname = 3"])
def test_no_station_file(tmp_path, text):
    """A file that is not TOML, or with a wrong type, is bad input."""
    with pytest.raises(InputError):
        load(tmp_path, text)


class TestSlotsFor:
    """--port accepts slot names, addresses of slots, and ports that are in no file."""

    @pytest.fixture
    def station(self, tmp_path):
        """The station above."""
        return load(tmp_path, GOOD)

    def test_by_name_and_by_address(self, station):
        """A slot is the same by its name and by its port."""
        assert slots_for(("A3", "rfc2217://bench:4001"), station, None) == (station.slots[2], station.slots[1])

    def test_all(self, station):
        """Without --port all slots are chosen."""
        assert slots_for((), station, None) == station.slots

    def test_units(self, station):
        """--unit-url gives the URL of each slot's unit; a different number or an invalid URL is bad input."""
        slots = slots_for(("COM9", "A3"), station, None, ("http://one", "http://[::1]:81"))
        assert [slot.unit for slot in slots] == ["http://one", "http://[::1]:81"]
        assert slots_for(("A3",), station, None)[0].unit == "http://10.0.0.7:8080"
        for units in (("http://one", "http://two"), ("ftp://one",), ("http://",)):
            with pytest.raises(InputError):
                slots_for(("COM9",), station, None, units)

    def test_baud_overrides(self, station):
        """--baud applies to every slot."""
        assert {slot.link.baud for slot in slots_for((), station, 115200)} == {115200}

    def test_lone_ports(self):
        """A port without a station.toml restarts by its control lines; a raw socket has neither lines nor a baud."""
        lone, raw = slots_for(("/dev/ttyUSB0", "socket://qemu:5555"), Station("host"), None)
        assert lone == Slot("/dev/ttyUSB0", SlotLink("/dev/ttyUSB0", None, Auto()))
        assert raw == Slot("socket://qemu:5555", SlotLink("socket://qemu:5555", 115200, Unwired()))

    @pytest.mark.parametrize("ports", [("A1", "A1"), ("A2", "rfc2217://bench:4001"), ("COM9", "COM9")])
    def test_twice(self, station, ports):
        """One port cannot be given twice, by any name."""
        with pytest.raises(InputError, match="twice"):
            slots_for(ports, station, None)

    @pytest.mark.parametrize("name", ["A9", "bench-7", "ttyUSB0", "left, top", "rfc2217:bench:4001"])
    def test_an_unknown_slot(self, station, name):
        """A word that can only be a slot's name is not tried as a port: the error names the slots, if there are any."""
        with pytest.raises(InputError, match=f"no slot {name}; station.toml has A1, "):
            slots_for((name,), station, None)
        with pytest.raises(
            InputError, match=f'"{name}" is neither a port nor a slot: this station has no slots'
        ) as caught:
            slots_for((name,), Station("host"), None)
        assert caught.value.cause == "no-slot"

    @pytest.mark.parametrize("name", ["COM12", "/dev/ttyUSB7", "socket://qemu:5555", "./pty"])
    def test_a_port_that_is_in_no_file(self, station, name):
        """What has the form of a port is one, with slots and without."""
        for one in (station, Station("host")):
            assert slots_for((name,), one, None)[0].link.address == name

    @pytest.mark.parametrize(
        ("name", "meant"),
        [("a1", "A1"), ("A-2", "A2"), ("A33", "A3"), ("ttyusb0", "/dev/x/usb-0:2"), ("zz", None), ("A7", None)],
    )
    def test_a_misspelt_slot(self, station, monkeypatch, name, meant):
        """The hint suggests the slot or the plugged-in port that is meant."""
        port = PluggedIn("/dev/x/usb-0:2", "/dev/ttyUSB0", "0:2", "CP2102")
        monkeypatch.setattr("rmfab.line.station.plugged_in", lambda: (port,))
        with pytest.raises(InputError) as caught:
            slots_for((name,), station, None)
        assert (f"did you mean {meant}?" in caught.value.hint) is (meant is not None)
        if meant == port.address:
            with pytest.raises(InputError) as caught:
                slots_for((name,), Station("host"), None)
            assert f"did you mean {meant}?" in caught.value.hint

    def test_none(self):
        """No port and no slot is bad input."""
        with pytest.raises(InputError, match="no port"):
            slots_for((), host_station(), None)


def test_broker(tmp_path):
    """The broker has a host, a port, a CA, and a witness with certificate and key; without the table there is none."""
    text = '[cloud]\nhost = "mqtt.lan"\ntcp_port = 8883\nca = "ca.crt"\nwitness_cert = "w.crt"\nwitness_key = "w.key"\n'
    paths = (tmp_path / name for name in ("ca.crt", "w.crt", "w.key"))
    assert load(tmp_path, text).broker == StationBroker("mqtt.lan", 8883, *paths)
    assert load(tmp_path, "[cloud]\n").broker == StationBroker()
    assert load(tmp_path, GOOD).broker is None


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ('host = "mqtts://a"', "host"),
        ("tcp_port = 0", "tcp_port"),
        ('witness_cert = "w.crt"', "witness_cert"),
        ('witness_key = "w.key"', "witness_cert"),
        ('password = "x"', "password"),
    ],
)
def test_bad_broker(tmp_path, line, key):
    """What is wrong with the broker is a complaint with its key."""
    with pytest.raises(ComplaintsError) as caught:
        load(tmp_path, f"[cloud]\n{line}\n")
    assert [one.where for one in caught.value.complaints] == [f"station.toml: [cloud] {key}"]


def test_printer(tmp_path):
    """[printer] has an address, and says about dots, labels and darkness only what it is asked to."""
    station = load(tmp_path, '[printer]\naddress = "zpl+tcp://10.0.0.9"\ndpi = 300\nmedia = "40x30"\ndarkness = 0\n')
    printer = station.printer
    assert (printer.address.text, printer.dpi, printer.media) == ("zpl+tcp://10.0.0.9", 300, Media(40, 30))
    assert (printer.darkness, printer.speed, printer.encoding) == (0, None, GraphicEncoding.RUN_LENGTH)
    assert load(tmp_path, "").printer is None


@pytest.mark.parametrize(
    ("table", "key"),
    [
        ("", "address"),
        ('address = "10.0.0.9"', "address"),
        ('address = "file:///x"\ndpi = 20', "dpi"),
        ('address = "file:///x"\nmedia = "A4"', "media"),
        ('address = "file:///x"\nmedia = "40x3000"', "media"),
        ('address = "file:///x"\ndarkness = 10', "darkness"),
        ('address = "tspl+tcp://x"\ndarkness = 16', "darkness"),
        ('address = "ql+tcp://x"\nspeed = 2', "speed"),
        ('address = "ql+tcp://x"\nencoding = "z64"', "encoding"),
        ('address = "zpl+tcp://x"\nencoding = "zlib"', "encoding"),
        ('adress = "zpl+tcp://x"', "adress"),
    ],
)
def test_bad_printer(tmp_path, table, key):
    """Each mistake in [printer] is reported with its key."""
    with pytest.raises(ComplaintsError) as caught:
        load(tmp_path, f"[printer]\n{table}\n")
    assert [error.where for error in caught.value.complaints] == [f"station.toml: [printer] {key}"]
