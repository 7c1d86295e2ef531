"""The step `provision` on virtual boards: what passes, the cause of each fault, whose it is, and what is recorded."""

from __future__ import annotations

import io
import json
import socket
import threading

import pytest

from rmfab.nvs.reader import read_image
from rmfab.product.vocabulary import Chip, Credentials, QrForm, Security
from rmfab.provisioning.http import HttpTransport
from rmfab.virtual.network import FACTORY_NETWORK, AccessPoint
from rmfab.virtual.spec import BoardSpec
from tests.line.floor import FCTRY, NVS, UNITS, copied, found, interrupting, serve, spec
from tests.patience import PATIENCE

pytestmark = pytest.mark.slow

PASSED = {"session": "PASS", "key": "PASS", "wrong-pop": "PASS"}
SCAN = (('scan_ssid = ""', f'scan_ssid = "{FACTORY_NETWORK.ssid}"'),)
JOIN = (("join = false", "join = true"),)


def checks(said):
    """Return the results of the step's checks."""
    return said.step("provision")["measurements"]["checks"]


def held_network(flash):
    """Return the Wi-Fi credentials in a flash's `nvs`, empty if it holds none."""
    entries = read_image(flash[NVS : NVS + 0x6000]).entries
    told = [e.value for e in entries if e.key in ("sta.ssid", "sta.pswd") and isinstance(e.value, bytes)]
    return [value for value in told if value.strip(b"\0\xff")]


def give_network(factory, ssid=FACTORY_NETWORK.ssid, passphrase=FACTORY_NETWORK.password, mode=0o600):
    """Write a file with the factory network, named in station.toml."""
    path = factory.root / "factory-wifi.toml"
    path.write_text(f'ssid = "{ssid}"\npassphrase = "{passphrase}"\n')
    path.chmod(mode)
    (factory.root / "station.toml").write_text('[provisioning]\nnetwork = "factory-wifi.toml"\n')


def written(factory, said):
    """Return everything that a run wrote, except what carries secrets by design."""
    paths = [*(factory.root / "logs").iterdir(), *factory.root.glob("ledger.db*")]
    return [path.read_bytes() for path in paths] + [json.dumps(said.events).encode(), said.words.encode()]


class TestHappy:
    """A good unit passes with any security and any form of its code."""

    @pytest.mark.parametrize("security", Security)
    def test_security(self, tmp_path, security):
        """Session, key and a rejected wrong PoP pass with security 2 and 1; security 0 has no PoP to reject."""
        edits = (("security = 2", f"security = {security.value}"),)
        factory = found(tmp_path / "ws", units=1, edits=edits, security=security)
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
        assert said.code == 0, said.unit["reason"]
        expected = {"session": "PASS", "key": "PASS"} if security is Security.PLAIN else PASSED
        assert checks(said) == expected
        assert said.step("provision")["measurements"]["handshake"] >= 0
        assert list(factory.states().values()) == ["verified"]

    def test_compact_code(self, tmp_path):
        """A compact code contains no user name; the unit passes with the product's."""
        edits = (('qr = "json"', 'qr = "compact"'),)
        factory = found(tmp_path / "ws", units=1, edits=edits, qr=QrForm.COMPACT)
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
        assert (said.code, checks(said)) == (0, PASSED), said.unit["reason"]

    def test_claiming(self, tmp_path):
        """A unit of credentials = "claim" must offer assisted claiming; key and certificate are not checked yet."""
        factory = found(tmp_path / "ws", units=1, credentials=Credentials.CLOUD_CLAIM)
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
        assert said.code == 0, said.unit["reason"]
        assert checks(said) == PASSED | {"key": "SKIP"}

    def test_claiming_that_is_not_offered(self, tmp_path):
        """Firmware without assisted claiming fails a product with credentials = "claim"."""
        factory = found(tmp_path / "ws", units=1, credentials=Credentials.CLOUD_CLAIM, claim=False)
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
        assert said.verdict[0] == "FAIL"

    def test_switched_off(self, factory):
        """[verify] provision = false skips the step; the unit still becomes verified."""
        factory.edit("provision = true", "provision = false")
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
        assert (said.code, said.steps()["provision"]) == (0, "SKIP")
        assert list(factory.states().values()) == ["verified"]

    @pytest.mark.parametrize("chip", [Chip.ESP32, Chip.ESP32S3, Chip.ESP32C6])
    def test_leaves_no_trace(self, tmp_path, chip):
        """On every chip `fctry` is byte-identical before and after the whole line, and `nvs` holds no network."""
        edits = (*JOIN, *SCAN)
        factory = found(tmp_path / "ws", chip, units=1, edits=edits)
        give_network(factory)
        one = spec(chip, flash_file=tmp_path / "flash.bin")
        with serve([one]) as (board,):
            factory.run(board.url, command="flash")
        before = one.flash_file.read_bytes()
        with serve([one]) as (board,):
            said = factory.run(board.url)
        after = one.flash_file.read_bytes()
        assert said.code == 0, said.unit["reason"]
        assert checks(said) == PASSED | {"scan": "PASS", "join": "PASS"}
        assert after[FCTRY : FCTRY + 0x6000] == before[FCTRY : FCTRY + 0x6000]
        assert held_network(after) == []

    def test_side_by_side(self, factory):
        """Four units pass in parallel, each with its own address and PoP."""
        factory.edit("wrong_pop_every = 50", "wrong_pop_every = 1")
        with serve([spec(index=n) for n in range(4)]) as boards:
            said = factory.run(*(board.url for board in boards))
        assert said.summary["passed"] == 4
        assert [e["measurements"]["checks"] for e in said.events if e.get("step") == "provision"] == [PASSED] * 4


class TestWrongPop:
    """A wrong PoP is tried on the first unit of a batch and every N-th, and leaves no trace."""

    @pytest.mark.parametrize(("every", "tried"), [(1, [0, 1, 2]), (2, [0, 2]), (50, [0]), (0, [])])
    def test_which_units(self, factory, every, tried):
        """wrong_pop_every counts positions in the batch; 0 turns it off."""
        factory.edit("wrong_pop_every = 50", f"wrong_pop_every = {every}")
        with serve([spec(index=n) for n in range(3)]) as boards:
            said = factory.run(*(board.url for board in boards))
        done = {e["serial"]: e["measurements"]["checks"] for e in said.events if e.get("step") == "provision"}
        assert said.code == 0
        assert [n for n in range(3) if "wrong-pop" in done[f"LMP-{n + 1:06d}"]] == tried

    def test_restarted_after_it(self, factory):
        """The unit is restarted after it rejected the PoP and offers provisioning again, any number of times."""
        factory.edit("wrong_pop_every = 50", "wrong_pop_every = 1")
        with serve([spec()]) as (board,):
            factory.run(board.url, command="flash")
            for _ in range(6):  # five wrong PoPs without a restart would have locked it
                said = factory.run(board.url, command="verify")
                assert (said.code, checks(said)) == (0, PASSED)
            assert board.state()["serving"]

    def test_accepted(self, factory, monkeypatch):
        """A unit that accepts a wrong PoP fails with that cause."""
        monkeypatch.setattr("rmfab.provisioning.check.another_pop", lambda pop, _: pop)
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
        assert (said.code, said.verdict) == (1, ("FAIL", "wrong-pop-accepted"))


class TestFaults:
    """Each fault has its own cause; tests/line/test_faults.py has the table of all, with the console's checks on."""

    def test_without_the_console(self, tmp_path):
        """Without the console's checks, the protocol reveals bad keys, bad verifiers and plain sessions."""
        causes = {
            "wrong-key": "key-mismatch",
            "wrong-verifier": "wrong-pop-in-unit",
            "plain-security": "sec0-offered",
        }
        edits = (('console = "auto"', 'console = "log"'), ('qr = "json"', 'qr = "compact"'))
        factory = found(tmp_path / "ws", units=len(causes), edits=edits, qr=QrForm.COMPACT)
        with serve([spec(index=n, faults=(fault,)) for n, fault in enumerate(causes)]) as boards:
            said = factory.run(*(board.url for board in boards))
        told = {unit["slot"]: (unit["outcome"], unit["class"]) for unit in said.units}
        assert [told[board.url] for board in boards] == [("FAIL", cause) for cause in causes.values()], said.units
        assert said.code == 1
        assert list(factory.states().values()) == ["failed"] * len(causes)

    def test_another_security(self, tmp_path):
        """Firmware of security 1 for a product of security 2 is reported if the compact code does not show it."""
        edits = (('qr = "json"', 'qr = "compact"'),)
        factory = found(tmp_path / "ws", units=1, edits=edits, qr=QrForm.COMPACT, security=Security.X25519)
        factory.forget_configuration()
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
        assert said.verdict == ("FAIL", "security-mismatch")
        assert "security 1" in said.unit["reason"]

    def test_no_challenges(self, tmp_path):
        """A unit without the challenge-response of its firmware fails if the ledger has a certificate."""
        factory = found(tmp_path / "ws", units=1, ch_resp=False)
        factory.configure(ESP_RMAKER_ENABLE_CHALLENGE_RESPONSE=True)
        with serve([spec()]) as (board,):
            said = factory.run(board.url)
        assert said.verdict == ("FAIL", "no-challenge-response")
        assert said.step("provision")["measurements"]["checks"] == {"session": "PASS"}

    def test_unreachable(self, factory):
        """A unit that cannot be reached is a station error, and the other unit passes."""
        with serve([spec(), spec(index=1)]) as (lost, good), socket.socket() as held:
            held.bind(("127.0.0.1", 0))  # and does not listen: reserves the port number
            UNITS[lost.url] = f"http://127.0.0.1:{held.getsockname()[1]}"
            said = factory.run(lost.url, good.url)
        verdicts = {unit["slot"]: (unit["outcome"], unit["class"]) for unit in said.units}
        assert verdicts == {lost.url: ("ERROR", "unreachable"), good.url: ("PASS", None)}
        assert said.code == 4
        assert sorted(factory.states().values()) == ["flashed", "verified"]

    def test_interrupted(self, factory, monkeypatch):
        """Ctrl-C while a unit does not answer aborts it at once, however long its answer may take."""
        factory.edit("answer_timeout = 60.0", "answer_timeout = 120.0")
        factory.edit("provision_timeout = 45.0", "provision_timeout = 600.0")
        asked, request = threading.Event(), HttpTransport._request

        def told(transport, endpoint, data):
            if endpoint == "prov-session":
                asked.set()
            return request(transport, endpoint, data)

        monkeypatch.setattr(HttpTransport, "_request", told)
        with serve([spec(faults=("stalled-session",))]) as (board,), interrupting(lambda: asked.wait(PATIENCE)):
            said = factory.run(board.url)
        assert asked.is_set()
        assert said.code == 130
        assert (said.verdict, said.step("provision")["outcome"]) == (("ABORTED", "aborted"), "ABORTED")
        assert said.step("provision")["seconds"] < 120
        assert list(factory.states().values()) == ["flashed"]

    @pytest.mark.parametrize(
        ("fault", "cause", "limit"),
        [
            ("just-in-time=1", "provision-timeout", ("provision_timeout = 45.0", "provision_timeout = 3.0")),
            ("just-in-time", "stalled", ("answer_timeout = 60.0", "answer_timeout = 2.0")),
        ],
    )
    def test_just_in_time(self, factory, fault, cause, limit):
        """A unit that answers each request just in time has one deadline for all of them."""
        factory.edit(*limit)
        with serve([spec(faults=(fault,))]) as (board,):
            said = factory.run(board.url)
        assert said.verdict == ("FAIL", cause)
        assert list(factory.states().values()) == ["failed"]


class TestScan:
    """The unit's Wi-Fi scan as an antenna test."""

    @pytest.mark.parametrize(
        ("outcomes", "code"), [({-60: "PASS", -70: "PASS", -71: "MARGINAL"}, 0), ({-81: "FAIL"}, 1)]
    )
    def test_limits(self, tmp_path, founded, outcomes, code):
        """The RSSI is recorded with its limits, even if it fails; MARGINAL passes the unit."""
        factory = copied(founded, tmp_path / "ws")
        factory.edit(*SCAN[0])
        around = [(AccessPoint(FACTORY_NETWORK.ssid, rssi), AccessPoint("Canteen", -40)) for rssi in outcomes]
        with serve([spec(index=n, networks=networks) for n, networks in enumerate(around)]) as boards:
            said = factory.run(*(board.url for board in boards))
        steps = {event["slot"]: event for event in said.events if event.get("step") == "provision"}
        for board, (rssi, outcome) in zip(boards, outcomes.items(), strict=True):
            step = steps[board.url]
            assert step["outcome"] == outcome, step["reason"]
            assert step["class"] == (None if outcome == "PASS" else "weak-signal")
            assert (step["measurements"]["rssi"], step["measurements"]["rssi_limits"]) == (rssi, [-80, -70])
        assert said.code == code
        assert [unit["outcome"] for unit in said.units] == ["FAIL" if code else "PASS"] * len(outcomes)
        assert list(factory.states().values()) == ["failed" if code else "verified"] * len(outcomes)

    def test_not_heard(self, factory):
        """A unit that does not receive the network fails, with the limits recorded."""
        factory.edit(*SCAN[0])
        with serve([spec(networks=(AccessPoint("Canteen", -40),))]) as (board,):
            said = factory.run(board.url)
        assert said.verdict == ("FAIL", "not-heard")
        assert said.step("provision")["measurements"]["rssi_limits"] == [-80, -70]

    def test_impossible_rssi(self, factory):
        """A network at +127 dBm is no measurement: the unit fails by a name of its own."""
        factory.edit(*SCAN[0])
        with serve([spec(faults=("impossible-rssi",))]) as (board,):
            said = factory.run(board.url)
        assert said.verdict == ("FAIL", "implausible-value")
        assert "127 dBm" in said.unit["reason"]


class TestJoin:
    """Sending the factory network, and removing it again."""

    @pytest.fixture
    def joining(self, founded, tmp_path):
        """A factory with units that join, and its network file."""
        factory = copied(founded, tmp_path / "ws")
        for edit in JOIN:
            factory.edit(*edit)
        give_network(factory)
        return factory

    def run(self, factory, tmp_path, command="run", **fields):
        """Return the output, the flash after it, and all that the run wrote."""
        one = spec(flash_file=tmp_path / "flash.bin", **fields)
        with serve([one]) as (board,):
            if command == "verify":
                assert factory.run(board.url, command="flash").code == 0
            said = factory.run(board.url, command=command)
        return said, one.flash_file.read_bytes()

    @pytest.mark.parametrize("command", ["run", "verify"])
    def test_joins(self, joining, tmp_path, command):
        """The unit gets its address and reaches MQTT; afterwards it is reset, and no file contains the passphrase."""
        joining.edit('cloud = "off"', 'cloud = "console"')
        said, flash = self.run(joining, tmp_path, command)
        assert said.code == 0, said.unit["reason"]
        assert checks(said)["join"] == "PASS"
        assert [said.steps()[step] for step in ("cloud", "reset")] == ["PASS", "PASS"]
        measured = said.step("cloud")["measurements"]
        assert (measured["checks"], measured["limit"]) == ({"mqtt": "PASS"}, 60.0)
        assert 0 <= measured["connected"] <= PATIENCE
        assert held_network(flash) == []
        serial = said.unit["serial"]
        secrets = [FACTORY_NETWORK.password, joining.identity(serial).pop.reveal()]
        for hay in written(joining, said):
            for secret in secrets:
                assert secret.encode() not in hay
        logs = b"".join(path.read_bytes() for path in (joining.root / "logs").iterdir())
        assert b"Password : <redacted>" in logs, "the firmware has printed it"
        assert b"MQTT Connected" in logs

    def test_without_a_log(self, tmp_path):
        """Without a log MQTT is not proven by the console, and is skipped; the unit joins and is reset."""
        edits = (*JOIN, ('cloud = "off"', 'cloud = "console"'))
        factory = found(tmp_path / "ws", units=1, edits=edits, log_level=0)
        give_network(factory)
        said, flash = self.run(factory, tmp_path)
        assert said.code == 0, said.unit["reason"]
        assert (checks(said)["join"], said.step("cloud")["outcome"]) == ("PASS", "SKIP")
        assert said.step("cloud")["measurements"]["checks"] == {"mqtt": "SKIP"}
        assert held_network(flash) == []

    @pytest.mark.parametrize(
        ("ssid", "passphrase", "why"),
        [(FACTORY_NETWORK.ssid, "not-the-right-one", "authentication"), ("nowhere", "factory-floor", "not found")],
    )
    def test_cannot_join(self, joining, tmp_path, ssid, passphrase, why):
        """A rejected or unknown network fails the unit with the reason, and is still removed from the unit."""
        give_network(joining, ssid, passphrase)
        said, flash = self.run(joining, tmp_path)
        assert said.verdict == ("FAIL", "join-failed")
        assert why in said.unit["reason"]
        assert held_network(flash) == []
        assert all(passphrase.encode() not in hay for hay in written(joining, said))

    def test_lies_connected(self, joining, tmp_path):
        """A unit that only says that it is connected fails, and the network is taken back from it."""
        said, flash = self.run(joining, tmp_path, faults=("lies-connected",))
        assert said.verdict == ("FAIL", "join-unproven")
        assert held_network(flash) == []

    def test_no_network_file(self, joining):
        """Without a file and a terminal, or with a file that is missing or not private, no board is touched."""
        (joining.root / "station.toml").unlink()
        for spoil in (lambda: None, lambda: give_network(joining, mode=0o644), lambda: give_network(joining, "x" * 33)):
            spoil()
            with serve([spec()]) as (board,):
                said = joining.run(board.url)
                assert board.state()["commands"] == 0
            assert said.refusal[0] == 3

    def test_asked_for_on_the_terminal(self, joining, tmp_path, monkeypatch):
        """Without a file the terminal prompts for the network once per run, and does not show its passphrase."""
        (joining.root / "station.toml").unlink()
        asked = []

        def prompt(text, **options):
            asked.append((text, options.get("hide_input", False)))
            return FACTORY_NETWORK.password if options.get("hide_input") else FACTORY_NETWORK.ssid

        monkeypatch.setattr("click.prompt", prompt)
        monkeypatch.setattr("sys.stdin", type("Terminal", (io.StringIO,), {"isatty": lambda _: True})())
        said, _ = self.run(joining, tmp_path)
        assert said.code == 0, said.unit["reason"]
        assert [hidden for _, hidden in asked] == [False, True]
        assert all(FACTORY_NETWORK.password.encode() not in hay for hay in written(joining, said))

    def test_stopped_before_the_reset(self, joining, tmp_path, monkeypatch):
        """If the unit cannot be reset after it was given the network, the line warns."""
        one = BoardSpec(Chip.ESP32C3, flash_file=tmp_path / "flash.bin")
        give_network(joining, passphrase="not-the-right-one")
        monkeypatch.setattr("rmfab.line.steps.reset.reset", _refuse)
        with serve([one]) as (board,):
            said = joining.run(board.url)
        assert said.verdict == ("FAIL", "join-failed")
        assert any("still holds the factory network" in word for word in said.logs)


def _refuse(*_):
    from rmfab.errors import PortError

    raise PortError("gone", cause="port-gone")
