"""Joining a unit's SoftAP and coming back, against a program that speaks as nmcli does and keeps its state."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from rmfab.errors import StationError
from rmfab.line.radio.softap import come_back, joined
from rmfab.line.station import JOINED, NMCLI, Radio
from tests.line.zygote import ROOT

UNIT, HOME = "PROV_a1b2c3", "Fab:rik \\ 5 GHz"
FAKE = """\
#!{python}
import json, sys
path = {state!r}
state = json.load(open(path))
argv = sys.argv[1:]
def terse(*fields): print(":".join(f.replace("\\\\", "\\\\\\\\").replace(":", "\\\\:") for f in fields))
def end(code, text=""):
    state["calls"].append(argv)
    json.dump(state, open(path, "w"))
    if text: print(text, file=sys.stderr)
    sys.exit(code)
rest = [a for i, a in enumerate(argv) if a not in ("-t", "--active")]
words = " ".join(argv)
if "connection show --active" in words:
    terse("Wired", "802-3-ethernet", "eth0")
    if state["active"]: terse(state["active"], "802-11-wireless", "wlan0")
elif "connection show" in words:
    for name in state["saved"]: terse(name)
elif "wifi list" in words:
    state["looks"] += 1
    heard = state["heard"] if state["looks"] > state["deaf"] else []
    for name in heard: terse(name)
elif "wifi connect" in words:
    ssid = argv[argv.index("connect") + 1]
    if state["refuse"]: end(4, "Error: Connection activation failed: (53) The Wi-Fi network could not be found.")
    state["saved"].append(ssid); state["active"] = ssid
elif "connection delete" in words:
    name = argv[argv.index("id") + 1]
    state["saved"].remove(name)
    if state["active"] == name: state["active"] = None
elif "connection up" in words:
    name = argv[argv.index("id") + 1]
    if name not in state["saved"] or state.get("lost"): end(10, "Error: unknown connection.")
    state["active"] = name
else:
    end(2, "Error: unknown: " + words)
end(0)
"""


class Host:
    """A host whose NetworkManager is that program."""

    def __init__(self, folder):
        self.folder = folder
        self.memory = folder / "memory.json"
        self._state = folder / "nm.json"
        self.change(active=HOME, saved=[HOME], heard=["Canteen", UNIT], looks=0, deaf=0, refuse=False, calls=[])
        program = folder / "bin" / "nmcli"
        program.parent.mkdir()
        program.write_text(FAKE.format(python=sys.executable, state=str(self._state)))
        program.chmod(0o755)

    @property
    def state(self):
        """What NetworkManager is in."""
        return json.loads(self._state.read_text())

    def change(self, **values):
        """Changes it."""
        old = self.state if self._state.exists() else {}
        self._state.write_text(json.dumps(old | values))


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host that is in the network HOME, whose name has to be escaped."""
    one = Host(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return one


def never(text):
    """A warning that must not be given."""
    raise AssertionError(text)


class TestNmcli:
    """Through NetworkManager."""

    @pytest.mark.parametrize("deaf", [0, 2])
    def test_there_and_back(self, host, deaf):
        """Joins once the network is heard, forgets it afterwards and brings the one before back, by its right name."""
        host.change(deaf=deaf)
        with joined(UNIT, Radio(interface="wlan0"), host.memory, never):
            assert host.state["active"] == UNIT
            assert json.loads(host.memory.read_text())["before"] == HOME
        assert (host.state["active"], host.state["saved"]) == (HOME, [HOME])
        assert not host.memory.exists()
        assert any(call[-2:] == ["ifname", "wlan0"] for call in host.state["calls"])

    def test_comes_back_from_a_failure(self, host):
        """What fails inside the block is raised, and the host is back."""
        with pytest.raises(ValueError, match="inside"), joined(UNIT, Radio(), host.memory, never):
            raise ValueError("inside")
        assert host.state["active"] == HOME

    def test_cannot_join(self, host):
        """A refused join is a station error with NetworkManager's own words; the host is back."""
        host.change(refuse=True)
        with pytest.raises(StationError, match="could not be found"), joined(UNIT, Radio(), host.memory, never):
            raise AssertionError
        assert host.state["active"] == HOME
        assert not host.memory.exists()

    def test_not_heard(self, host):
        """A network that is not in the air is not joined."""
        host.change(heard=["Canteen"])
        with (
            pytest.raises(StationError, match="does not receive") as caught,
            joined(UNIT, Radio(), host.memory, never),
        ):
            raise AssertionError
        assert caught.value.cause == "not-advertising"

    def test_nothing_before(self, host):
        """A host that was in no network is in none afterwards."""
        host.change(active=None, saved=[])
        with joined(UNIT, Radio(), host.memory, never):
            assert host.state["active"] == UNIT
        assert (host.state["active"], host.state["saved"]) == (None, [])

    def test_killed_in_between(self, host):
        """A process that is killed while joined leaves a note, by which the next run comes back."""
        code = f"""
            import os, signal
            from pathlib import Path
            from rmfab.line.radio.softap import joined
            from rmfab.line.station import Radio
            with joined({UNIT!r}, Radio(), Path({str(host.memory)!r}), print):
                os.kill(os.getpid(), signal.SIGKILL)
        """
        environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
        ended = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=environment, check=False)
        assert ended.returncode == -signal.SIGKILL
        assert host.state["active"] == UNIT
        assert come_back(host.memory) is None
        assert (host.state["active"], host.state["saved"]) == (HOME, [HOME])
        assert come_back(host.memory) is None, "nothing is left to do"

    def test_cannot_come_back(self, host):
        """A way back that fails is told, kept, and not forgotten when the next unit is joined."""
        told = []
        host.change(lost=True)
        with joined(UNIT, Radio(), host.memory, told.append):
            pass
        assert "cannot go back" in told[0]
        host.change(heard=["PROV_another"])
        with joined("PROV_another", Radio(), host.memory, told.append):
            assert json.loads(host.memory.read_text())["before"] == HOME
            host.change(lost=False)
        assert host.state["active"] == HOME
        assert len(told) == 1

    def test_note_that_cannot_be_read(self, host):
        """A note that makes no sense is told with its place, and nothing is done."""
        host.memory.write_text("{")
        assert str(host.memory) in come_back(host.memory)
        assert host.state["calls"] == []

    def test_no_nmcli(self, host, monkeypatch, tmp_path):
        """A host without nmcli is told what to set."""
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(StationError) as raised, joined(UNIT, Radio(), host.memory, never):
            raise AssertionError
        assert "softap" in raised.value.hint


def test_already_joined(host):
    """`joined` asks nobody and leaves no note."""
    with joined(UNIT, Radio(softap=(JOINED,)), host.memory, never):
        assert not host.memory.exists()
    assert host.state["calls"] == []


@pytest.mark.parametrize("code", [0, 1])
def test_command(host, code):
    """A command of the station is given the SSID; where it fails, its last word is the reason."""
    words = (
        sys.executable,
        "-c",
        f"import sys; print('no air', file=sys.stderr); sys.exit({code} or sys.argv[1] != 'to {UNIT}')",
    )
    radio = Radio(softap=(*words, "to {ssid}"))
    if code:
        with pytest.raises(StationError, match="no air"), joined(UNIT, radio, host.memory, never):
            raise AssertionError
    else:
        with joined(UNIT, radio, host.memory, never):
            pass
    assert Radio().softap[0] == NMCLI
