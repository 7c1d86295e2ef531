"""The step `cloud` on virtual boards and real mosquitto: what passes, what is recorded, each fault and whose it is."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from rmfab.cloud.broker_files import BrokerFolder
from rmfab.cloud.mosquitto import Mosquitto, find_mosquitto
from rmfab.identity.ca import CertificateAuthority
from rmfab.line.listening import judge_meanwhile
from rmfab.line.stages import Joined
from rmfab.line.steps import cloud
from rmfab.line.visit import Visit
from rmfab.listening import free_port
from rmfab.nvs.packing import pack
from rmfab.nvs.reader import read_image
from rmfab.nvs.table import Entry, EntryKind
from rmfab.operations.trace import trace_unit
from rmfab.report.trace import as_json, as_lines
from rmfab.virtual.network import FACTORY_NETWORK, AccessPoint, Route
from rmfab.workspace.workspace import now
from tests.cloud.hurry import Hurry
from tests.cloud.lab import Lab
from tests.line.floor import NVS, Factory, Said, beside, copied, found, serve, spec
from tests.line.test_provision import give_network, held_network
from tests.patience import PATIENCE, until

pytestmark = [pytest.mark.slow, pytest.mark.peers]

HOST = "mqtt.example.org"
LONG = 600.0
"""Seconds of a limit that no unit reaches by being slow."""
QUIET = 1.0
"""Seconds until the limit is over for a unit that has shown what is wrong with it."""
EDITS = (
    ("join = false", "join = true"),
    ('cloud = "off"', 'cloud = "witness"'),
    ('cloud_param = ""', 'cloud_param = "Light.Power"'),
    ("wrong_pop_every = 50", "wrong_pop_every = 0"),
)


def network_to(port: int) -> AccessPoint:
    """The factory's network, from which the broker on *port* is reached."""
    return replace(FACTORY_NETWORK, routes=(Route(HOST, "127.0.0.1", port),))


@dataclass
class Shop:
    """A factory whose firmware trusts the broker of *lab*, which runs on *port*."""

    factory: Factory
    lab: Lab
    port: int

    def witnesses(self) -> set[str]:
        """The client ids of witnesses that the broker has let in."""
        return set(re.findall(r" as (rmfab-witness-\w+) ", self.lab.folder.log.read_text()))

    @property
    def network(self) -> AccessPoint:
        """The factory's network, from which units reach the broker."""
        return network_to(self.port)


@dataclass
class Line:
    """A factory for one test, at the broker of *shop*."""

    shop: Shop
    factory: Factory
    folder: Path

    def station(self, **changed: object) -> None:
        """Write station.toml with the broker and its witness; None leaves a key out."""
        folder = self.shop.lab.folder
        known = {"host": "localhost", "tcp_port": self.shop.port, "ca": str(folder.ca)}
        known |= {"witness_cert": str(folder.certificate("witness")), "witness_key": str(folder.key("witness"))}
        lines = [f"{key} = {json.dumps(value)}" for key, value in (known | changed).items() if value is not None]
        give_network(self.factory)
        with (self.factory.root / "station.toml").open("a") as stream:
            stream.write("\n".join(["[cloud]", *lines, ""]))

    def run(self, *faults: str, command: str = "run", network: AccessPoint | None = None, **fields: object) -> Said:
        """Run one board through the line."""
        joined = (network or self.shop.network,)
        one = spec(faults=faults, networks=joined, flash_file=self.folder / "flash.bin", **fields)
        with serve([one]) as (board,):
            return self.factory.run(board.url, command=command)


class Limit:
    """The limit of the step `cloud` is LONG, and over for a unit QUIET seconds after *enough* of it was seen.

    So a limit that must expire does so early, and yet no unit must be fast.
    """

    def __init__(self, patch: pytest.MonkeyPatch, enough: Callable[[Visit], object]) -> None:
        self._enough = enough
        self._slot = threading.local()  # each slot has its own thread
        patch.setattr("rmfab.line.steps.cloud.judge_meanwhile", self._judge)
        patch.setattr("rmfab.line.steps.cloud.time", self)

    def monotonic(self) -> float:
        """What the step takes for the time."""
        real = time.monotonic()
        over = real - getattr(self._slot, "since", real) >= QUIET
        return real + LONG if over else real

    def _judge(self, visit: Visit) -> None:
        judge_meanwhile(visit)
        if not hasattr(self._slot, "since") and self._enough(visit):
            self._slot.since = time.monotonic()


def is_connected(visit: Visit) -> bool:
    """Whether the line has read that the unit is connected."""
    return visit.board.log is not None and visit.board.log.mqtt_connected


def is_troubled(visit: Visit) -> bool:
    """Whether the line has read why the unit is not connected."""
    return visit.board.log is not None and visit.board.log.mqtt_trouble is not None


def is_told(visit: Visit) -> bool:
    """Whether the line has read that a parameter came to the unit."""
    return "Received params" in visit.board.text


@contextmanager
def opened(root: Path, edits: tuple[tuple[str, str], ...] = EDITS, **firmware: object) -> Iterator[Shop]:
    """Yield a factory with such firmware, and its broker."""
    lab = Lab(root, names=(HOST, "localhost"))
    compiled = {"server_root": lab.folder.ca.read_text()} | firmware
    factory = found(root / "ws", units=8, edits=edits, **compiled)
    lab.ca = CertificateAuthority.load(factory.workspace.ca_folder, lambda _: None, now())
    lab.write(lab.folder, port := free_port("127.0.0.1"))
    with Mosquitto(find_mosquitto(), lab.folder, lab.settings(port)):
        yield Shop(factory, lab, port)


@contextmanager
def beside_it(lab: Lab, folder: Path) -> Iterator[tuple[Mosquitto, int]]:
    """Yield a second broker of *lab*, with the same certificate, and its port."""
    shutil.copytree(lab.folder.root, folder)
    files, port = BrokerFolder(folder), free_port("127.0.0.1")
    lab.write(files, port)
    with Mosquitto(find_mosquitto(), files, lab.settings(port)) as broker:
        yield broker, port


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One broker and one factory for all."""
    with opened(tmp_path_factory.mktemp("shop")) as one:
        yield one


@pytest.fixture
def line(shop: Shop, tmp_path: Path) -> Line:
    """A factory for one test."""
    return line_of(shop, tmp_path)


def line_of(shop: Shop, folder: Path) -> Line:
    """Return a factory for one test, with its station.toml."""
    one = Line(shop, copied(shop.factory, folder / "ws"), folder)
    one.station()
    return one


def measured(said: Said) -> dict[str, object]:
    """The measurements of the step."""
    return said.step("cloud")["measurements"]


class TestPassed:
    """Good units."""

    def test_all_checks(self, line: Line) -> None:
        """Config, mapping and parameter pass, each with its seconds in the events and in the ledger; then the reset."""
        said = line.run()
        assert said.code == 0, said.unit["reason"]
        assert measured(said)["checks"] == {"config": "PASS", "mapping": "PASS", "param": "PASS"}
        assert all(0 <= measured(said)[name] < PATIENCE for name in ("config", "param", "restored"))
        assert measured(said)["limit"] == 60.0
        assert [said.steps()[step] for step in ("provision", "cloud", "reset")] == ["PASS"] * 3
        assert list(line.factory.states().values()) == ["verified"]
        with line.factory.ledger() as ledger:
            (recorded,) = [one.event for one in ledger.history(said.unit["serial"]) if one.event.step == "cloud"]
            assert recorded.details == measured(said) | {"operator": recorded.details["operator"]}
            assert ledger.maybe_online([said.unit["serial"]]) == set()
        traced = trace_unit(line.factory.workspace, said.unit["serial"])
        assert as_json(traced.identities, traced.events)["identities"][0]["first_connected"] == recorded.ts
        assert f"  connected     first {recorded.ts}" in as_lines(traced.identities, traced.events)

    def test_side_by_side(self, line: Line) -> None:
        """Units on all slots pass at once, and share one connection of the witness."""
        before = line.shop.witnesses()
        networks = (line.shop.network,)
        with serve([spec(index=number, networks=networks) for number in range(3)]) as boards:
            said = line.factory.run(*(board.url for board in boards))
        assert (said.code, said.summary["passed"]) == (0, 3)
        assert len(line.shop.witnesses() - before) == 1

    def test_a_unit_that_has_just_reconnected(self, line: Line) -> None:
        """A unit that does not hear of the parameter at first is told again, and passes."""
        said = line.run("loses-param")
        assert said.code == 0, said.unit["reason"]
        assert measured(said)["checks"] == {"config": "PASS", "mapping": "PASS", "param": "PASS"}

    def test_console(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        """With cloud = "console" no witness is needed; a unit that cannot connect fails with what its console says."""
        line.factory.edit('cloud = "witness"', 'cloud = "console"')
        line.factory.edit('cloud_param = "Light.Power"', 'cloud_param = ""')
        line.factory.edit("cloud_timeout = 60.0", f"cloud_timeout = {LONG}")
        line.station(witness_cert=None, witness_key=None)
        before = line.shop.witnesses()
        networks = (line.shop.network,)
        wait = cloud._await_console
        with serve([spec(networks=networks), spec(index=1, networks=networks, faults=("wrong-host",))]) as boards:

            def waiting(visit: Visit, stage: Joined, seconds: float) -> str | None:
                if visit.slot.name != boards[1].url:
                    return wait(visit, stage, seconds)
                until(lambda: judge_meanwhile(visit) or is_troubled(visit), "the console says nothing")
                return wait(visit, stage, QUIET)

            monkeypatch.setattr("rmfab.line.steps.cloud._await_console", waiting)
            said = line.factory.run(*(board.url for board in boards))
        assert verdicts(said) == {boards[0].url: ("PASS", None), boards[1].url: ("FAIL", "mqtt-dns")}
        assert line.shop.witnesses() == before

    def test_without_challenge_response(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Firmware that waits for its owner reports no mapping and no parameters: that is skipped, with a warning."""
        edits = (*EDITS, ("cloud_timeout = 60.0", f"cloud_timeout = {LONG}"))
        Limit(monkeypatch, lambda visit: "config" in visit.measured["checks"])
        with opened(tmp_path / "shop", edits, ch_resp=False) as shop:
            said = line_of(shop, tmp_path).run()
        assert said.code == 0, said.unit["reason"]
        assert measured(said)["checks"] == {"config": "PASS", "mapping": "SKIP", "param": "SKIP"}
        assert any("reports no parameters" in told for told in said.logs)


FAULTS: dict[str, tuple[str, Callable[[Visit], bool]]] = {
    "wrong-host": ("mqtt-dns", is_troubled),
    "early-clock": ("mqtt-clock", is_troubled),
    "other-project": ("cloud-project", lambda _: False),
    "mute-online": ("cloud-silent", is_connected),
    "ignores-params": ("cloud-param", is_told),
}
"""The cause of each fault, and what the line sees of a unit that will show no more; it need not wait for the rest."""


class TestFailed:
    """What is wrong with a unit."""

    def test_faults(self, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each fault has its own cause, and is the unit's; the good unit beside them passes, and all are reset."""
        line.factory.edit("cloud_timeout = 60.0", f"cloud_timeout = {LONG}")
        networks = (line.shop.network,)
        specs = [
            spec(
                index=number, faults=(fault,) if fault else (), networks=networks, flash_file=tmp_path / f"{number}.bin"
            )
            for number, fault in enumerate([*FAULTS, ""])
        ]
        with serve(specs) as boards:
            shown = {board.url: enough for board, (_, enough) in zip(boards, FAULTS.values(), strict=False)}
            Limit(monkeypatch, lambda visit: visit.slot.name in shown and shown[visit.slot.name](visit))
            said = line.factory.run(*(board.url for board in boards))
        told = verdicts(said)
        assert {fault: told[board.url] for fault, board in zip([*FAULTS, ""], boards, strict=True)} == {
            **{fault: ("FAIL", cause) for fault, (cause, _) in FAULTS.items()},
            "": ("PASS", None),
        }
        assert [held_network(one.flash_file.read_bytes()) for one in specs] == [[]] * len(specs)
        serials = {unit["serial"]: unit["outcome"] for unit in said.units}
        resets = [e["outcome"] for e in said.events if e["event"] == "step" and e["step"] == "reset"]
        assert resets == ["PASS"] * len(specs)
        with line.factory.ledger() as ledger:  # so their credentials may be checked from the host
            assert ledger.maybe_online(serials) == set()
        states = {"FAIL": "failed", "PASS": "verified"}
        assert line.factory.states() == {serial: states[outcome] for serial, outcome in serials.items()}
        line.factory.check()

    def test_another_ca(self, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A unit whose certificate its broker refuses in the handshake fails as `mqtt-certificate`."""
        line.factory.edit("cloud_timeout = 60.0", f"cloud_timeout = {LONG}")
        Limit(monkeypatch, is_troubled)
        stranger = Lab(line.shop.lab.root, line.shop.lab.names)  # with a CA of its own
        with beside_it(stranger, tmp_path / "broker") as (_, port):
            said = line.run(network=network_to(port))
        assert (said.code, said.verdict) == (1, ("FAIL", "mqtt-certificate")), said.unit["reason"]

    def test_firmware_that_trusts_a_different_ca(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Firmware that does not contain the CA of the broker fails with that reason, not with its clock."""
        edits = (*EDITS, ("cloud_timeout = 60.0", f"cloud_timeout = {LONG}"))
        Limit(monkeypatch, is_troubled)
        stranger = Lab(tmp_path / "stranger", names=(HOST,)).folder.ca.read_text()
        with opened(tmp_path / "shop", edits, server_root=stranger) as shop:
            said = line_of(shop, tmp_path).run()
        assert said.verdict == ("FAIL", "mqtt-broker")
        assert "the firmware does not trust the CA" in said.unit["reason"]

    def test_mapped(self, line: Line, tmp_path: Path) -> None:
        """A unit that arrives mapped to a user fails with that reason, and is reset; then it passes."""
        assert line.run(command="flash").code == 0
        flash = tmp_path / "flash.bin"
        cells = bytearray(flash.read_bytes())
        cells[NVS : NVS + 0x6000] = pack([Entry("user_mapping", "user_id", EntryKind.BLOB, b"someone")], 0x6000)
        flash.write_bytes(cells)
        said = line.run(command="verify")
        assert (said.code, said.verdict) == (1, ("FAIL", "cloud-mapped")), said.unit["reason"]
        assert not any(one.key == "user_id" for one in read_image(flash.read_bytes()[NVS : NVS + 0x6000]).entries)
        said = line.run(command="verify")
        assert (said.code, measured(said)["checks"]["mapping"]) == (0, "PASS"), said.unit["reason"]


class TestStation:
    """What is wrong with the station, the broker or the product is no unit's fault."""

    def test_no_witness(self, line: Line) -> None:
        """A product that needs a witness is refused on a station without one, before a board is touched."""
        line.station(witness_cert=None, witness_key=None)
        assert untouched(line) == (3, ["no-witness"])

    @pytest.mark.parametrize("key", ["witness_key", "ca"])
    def test_no_file(self, line: Line, key: str) -> None:
        """So is one whose files are missing."""
        line.station(**{key: "no-such-file"})
        assert untouched(line)[0] == 3

    def test_no_paho(self, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        """So is one without paho-mqtt."""
        monkeypatch.setitem(sys.modules, "paho.mqtt.client", None)
        assert untouched(line) == (4, ["no-paho"])

    def test_no_broker(self, line: Line) -> None:
        """So is one whose broker does not answer."""
        line.station(tcp_port=free_port("127.0.0.1"))
        assert untouched(line) == (4, ["broker-away"])

    def test_strange_witness(self, line: Line) -> None:
        """So is one whose witness the broker does not let in."""
        pair = Lab(line.folder / "other").unit("other").pair
        (line.folder / "w.pem").write_bytes(pair.certificate + pair.key.reveal())
        (line.folder / "w.pem").chmod(0o600)
        line.station(witness_cert=str(line.folder / "w.pem"), witness_key=str(line.folder / "w.pem"))
        assert untouched(line) == (4, ["witness"])

    def test_a_parameter_that_the_firmware_lacks(self, line: Line) -> None:
        """A parameter that no firmware has is the product's mistake; the error names those that there are."""
        line.factory.edit("Light.Power", "Light.Strength")
        said = line.run()
        assert (said.code, said.verdict) == (3, ("ERROR", "no-param"))
        assert "Light.Brightness" in said.unit["reason"]

    def test_the_broker_dies(self, line: Line, tmp_path: Path) -> None:
        """If the witness loses its connection while a unit is watched, the unit ends as ERROR and is reset."""
        line.factory.edit("cloud_timeout = 60.0", f"cloud_timeout = {LONG}")
        with beside_it(line.shop.lab, tmp_path / "broker") as (broker, port):
            line.station(tcp_port=port)

            def die() -> None:
                line.factory.wait_for(lambda event: event.get("step") == "provision")
                broker.stop()

            with beside(die):
                said = line.run("mute-online", network=network_to(port))
        assert (said.code, said.verdict) == (4, ("ERROR", "witness")), said.unit["reason"]
        assert list(line.factory.states().values()) == ["flashed"]

    def test_the_broker_hangs(self, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A broker that keeps its connections and delivers nothing is not the unit's silence: ERROR, and no FAIL."""
        line.factory.edit("cloud_timeout = 60.0", f"cloud_timeout = {LONG}")
        hung = threading.Event()
        Limit(monkeypatch, lambda _: hung.is_set())
        monkeypatch.setattr("rmfab.cloud.witness.time", Hurry(hung))
        with beside_it(line.shop.lab, tmp_path / "broker") as (broker, port):
            line.station(tcp_port=port)
            process = broker._process
            assert process is not None

            def hang() -> None:
                line.factory.wait_for(lambda event: event.get("step") == "provision")
                process.send_signal(signal.SIGSTOP)
                hung.set()

            try:
                with beside(hang):
                    said = line.run("mute-online", network=network_to(port))
            finally:
                process.send_signal(signal.SIGCONT)
        assert (said.code, said.verdict) == (4, ("ERROR", "witness")), said.unit["reason"]
        assert "does not acknowledge" in said.unit["reason"]


def untouched(line: Line) -> tuple[int, list[str]]:
    """Run a board; return how the command was refused. Nothing was sent to the board."""
    with serve([spec(networks=(line.shop.network,))]) as (board,):
        said = line.factory.run(board.url)
        assert board.state()["commands"] == 0
    assert said.units == []
    return said.code, [one["class"] for one in said.events[0]["errors"]]


def verdicts(said: Said) -> dict[str, tuple[str, str | None]]:
    """The verdict of each slot."""
    return {unit["slot"]: (unit["outcome"], unit["class"]) for unit in said.units}
