"""`rmfab cloud check` and `rmfab cloud serve`: units, exit codes, records, reports, and what is refused."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from rmfab.cloud.broker_link import BrokerLink
from rmfab.ledger.events import Event, EventKind, Outcome
from rmfab.ledger.records import LedgerIdentity
from rmfab.listening import free_port
from rmfab.operations.check_cloud import BrokerChecked, CheckRequest, UnitChecked, check_cloud
from rmfab.workspace.workspace import open_workspace
from tests.cloud.lab import Lab
from tests.cloud.servers import OpenBroker, listening
from tests.patience import PATIENCE, until
from tests.terminal import Terminal, environment, words

SERIALS = ("LMP-000001", "LMP-000002", "LMP-000003")
TS = "2026-01-31T12:00:00.000Z"


@dataclass
class Office:
    """A workspace with a batch of three, and an open broker that it checks on."""

    root: Path
    terminal: Terminal
    server: OpenBroker
    port: int

    def check(self, *options: str, units: tuple[str, ...] = ("lamp-0001",)):
        """Run `rmfab cloud check`."""
        ca = self.server.lab.folder.ca
        where = ("--host", "localhost", "--tcp-port", str(self.port), "--ca", str(ca))
        return self.terminal("-C", self.root, "cloud", "check", *units, *where, *options)

    def events(self, serial: str) -> list[Event]:
        """The checks of a unit in the ledger."""
        ledger = open_workspace(self.root).ledger
        found = [one.event for one in ledger.history(serial) if one.event.kind is EventKind.CHECK]
        ledger.close()
        return found

    def identities(self) -> list[LedgerIdentity]:
        """The identities of the batch."""
        with open_workspace(self.root).ledger as ledger:
            return list(ledger.identities("lamp-0001"))

    def happened(self, *events: Event) -> None:
        """Record steps."""
        with open_workspace(self.root).ledger as ledger:
            ledger.record("bench", events)


@pytest.fixture
def office(lamp: Path, terminal: Terminal) -> Iterator[Office]:
    """An office whose broker accepts everything."""
    with office_with(lamp, terminal) as one:
        yield one


@contextmanager
def office_with(lamp: Path, terminal: Terminal, **server: object) -> Iterator[Office]:
    """An office whose broker answers as *server* says."""
    broker = OpenBroker(Lab(terminal.folder / "lab"), **server)
    assert broker.lab.folder.ca.exists()
    with listening(broker) as port:
        yield Office(lamp, terminal, broker, port)


def step(name: str, outcome: Outcome, cause: str | None = None, **details: object) -> Event:
    """A step of the first unit."""
    return Event(TS, EventKind.STEP, serial="LMP-000001", step=name, outcome=outcome, cause=cause, details=details)


class TestPassed:
    """Good units on a broker that lets them in."""

    def test_lines_and_records(self, office: Office) -> None:
        """Each unit is one line and one event, with the certificate's id, the broker, and no secret."""
        said = office.check()
        assert said.code == 0, said.err
        assert sorted(said.out.split()) == ["LMP-000001", "LMP-000002", "LMP-000003", *["PASS"] * 3]
        assert "does not enforce: foreign client id (3 units)" in said.err
        assert "lets in clients that it must refuse: no certificate, forged certificate" in said.err
        (event,) = office.events("LMP-000001")
        assert (event.outcome, event.state, event.details["broker"]) == (
            Outcome.PASS, None, f"localhost:{office.port}",
        )  # fmt: skip
        assert len(event.details["certificate"]) == 64
        assert "PRIVATE" not in json.dumps(dict(event.details))
        assert office.terminal("-C", office.root, "ledger", "check").code == 0

    def test_a_check_changes_no_state(self, office: Office) -> None:
        """A unit stays as it is, and a second check is a second event."""
        before = json.loads(office.terminal.well("-C", office.root, "trace", "LMP-000002", "--json"))["identities"]
        for _ in range(2):
            assert office.check(units=("LMP-000002",)).code == 0
        after = json.loads(office.terminal.well("-C", office.root, "trace", "LMP-000002", "--json"))
        assert after["identities"] == before
        assert [one["kind"] for one in after["events"]] == ["check", "check"]

    def test_sample(self, office: Office) -> None:
        """--sample takes units that are evenly spread; a unit that is named twice is checked once."""
        assert office.check("--sample", "2").out.count("PASS") == 2
        assert office.check(units=("lamp-0001", "LMP-000001")).out.count("PASS") == 3

    def test_json_and_junit(self, office: Office, tmp_path: Path) -> None:
        """--json has a line for the broker, each unit and the sum; --junit a case for each attempt and unit."""
        said = office.check("--json", "--junit", str(tmp_path / "report.xml"))
        found = [json.loads(line) for line in said.out.splitlines()]
        assert [one["event"] for one in found] == ["broker", "unit", "unit", "unit", "summary"]
        assert found[-1] == {"event": "summary", "passed": 3, "failed": 0, "errors": 0, "aborted": 0}
        suite = ET.parse(tmp_path / "report.xml").getroot()
        assert (suite.get("tests"), suite.get("failures")) == ("5", "0")

    def test_a_given_certificate(self, office: Office, tmp_path: Path) -> None:
        """--with names a file whose certificate must be refused; here it is not, and the warning names the file."""
        unit = office.server.lab.expired().pair
        path = tmp_path / "old.pem"
        path.write_bytes(unit.certificate + unit.key.reveal())
        path.chmod(0o600)
        assert "old.pem" in office.check("--with", str(path)).err


class TestFailed:
    """What is wrong with units or with the broker."""

    def test_a_unit_fails(self, lamp: Path, terminal: Terminal, tmp_path: Path) -> None:
        """Units that the broker refuses are FAIL with their cause, in the ledger too, and the exit code is 1."""
        with office_with(lamp, terminal, code=5) as office:
            said = office.check("--junit", str(tmp_path / "r.xml"))
            said.refused(1, "3 of 3 units failed", "rmfab trace LMP-00000")
            assert said.out.count("FAIL (cloud-connack: the broker refuses the connection: not authorized)") == 3
            (event,) = office.events("LMP-000003")
        assert (event.outcome, event.cause) == (Outcome.FAIL, "cloud-connack")
        trace = json.loads(terminal.well("-C", lamp, "trace", "LMP-000003", "--json"))
        assert trace["identities"][0]["state"] == "generated"
        assert terminal("-C", lamp, "ledger", "check").code == 0
        assert ET.parse(tmp_path / "r.xml").getroot().get("failures") == "3"

    def test_enforced(self, office: Office) -> None:
        """With enforce = true a broker that lets strangers in is an error of the station, before any unit connects."""
        path = office.root / "product.toml"
        path.write_text(path.read_text().replace("enforce = false", "enforce = true"))
        said = office.check("--json")
        said.refused(4, "no certificate")
        (_, error) = [json.loads(line) for line in said.out.splitlines()]
        assert error["errors"][0]["class"] == "broker-open"
        assert office.events("LMP-000001") == []

    def test_no_broker(self, office: Office) -> None:
        """A broker that is not reachable is exit code 4, and no unit is recorded."""
        office.port = free_port("127.0.0.1")
        office.check().refused(4, "cannot connect")
        assert office.events("LMP-000001") == []


class TestStopped:
    """A run that is given up, or whose broker goes away."""

    def test_given_up(self, office: Office) -> None:
        """What had begun is recorded as ABORTED at once, and what had not begun is not recorded."""
        office.server.silent_for = [one.node_id or "" for one in office.identities()[1:]]
        request = CheckRequest(
            ("lamp-0001",), "localhost", office.port, office.server.lab.folder.ca, jobs=2, timeout=PATIENCE
        )
        workspace = open_workspace(office.root)
        events = check_cloud(workspace, request)
        with closing(events):
            assert isinstance(next(events), BrokerChecked)
            first = next(events)
            until(lambda: len(office.server.waiting) == 2)
        assert isinstance(first, UnitChecked)
        workspace.ledger.close()
        outcomes = [[one.outcome for one in office.events(serial)] for serial in SERIALS]
        assert outcomes == [[Outcome.PASS], [Outcome.ABORTED], [Outcome.ABORTED]]

    def test_interrupted(self, office: Office) -> None:
        """^C ends the command with 130, long before its time limit; no unit that connected is without an event."""
        office.server.silent_for = [one.node_id or "" for one in office.identities()]
        where = ("--host", "localhost", "--tcp-port", str(office.port), "--timeout", "600")
        ca = ("--ca", str(office.server.lab.folder.ca))
        running = subprocess.Popen(
            words("-C", office.root, "cloud", "check", "lamp-0001", *where, *ca), env=environment()
        )
        with running:
            until(lambda: len(office.server.waiting) == 3)
            running.send_signal(signal.SIGINT)
        assert running.returncode == 130
        assert [one.outcome for serial in SERIALS for one in office.events(serial)] == [Outcome.ABORTED] * 3

    @pytest.mark.slow
    def test_the_broker_fails(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        """A broker that stops answering is the station's error: exit 4, the unit is ERROR, its state stays."""
        office.server.silent_for = [one.node_id or "" for one in office.identities()]
        connect = BrokerLink.connect

        def connecting(link: BrokerLink, client_id: str) -> None:
            if client_id in office.server.silent_for:  # only this answer never comes
                link._broker = replace(link._broker, patience=1.0)
            connect(link, client_id)

        monkeypatch.setattr(BrokerLink, "connect", connecting)
        said = office.check("--jobs", "1", "--timeout", str(PATIENCE), "--json")
        said.refused(4, "did not answer")
        found = [json.loads(line) for line in said.out.splitlines()]
        assert [one["event"] for one in found] == ["broker", "unit", "unit", "summary"]
        assert found[1]["class"] == "broker-silent"
        assert [len(office.events(serial)) for serial in SERIALS] == [1, 1, 0]


class TestRefused:
    """Units in whose name this host must not connect."""

    @pytest.mark.parametrize(
        "event",
        [
            step("provision", Outcome.PASS, checks={"session": "PASS", "join": "PASS"}),
            step("provision", Outcome.FAIL, "join-timeout", checks={"session": "PASS"}),
            step("provision", Outcome.ABORTED, "aborted", checks={"session": "PASS"}),
            step("cloud", Outcome.PASS),
        ],
        ids=["joined", "join failed", "aborted", "cloud"],
    )
    def test_a_unit_that_may_be_online(self, office: Office, event: Event) -> None:
        """A unit that joined a network is refused, also in a batch, until it was reset."""
        office.happened(event)
        for unit in ("LMP-000001", "lamp-0001"):
            said = office.check(units=(unit,))
            said.refused(3, "LMP-000001: the unit may be online", "rmfab reset")
        assert office.server.seen == []
        office.happened(step("reset", Outcome.FAIL, "not-reset"))
        assert office.check().code == 3
        office.happened(step("reset", Outcome.PASS))
        assert office.check().code == 0

    @pytest.mark.parametrize(
        "event",
        [
            step("provision", Outcome.PASS, checks={"session": "PASS", "join": "SKIP"}),
            step("provision", Outcome.FAIL, "weak-signal", checks={"session": "PASS"}),
            step("boot", Outcome.ERROR),
        ],
        ids=["no join", "before the join", "boot"],
    )
    def test_a_unit_that_is_not(self, office: Office, event: Event) -> None:
        """A unit that got no network is checked."""
        office.happened(event)
        assert office.check(units=("LMP-000001",)).code == 0

    def test_void(self, office: Office) -> None:
        """A void identity is refused by its serial, and skipped in a batch."""
        office.terminal.well("-C", office.root, "void", "LMP-000002", "--reason", "lost", "--yes")
        office.check(units=("LMP-000002",)).refused(3, "void")
        said = office.check()
        assert (said.code, said.out.count("PASS")) == (0, 2)
        assert "skipped 1 identity" in said.err

    def test_claimed_by_the_cloud(self, fan: Path, terminal: Terminal) -> None:
        """A product whose units get their certificates by claiming has nothing to check."""
        terminal.well("-C", fan, "generate", "--count", "1")
        said = terminal("-C", fan, "cloud", "check", "fan-0001", "--host", "localhost")
        said.refused(3, "no certificate")

    @pytest.mark.parametrize(
        ("options", "code", "text"),
        [
            (("--witness-cert", "w.crt"), 2, "or neither"),
            (("--with", "no.pem"), 3, "no.pem"),
            (("--ca", "no.crt"), 2, "only one value"),
            (("--jobs", "0"), 2, "--jobs"),
        ],
    )
    def test_options(self, office: Office, options: tuple[str, ...], code: int, text: str) -> None:
        """What is missing or does not fit is said before a unit connects."""
        office.check(*options).refused(code, text)
        assert office.events("LMP-000001") == []

    def test_what_is_no_host_and_no_ca(self, office: Office) -> None:
        """A URL as --host, and a file without a CA, are said by their names before anything is sent."""
        command = ("-C", office.root, "cloud", "check", "LMP-000001")
        office.terminal(*command, "--host", "mqtts://localhost").refused(2, '"mqtts://localhost" is not a host name')
        no_ca = office.root / "product.toml"
        office.terminal(*command, "--host", "localhost", "--ca", no_ca).refused(3, f"{no_ca}: not a CA certificate")

    def test_a_witness_needs_paho(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without paho-mqtt a witness is refused, with the command that installs it."""
        monkeypatch.setitem(__import__("sys").modules, "paho.mqtt.client", None)
        folder = office.server.lab.folder
        pair = (str(folder.certificate("witness")), str(folder.key("witness")))
        said = office.check("--witness-cert", pair[0], "--witness-key", pair[1])
        said.refused(4, "paho-mqtt", "pip install '.[cloud]'")


class TestStationToml:
    """The broker of station.toml."""

    def test_defaults(self, office: Office) -> None:
        """Host, port and CA come from [cloud]; an option comes first."""
        table = ["[cloud]", 'host = "localhost"', f"tcp_port = {office.port}", f'ca = "{office.server.lab.folder.ca}"']
        (office.root / "station.toml").write_text("\n".join(table))
        said = office.terminal("-C", office.root, "cloud", "check", "LMP-000001")
        assert (said.code, said.out.split()) == (0, ["LMP-000001", "PASS"]), said.err
        office.terminal("-C", office.root, "cloud", "check", "LMP-000001", "--tcp-port", "1").refused(4, "localhost:1:")

    def test_another_host(self, office: Office) -> None:
        """A host that is named may be a different broker: nothing of [cloud] is used with it."""
        (office.root / "station.toml").write_text(
            '[cloud]\nca = "no-such.crt"\nwitness_cert = "a"\nwitness_key = "b"\n'
        )
        assert office.check(units=("LMP-000001",)).code == 0
        office.terminal("-C", office.root, "cloud", "check", "LMP-000001").refused(3, "no-such.crt")


class TestServe:
    """`rmfab cloud serve`, without the program."""

    @pytest.mark.parametrize("name", ["küche.lan", "a b", ""])
    def test_a_name_that_does_not_fit(self, lamp: Path, terminal: Terminal, name: str) -> None:
        """A name that a certificate cannot contain is a usage error."""
        terminal("-C", lamp, "cloud", "serve", "--broker", "--name", name).refused(2, "not a host name")

    def test_not_installed(self, lamp: Path, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without mosquitto the error has the command that installs it."""
        monkeypatch.setattr("shutil.which", lambda *_, **__: None)
        terminal("-C", lamp, "cloud", "serve", "--broker").refused(4, "not installed", "apt install mosquitto")
        assert not (lamp / "broker").exists()


@contextmanager
def served(lamp: Path) -> Iterator[tuple[str, ...]]:
    """Serve a broker; yield the options with which it is checked, the last four those of its witness."""
    serving = subprocess.Popen(
        words("-C", lamp, "cloud", "serve", "--broker", "--tcp-port", "0", "--json"),
        stdout=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    with serving:
        assert serving.stdout is not None
        told = json.loads(serving.stdout.readline())
        host, _, port = told["url"].removeprefix("mqtts://").partition(":")
        witness = ("--witness-cert", told["witness_cert"], "--witness-key", told["witness_key"])
        yield ("--host", host, "--tcp-port", port, "--ca", told["ca"], *witness)
        serving.send_signal(signal.SIGTERM)
    assert serving.returncode == 0


@pytest.mark.peers
@pytest.mark.parametrize("witnessed", [True, False])
def test_a_broker_that_does_not_refuse_units(lamp: Path, terminal: Terminal, witnessed: bool) -> None:
    """With enforce = true it is the broker's error, and no unit's fault: mosquitto does not compare client ids. All
    units are checked, since policies may differ."""
    path = lamp / "product.toml"
    path.write_text(path.read_text().replace("enforce = false", "enforce = true"))
    with served(lamp) as place:
        said = terminal("-C", lamp, "cloud", "check", "lamp-0001", *(place if witnessed else place[:-4]))
    said.refused(4, "this broker does not refuse a unit: foreign client id", "enforce = false")
    assert said.out.count("ERROR (broker-open: this broker does not refuse a unit: foreign client id)") == 3
    assert "3 errors" in said.err
    assert "cloud-open" not in said.out + said.err
    with open_workspace(lamp).ledger as ledger:
        events = [one.event for serial in SERIALS for one in ledger.history(serial)]
    assert {(one.outcome, one.cause) for one in events if one.kind is EventKind.CHECK} == {
        (Outcome.ERROR, "broker-open")
    }


@pytest.mark.peers
def test_serve_and_check(lamp: Path, terminal: Terminal) -> None:
    """A newcomer's way: serve a broker, check the batch on it with its witness, stop it; keys are 0600."""
    with served(lamp) as place:
        said = terminal("-C", lamp, "cloud", "check", "lamp-0001", *place, "--json")
    found = [json.loads(line) for line in said.out.splitlines()]
    endings = {one["trial"]: one["ending"] for one in found[1]["attempts"]}
    assert (said.code, endings["publish"], endings["foreign publish"]) == (0, "passed", "not delivered")
    assert {path.stat().st_mode & 0o077 for path in (lamp / "broker").glob("*.key")} == {0}
    assert (lamp / "broker").stat().st_mode & 0o077 == 0


@pytest.mark.peers
def test_a_killed_command_leaves_no_broker(lamp: Path) -> None:
    """If `cloud serve` is killed, its broker ends too: a second one would find the port in use."""
    command = words("-C", lamp, "cloud", "serve", "--broker", "--tcp-port", "0", "--json")
    serving = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    with serving:
        assert serving.stdout is not None
        port = int(json.loads(serving.stdout.readline())["url"].rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
        serving.kill()

    def gone() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), PATIENCE).close()
        except ConnectionError:
            return True
        return False

    until(gone, "the broker still listens")
