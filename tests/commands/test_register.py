"""`rmfab register` and `rmfab cloud serve`: what they print, exit codes, JSON, secrets, and the whole rehearsal."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rmfab.virtual.cloud.faults import CloudFault, CloudFaultCall
from rmfab.virtual.cloud.neo import VirtualNeo
from rmfab.virtual.cloud.rainmaker import VirtualRainmaker
from rmfab.virtual.cloud.store import CloudNode
from rmfab.workspace.workspace import now, open_workspace
from tests.cloud.lab import Lab
from tests.registration.clouds import Clock, Site, site
from tests.terminal import Said, Terminal, environment, files, words


@dataclass
class Office:
    """A workspace with a batch of three, and a cloud that registers it."""

    root: Path
    terminal: Terminal
    place: Site

    def register(self, *options: str, units: tuple[str, ...] = ("lamp-0001",)) -> Said:
        """Run `rmfab register`."""
        where = ("--deployment", self.place.deployment, "--password-file", self.place.folder / "password")
        return self.terminal("-C", self.root, "register", *units, *where, *options)


@pytest.fixture(params=[VirtualRainmaker, VirtualNeo])
def office(request: pytest.FixtureRequest, lamp: Path, terminal: Terminal) -> Iterator[Office]:
    """An office with each kind of cloud, whose jobs end at the first look."""
    cloud = request.param(now, looks=1)
    with site(terminal.folder / "site", cloud, Clock(), Lab(terminal.folder / "lab")) as place:
        yield Office(lamp, terminal, place)


class TestRegister:
    """What the command prints."""

    def test_a_good_run(self, office: Office) -> None:
        """A run prints how many units are registered, and where; a second one, that they were before."""
        said = office.register()
        assert (said.code, said.out) == (0, ""), said.err
        assert said.err == f"rmfab: 3 registered in {office.place.cloud.api}\n"
        assert "0 registered, 3 registered before" in office.register().err

    def test_json(self, office: Office) -> None:
        """--json prints a line for each unit, and the summary."""
        found = [json.loads(line) for line in office.register("--json").out.splitlines()]
        assert [one["event"] for one in found] == ["unit"] * 3 + ["summary"]
        assert {one["outcome"] for one in found[:3]} == {"PASS"}
        assert found[-1] == {
            "event": "summary", "cloud": office.place.cloud.api, "registered": 3, "before": 0, "failed": 0,
            "left_out": {},
        }  # fmt: skip

    def test_check_and_trace(self, office: Office) -> None:
        """--check prints a line for each unit; `trace` then shows since when it is registered, and connected."""
        office.register()
        first = next(iter(office.place.cloud.store.nodes))
        office.place.cloud.store.connect(first, now())
        said = office.register("--check")
        assert said.code == 0, said.err
        assert said.out.count("  registered  never connected\n") == 2
        assert said.out.count("  registered  connected 20") == 1
        assert "3 registered, 0 missing, 1 connected" in said.err
        serial = next(line.split()[0] for line in said.out.splitlines() if "never" not in line)
        told = office.terminal.well("-C", office.root, "trace", serial)
        assert f"Z in {office.place.cloud.api}\n" in told
        assert "  connected     first 20" in told
        (clouds,) = [
            one["clouds"]
            for one in json.loads(office.terminal.well("-C", office.root, "trace", serial, "--json"))["identities"]
        ]
        assert [sorted(one) for one in clouds] == [["cloud", "connected", "registered"]]

    def test_units_that_fail(self, office: Office) -> None:
        """A unit that is refused, or missing, is a line on stdout, and the exit code is 1; the ledger stays sound."""
        said = office.register("--check", "--json")
        assert said.code == 1
        found = [json.loads(line) for line in said.out.splitlines()]
        assert [one.get("class") for one in found] == ["not-registered"] * 3 + [None]
        office.register("--check").refused(1, "does not have 3 of 3 units", "rmfab register")
        if isinstance(office.place.cloud, VirtualNeo):
            node_id = next(iter(open_workspace(office.root).ledger.identities("lamp-0001"))).node_id
            office.place.cloud.store.nodes[str(node_id)] = CloudNode(str(node_id), now(), ["0" * 64])
            said = office.register()
            said.refused(1, "1 of 3 units could not be registered")
            assert said.out.startswith("LMP-000001  FAIL (node-taken: the cloud has this node id already")
        assert office.terminal("-C", office.root, "ledger", "check").code == 0

    def test_an_error_after_lines(self, office: Office) -> None:
        """With --json an error after the first unit is a line, too."""
        office.register()
        done = len(office.place.server.calls)
        office.place.server.faults = [CloudFaultCall(CloudFault.REDIRECT, done + 1)]
        (error,) = [json.loads(line) for line in office.register("--check", "--json").out.splitlines()]
        assert error["errors"][0]["class"] == "api-redirect"

    @pytest.mark.parametrize(
        ("options", "code", "told"),
        [
            (("--check", "--again"), 2, "do not apply"),
            (("--check", "--wait", "5"), 2, "do not apply"),
            (("--wait", "0"), 2, "--wait"),
            (("--ca", "no.crt"), 3, "no.crt"),
            (("--ca", __file__), 3, f"{__file__}: not a CA certificate"),
            (("--user", "me@example.com"), 3, "refuses the sign-in of me@example.com"),
        ],
    )
    def test_options(self, office: Office, options: tuple[str, ...], code: int, told: str) -> None:
        """Options that do not fit, and files that are missing, are said before anything is registered."""
        office.register(*options).refused(code, told)
        assert office.place.cloud.store.nodes == {}

    def test_another_ca(self, office: Office) -> None:
        """A server that the CA did not sign gets no password."""
        office.register("--ca", str(office.root / "ca" / "ca.crt")).refused(4, "not trusted", "--ca")
        assert office.place.server.calls == []

    def test_units(self, office: Office, fan: Path) -> None:
        """An unknown batch, and a product whose units get their certificates by claiming, are bad input."""
        office.register(units=("no",)).refused(3, "neither a batch nor a serial")
        office.terminal.well("-C", fan, "generate", "--count", "1")
        office.root = fan
        office.register(units=("fan-0001",)).refused(3, "no certificate")

    def test_no_secret_is_kept_or_shown(self, office: Office, caplog: pytest.LogCaptureFixture) -> None:
        """Password, tokens and keys are in no output, no log, and no file but that of the tokens."""
        office.place.server.faults = [CloudFaultCall(CloudFault.REDIRECT, 5)]
        broken, said = office.register("--json"), office.register("--json")
        assert (broken.code, said.code) == (4, 0), said.err
        tokens = list(office.root.rglob("*.tokens"))
        secrets = {*json.loads(tokens[0].read_text()).values(), office.place.cloud.sign_ins.password}
        if isinstance(office.place.cloud, VirtualNeo):
            secrets |= {text for key in office.place.cloud.keys.values() for text in (key.secret, key.session)}
        shown = broken.out + broken.err + said.out + said.err + caplog.text
        kept = {name: data for name, data in files(office.root).items() if not name.endswith(".tokens")}
        for secret in secrets:
            assert secret not in shown
            assert [name for name, data in kept.items() if secret.encode() in data] == []


class TestServe:
    """`rmfab cloud serve`."""

    @pytest.mark.parametrize(
        ("options", "code", "told"),
        [
            (("--broker", "--kind", "neo"), 2, "not for the broker"),
            (("--broker", "--fault", "busy"), 2, "not for the broker"),
            (("--crl", "x.pem"), 2, "add --broker"),
            (("--fault", "nonsense"), 2, "is not a fault of a cloud"),
            (("--name", "a b"), 2, "not a host name"),
            (("--bind", "a b"), 2, "not a host name"),
            (("--broker", "--bind", "a" * 300), 2, "not a host name"),
        ],
    )
    def test_options(self, lamp: Path, terminal: Terminal, options: tuple[str, ...], code: int, told: str) -> None:
        """What does not fit is said before anything is served or written."""
        terminal("-C", lamp, "cloud", "serve", *options).refused(code, told)
        assert not (lamp / "cloud").exists()

    @pytest.mark.slow
    def test_a_rehearsal(self, lamp: Path, terminal: Terminal) -> None:
        """A newcomer's way: serve a cloud with a fault, register the batch in it, check it, stop it; keys are 0600."""
        argv = ("-C", lamp, "cloud", "serve", "--kind", "neo", "--fault", "lost-answer@5", "--tcp-port", "0", "--json")
        serving = subprocess.Popen(words(*argv), stdout=subprocess.PIPE, text=True, env=environment())
        with serving:
            assert serving.stdout is not None
            told = json.loads(serving.stdout.readline())
            way = ("--deployment", told["deployment"], "--password-file", told["password_file"])
            registered = terminal("-C", lamp, "register", "lamp-0001", *way)
            checked = terminal("-C", lamp, "register", "lamp-0001", *way, "--check")
            serving.send_signal(signal.SIGTERM)
        assert serving.returncode == 0
        assert registered.err.endswith(f"3 registered in {told['url']}\n"), registered.err
        assert "trying again in 1 s" in registered.err
        assert checked.out.count("registered  never connected") == 3
        assert {(lamp / "cloud" / name).stat().st_mode & 0o077 for name in ("password", "server.key")} == {0}
        assert (lamp / "cloud").stat().st_mode & 0o077 == 0
