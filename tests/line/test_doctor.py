"""`rmfab doctor`: its checks of a host, and the exit code of the command."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

from rmfab.board.access import DeviceNode
from rmfab.board.restart import Auto
from rmfab.cli import COMMANDS, main
from rmfab.line.doctor import diagnose
from rmfab.line.host_facts import Host, HostPort, examine
from rmfab.line.station import JOINED, Radio, Slot, SlotLink, Station
from rmfab.product.product_file import parse_product

GOOD = Host(
    platform="linux",
    ports=(HostPort("/dev/serial/by-path/one"),),
    grabbers=(),
    bleak=True,
    system_bus=True,
    adapters=("hci0",),
    nmcli=True,
    wifi=("wlan0",),
)
DENIED = DeviceNode(usable=False, group="dialout")
BENCH = Station("bench")
AT_URL = Station("bench", (Slot("A1", SlotLink("COM7", 921600, Auto()), "http://10.0.0.7"),))

REMOTE = Station("bench", (Slot("A1", SlotLink("rfc2217://10.0.0.8:4000", 921600, Auto()), "http://10.0.0.7"),))


def product(tmp_path, **changes):
    """A product whose [provisioning] transport and [verify] are as given."""
    transport = changes.pop("transport", "ble")
    verify = "".join(f"{key} = {value}\n" for key, value in changes.items())
    text = f'[product]\nname = "L"\nchip = "esp32c3"\nserial = "L-{{n}}"\n[provisioning]\ntransport = "{transport}"\n'
    return parse_product(f"{text}[verify]\n{verify}", tmp_path / "product.toml")


def host(**changes):
    """GOOD with *changes*."""
    return Host(**{name: getattr(GOOD, name) for name in GOOD.__dataclass_fields__} | changes)


def missing(host, station, product):
    """Return the failed checks; each has a hint."""
    bad = [one for one in diagnose(host, station, product) if not one.good]
    assert all(one.hint for one in bad)
    return [one.what for one in bad]


@pytest.mark.parametrize(
    ("changes", "station", "keys", "words"),
    [
        ({}, BENCH, {}, None),
        ({"ports": ()}, BENCH, {}, "no USB serial port"),
        ({"ports": ()}, REMOTE, {}, None),
        ({"ports": (HostPort("/dev/ttyUSB0", DENIED),)}, BENCH, {}, "no permission for port /dev/ttyUSB0"),
        ({"grabbers": ("ModemManager",)}, BENCH, {}, "ModemManager is running"),
        ({"absent": ("COM7",)}, AT_URL, {}, "slot A1: nothing is plugged in at COM7"),
        ({"ports": (HostPort("COM7", DENIED, slot="A1"),)}, AT_URL, {}, "slot A1: no permission for port COM7"),
        ({"ports": ()}, AT_URL, {}, None),
        ({"bleak": False}, BENCH, {}, "bleak"),
        ({"system_bus": False}, BENCH, {}, "D-Bus"),
        ({"adapters": ()}, BENCH, {}, "Bluetooth adapter"),
        ({}, Station("bench", radio=Radio(adapter="hci1")), {}, "Bluetooth adapter hci1"),
        ({"blocked": ("hci0",)}, BENCH, {}, "Bluetooth adapter hci0 that is switched on"),
        ({"blocked": ("hci0",), "adapters": ("hci0", "hci1")}, BENCH, {}, None),
        ({"wifi": ()}, BENCH, {"transport": "softap"}, "Wi-Fi interface"),
        ({"wifi": ()}, Station("bench", radio=Radio(softap=("true", "{ssid}"))), {"transport": "softap"}, None),
        ({}, Station("bench", radio=Radio(interface="wlan1")), {"transport": "softap"}, "Wi-Fi interface wlan1"),
        ({"wifi": (), "platform": "win32"}, BENCH, {"transport": "softap"}, None),
        ({"adapters": (), "system_bus": False, "platform": "darwin"}, BENCH, {}, None),
        ({"adapters": (), "bleak": False}, AT_URL, {}, None),
        ({"adapters": (), "bleak": False}, BENCH, {"provision": "false"}, None),
        ({"adapters": (), "bleak": False}, BENCH, {"transport": "softap"}, None),
        ({"nmcli": False}, BENCH, {"transport": "softap"}, "nmcli"),
        ({"nmcli": False}, Station("bench", radio=Radio(softap=(JOINED,))), {"transport": "softap"}, None),
        ({}, Station("bench", radio=Radio(softap=("not-there", "{ssid}"))), {"transport": "softap"}, "not-there"),
        ({}, BENCH, {"join": "true"}, None),
    ],
)
def test_diagnosis(tmp_path, changes, station, keys, words):
    """Each missing thing is reported once, and nothing else is."""
    told = missing(host(**changes), station, product(tmp_path, **keys))
    assert [words in one for one in told] == [True] if words else told == []


def test_factory_network(tmp_path):
    """If units join, the network's file must exist, be valid, and be private."""
    path = tmp_path / "wifi.toml"
    station, joining = Station("bench", radio=Radio(network=path)), product(tmp_path, join="true")
    assert "factory network" in missing(GOOD, station, joining)[0]
    path.write_text('ssid = "fab"\npassphrase = "hammer-and-tongs"\n')
    path.chmod(0o600)
    assert missing(GOOD, station, joining) == []
    path.chmod(0o644)
    (told,) = missing(GOOD, station, joining)
    assert "hammer" not in told
    assert missing(GOOD, station, product(tmp_path)) == [], "no unit joins"


@pytest.mark.parametrize(("soft", "hard", "blocked"), [("0", "0", ()), ("1", "0", ("hci0",)), ("0", "1", ("hci0",))])
def test_a_blocked_adapter(tmp_path, monkeypatch, soft, hard, blocked):
    """An adapter that rfkill blocks, in software or by a switch, is found in sysfs; a connection is not an adapter."""
    adapters = tmp_path / "sys/class/bluetooth"
    switch = adapters / "hci0" / "rfkill3"
    switch.mkdir(parents=True)
    (adapters / "hci0:42").mkdir()
    (switch / "soft").write_text(f"{soft}\n")
    (switch / "hard").write_text(f"{hard}\n")
    monkeypatch.setattr("rmfab.line.host_facts.ROOT", tmp_path)
    found = examine(BENCH)
    assert (found.adapters, found.blocked) == (("hci0",), blocked)


def test_examine():
    """Any host can be examined."""
    assert examine(BENCH).platform


def test_hints_name_real_commands(tmp_path):
    """A hint with a command of rmfab names one that exists."""
    bare = Host("linux", (), ("brltty",), bleak=False, system_bus=False, adapters=(), nmcli=False)
    both = [product(tmp_path), product(tmp_path, transport="softap")]
    hints = " ".join(one.hint for each in both for one in diagnose(bare, BENCH, each))
    named = re.findall(r"`rmfab (\w+)", hints)
    assert named
    assert set(named) <= set(COMMANDS)


def test_without_a_radio(tmp_path):
    """If the radio is missing, the last hint of several says how to do without it."""
    bare = host(bleak=False, adapters=())
    hints = [one.hint for one in diagnose(bare, BENCH, product(tmp_path)) if not one.good]
    assert ["provision = false" in hint for hint in hints] == [False, True]


def doctor(factory):
    """Return exit code, stdout and stderr of the command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(["-C", str(factory.root), "doctor"])
    return code, out.getvalue(), err.getvalue()


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch):
    """A disk that is fast enough, whatever this machine has."""
    monkeypatch.setattr("rmfab.operations.disk_sync.fsync_seconds", lambda *_: 0.003)


def test_command(factory, monkeypatch):
    """The command exits with 0 if everything is there, and with 4 and the number of problems if not."""
    monkeypatch.setattr("rmfab.operations.examine_host.examine", lambda _: GOOD)
    code, out, words = doctor(factory)
    assert code == 0, words
    assert "MISSING" not in out
    (factory.root / "keys" / "station.key").unlink()
    code, out, words = doctor(factory)
    assert code == 4
    assert "MISSING  this station's key" in out
    assert "1 problem on this host" in words


def test_whose_releases_are_taken(factory, monkeypatch):
    """Unsigned releases are accepted if product.toml allows them; otherwise a valid trust file is required."""
    monkeypatch.setattr("rmfab.operations.examine_host.examine", lambda _: GOOD)
    assert "ok       unsigned releases are accepted" in doctor(factory)[1]
    factory.edit("allow_unsigned = true ", "allow_unsigned = false")
    code, out, _ = doctor(factory)
    assert (code, "MISSING  a trust file, because releases must be signed" in out) == (4, True)
    (factory.root / "keys" / "trust.json").write_text("{}")
    assert "MISSING  the trust file: this trust file was altered" in doctor(factory)[1]


def test_unsigned_beside_a_trust_file(factory, monkeypatch):
    """A trust file is of little use while product.toml still accepts unsigned releases."""
    monkeypatch.setattr("rmfab.operations.examine_host.examine", lambda _: GOOD)
    workspace = ["-C", str(factory.root)]
    assert main([*workspace, "release", "keygen", "-o", str(factory.root / "r.key"), "--no-passphrase"]) == 0
    assert main([*workspace, "trust", "add", str(factory.root / "r.pub"), "--role", "release"]) == 0
    code, out, _ = doctor(factory)
    assert (code, "it still has allow_unsigned = true" in out) == (4, True)
    factory.edit("allow_unsigned = true ", "allow_unsigned = false")
    assert doctor(factory)[0] == 0


def test_a_key_that_opens_nothing(factory, monkeypatch):
    """A station that was not admitted is told so, with what the owner needs."""
    monkeypatch.setattr("rmfab.operations.examine_host.examine", lambda _: GOOD)
    (factory.root / "keys" / "station.key").unlink()
    assert main(["-C", str(factory.root), "station", "key"]) == 0
    code, out, _ = doctor(factory)
    assert code == 4
    assert re.search(r"MISSING  this key opens 0 of 1 batch: send the owner age1[a-z0-9]{58}\n", out)
