"""Tests of `rmfab station`: a second host opens identities only after it is admitted. Also `rmfab ports`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from serial.tools.list_ports_common import ListPortInfo

from tests.terminal import Terminal, copied, files


def second(lamp: Path, folder: Path) -> Path:
    """Copy the workspace as a different host has it: everything except keys/."""
    copied(lamp, folder)
    shutil.rmtree(folder / "keys")
    return folder


def bring(terminal: Terminal, lamp: Path, other: Path) -> None:
    """Copy the ledger to a different host, as a backup."""
    terminal.well("-C", lamp, "ledger", "backup", other / "new.db")
    for path in other.glob("ledger.db*"):
        path.unlink()
    (other / "new.db").rename(other / "ledger.db")


def test_admitting_another_station(terminal: Terminal, lamp: Path, tmp_path: Path) -> None:
    """A different host's key opens nothing before `station admit`, and all batches, old and new, after it."""
    other = second(lamp, tmp_path / "other")
    terminal("-C", other, "station", "show").refused(4, "station key", "`rmfab station key`")
    recipient = terminal.well("-C", other, "station", "key").strip()
    assert terminal.well("-C", other, "station", "key").strip() == recipient
    terminal("-C", other, "build", "lamp-0001", "-o", "x").refused(4, "station admit")
    said = terminal("-C", lamp, "station", "admit", recipient, "--name", "bench 2")
    assert said.err == "rmfab: admitted; rewrapped 1 data key for 2 recipients\n"
    terminal.well("-C", lamp, "generate", "--count", "2", "--batch", "later")
    shutil.copy(lamp / "product.toml", other / "product.toml")
    bring(terminal, lamp, other)
    assert f'bench-2 = "{recipient}"' in (other / "product.toml").read_text()
    for batch in ("lamp-0001", "later"):
        terminal.well("-C", other, "build", batch, "-o", f"theirs-{batch}")
        terminal.well("-C", lamp, "build", batch, "-o", f"ours-{batch}")
        assert files(Path(f"theirs-{batch}")) == files(Path(f"ours-{batch}"))
    terminal.well("-C", lamp, "ledger", "check")
    terminal("-C", other, "generate", "--count", "1").refused(5, "is a copy", "`rmfab ledger adopt`")


def test_admitting_twice(terminal: Terminal, lamp: Path, tmp_path: Path) -> None:
    """Admitting again changes no recipient; a name that is taken, or an invalid recipient, is rejected."""
    recipient = terminal.well("-C", second(lamp, tmp_path / "o"), "station", "key").strip()
    terminal.well("-C", lamp, "station", "admit", recipient)
    before = files(lamp)["product.toml"]
    terminal.well("-C", lamp, "station", "admit", recipient)
    assert files(lamp)["product.toml"] == before
    third = terminal.well("-C", second(lamp, tmp_path / "p"), "station", "key").strip()
    name = f"station-{recipient[-6:]}"
    terminal("-C", lamp, "station", "admit", third, "--name", name).refused(3, "different recipient", "--name")
    for wrong in ("age1x", "AGE-SECRET-KEY-1XYZ", ""):
        said = terminal("-C", lamp, "station", "admit", wrong)
        said.refused(3)
        assert "SECRET-KEY-1XYZ" not in said.err
    assert files(lamp)["product.toml"] == before


def test_a_station_that_may_not_admit(terminal: Terminal, lamp: Path, tmp_path: Path) -> None:
    """A host that cannot open identities cannot admit a station, and product.toml stays unchanged."""
    other = second(lamp, tmp_path / "other")
    recipient = terminal.well("-C", other, "station", "key").strip()
    before = files(other)["product.toml"]
    terminal("-C", other, "station", "admit", recipient).refused(4)
    assert files(other)["product.toml"] == before


def test_before_the_first_batch(terminal: Terminal, fan: Path, lamp: Path) -> None:
    """A station can be admitted before any identity is made."""
    recipient = terminal.well("-C", lamp, "station", "key").strip()
    assert "0 data keys" in terminal("-C", fan, "station", "admit", recipient).err
    assert not (fan / "ledger.db").exists()


def test_show(terminal: Terminal, lamp: Path) -> None:
    """`show` prints the station's name, recipient and slots on stdout."""
    slots = '[station]\nname = "bench-1"\n[[slot]]\nname = "A1"\nport = "COM7"\nbaud = 460800\n'
    (lamp / "station.toml").write_text(slots)
    out = terminal.well("-C", lamp, "station", "show")
    assert "bench-1" in out
    assert "age1" in out
    assert "slot A1  COM7  baud 460800" in out


def test_no_ports(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """If nothing is plugged in, stdout is empty and stderr reports it, with exit code 4; with JSON, too."""
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    said = terminal("ports")
    said.refused(4, "no USB serial port found", "plug in a board")
    assert said.out == ""
    said = terminal("ports", "--json")
    assert (said.code, json.loads(said.out)["event"]) == (4, "error")


def test_ports_are_a_slot_table(
    terminal: Terminal, lamp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`ports` prints a slot table that station.toml accepts as it is, each port by its place in the USB tree."""
    devices = []
    by_path = tmp_path / "by-path"
    by_path.mkdir()
    for number in (2, 1):
        device = tmp_path / f"ttyUSB{number}"
        device.touch()
        (by_path / f"pci-0000:00:14.0-usb-0:{number}:1.0-port0").symlink_to(device)
        (by_path / f"pci-0000:00:14.0-usbv2-0:{number}:1.0-port0").symlink_to(device)
        info = ListPortInfo(str(device))
        info.vid, info.location, info.description = 0x10C4, f"1-{number}", 'CP2102N "UART"'
        devices.append(info)
    builtin = ListPortInfo("/dev/ttyS0")
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [builtin, *devices])
    monkeypatch.setattr("rmfab.board.port._BY_PATH", by_path)
    out = terminal.well("ports")
    (lamp / "station.toml").write_text(out)
    shown = terminal.well("-C", lamp, "station", "show").splitlines()
    slots = [line.split() for line in shown if line.startswith("slot")]
    assert [(words[1], Path(words[2]).name) for words in slots] == [
        ("1", "pci-0000:00:14.0-usb-0:1:1.0-port0"),
        ("2", "pci-0000:00:14.0-usb-0:2:1.0-port0"),
    ]
    assert [port["location"] for port in json.loads(terminal.well("ports", "--json"))] == ["1-1", "1-2"]


@pytest.fixture
def bench(lamp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with two USB ports, and a station.toml with the first of them, an absent one and one on the network."""
    devices = []
    for number in (1, 2):
        info = ListPortInfo(str(tmp_path / f"ttyUSB{number}"))
        info.vid, info.location, info.description = 0x10C4, f"1-{number}", "CP2102N"
        devices.append(info)
        (tmp_path / f"ttyUSB{number}").touch()
    (tmp_path / "by-id-link").symlink_to(tmp_path / "ttyUSB1")
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: devices)
    ports = {"1": tmp_path / "by-id-link", "A2": "/dev/nowhere", "A3": "rfc2217://bench:4001"}
    slots = "".join(f'[[slot]]\nname = "{name}"\nport = "{port}"\n' for name, port in ports.items())
    (lamp / "station.toml").write_text(slots)
    return lamp


def test_ports_lists_the_slots(terminal: Terminal, bench: Path, tmp_path: Path) -> None:
    """`ports` shows each slot with its port, whether it is there and what is plugged in, and other ports as slots."""
    out = terminal.well("-C", bench, "ports")
    assert out.splitlines() == [
        f"# slot 1  {tmp_path}/by-id-link  present: {tmp_path}/ttyUSB1, 1-1, CP2102N",
        "# slot A2  /dev/nowhere  absent",
        "# slot A3  rfc2217://bench:4001  on the network",
        "",
        f"[[slot]]                 # {tmp_path}/ttyUSB2, 1-2, CP2102N",
        'name = "2"',
        f'port = "{tmp_path}/ttyUSB2"',
        'baud = "auto"',
        'restart = "auto"',
        "",
    ]
    with (bench / "station.toml").open("a") as stream:
        stream.write(out)
    assert "# slot 2" in terminal.well("-C", bench, "ports")


def test_ports_in_json(terminal: Terminal, bench: Path, tmp_path: Path) -> None:
    """`ports --json` is one list: the slots in their order, then the ports that are in no slot."""
    found = json.loads(terminal.well("-C", bench, "ports", "--json"))
    assert [(one["slot"], one["present"], one["location"]) for one in found] == [
        ("1", True, "1-1"),
        ("A2", False, None),
        ("A3", None, None),
        (None, True, "1-2"),
    ]


def test_ports_with_a_bad_station_file(terminal: Terminal, bench: Path) -> None:
    """A station.toml that cannot be read is a warning: the ports are what its author needs."""
    (bench / "station.toml").write_text("[[slot]]\nname = 3\n")
    said = terminal("-C", bench, "ports")
    assert (said.code, said.out.count("[[slot]]")) == (0, 2)
    assert "warning: the slots are not listed: station.toml" in said.err


def test_a_card_names_both_keys(terminal: Terminal, lamp: Path, tmp_path: Path) -> None:
    """A station with an age key of an earlier version gets the signing key added; its card admits it, and a ledger
    moves to it, as its recipient does."""
    other = second(lamp, tmp_path / "other")
    recipient = terminal.well("-C", other, "station", "key").strip()
    (other / "keys" / "signing.key").unlink()
    said = json.loads(terminal.well("-C", other, "station", "card", "-o", "other.card", "--json"))
    assert said["recipient"] == recipient
    assert json.loads(terminal.well("-C", other, "station", "key", "--json"))["signing_key"] == said["signing_key"]
    assert {path.name: path.stat().st_mode & 0o777 for path in (other / "keys").iterdir()} == {
        "signing.key": 0o600,
        "station.key": 0o600,
    }
    assert terminal.well("-C", other, "station", "card", "-o", "other.card").strip() == said["fingerprint"]
    assert (tmp_path / "other.card").read_bytes().count(b"PRIVATE") == 0
    terminal("-C", lamp, "station", "admit", "missing.card").refused(3, "missing.card")
    assert json.loads(terminal.well("-C", lamp, "station", "admit", "other.card", "--json"))["recipient"] == recipient
    assert f'station-{recipient[-6:]} = "{recipient}"' in (lamp / "product.toml").read_text()  # the name is taken
    moved = json.loads(terminal.well("-C", lamp, "ledger", "move", "--to", "other.card", "--yes", "--json"))
    assert moved == {"moved_to": recipient}


def test_a_signing_key_that_is_none(terminal: Terminal, lamp: Path) -> None:
    """A signing key that others may read, is encrypted or not Ed25519 is refused."""
    terminal.well("-C", lamp, "station", "key")
    path = lamp / "keys" / "signing.key"
    path.chmod(0o644)
    terminal("-C", lamp, "station", "card", "-o", "c").refused(3, "other users of this host can use")
    path.write_bytes(b"nothing")
    path.chmod(0o600)
    terminal("-C", lamp, "station", "card", "-o", "c").refused(3, "not a private key")
    terminal.well("release", "keygen", "-o", "p256.key", "--kind", "ecdsa-p256", "--no-passphrase")
    shutil.copy("p256.key", path)
    terminal("-C", lamp, "station", "card", "-o", "c").refused(3, "not an Ed25519 key")
    assert not Path("c").exists()
