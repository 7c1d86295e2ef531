"""The check of a unit on real mosquitto, with the configuration of `rmfab cloud serve --broker` and with wrong ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rmfab.cloud.attempt import BrokerAttempt
from rmfab.cloud.broker import Broker
from rmfab.cloud.broker_files import BrokerFolder
from rmfab.cloud.broker_link import BrokerLink
from rmfab.cloud.check_unit import Gate, check_broker, check_unit, probe
from rmfab.cloud.credentials import ClientPair, CloudUnit
from rmfab.cloud.mosquitto import Mosquitto, find_mosquitto
from rmfab.cloud.mqtt import Publish
from rmfab.cloud.witness import watching
from rmfab.errors import StationError
from rmfab.listening import free_port
from rmfab.product.vocabulary import KeyKind
from tests.cloud.hurry import Hurry, hurry_once_published
from tests.cloud.lab import NOW, Lab

pytestmark = pytest.mark.peers

TLS = {"TLS 1.2": {}, "TLS 1.3 only": {"tls_version": "tls_version tlsv1.3"}}
GOOD = {
    "no certificate": "refused",
    "forged certificate": "refused",
    "connect": "passed",
    "subscribe": "passed",
    "publish": "passed",
    "foreign subscribe": "not delivered",
    "foreign publish": "not delivered",
    "foreign client id": "not enforced",
}
"""What mosquitto with access rules by common name does. It does not compare the client id with the name."""


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab."""
    return Lab(tmp_path)


@dataclass
class Bench:
    """A broker that runs."""

    lab: Lab
    broker: Broker

    def watch(self, pair: ClientPair) -> None:
        """Be a witness with *pair* for a moment."""
        with watching(self.broker, pair, lambda: None):
            pass

    def check(self, *units: CloudUnit, given: Mapping[str, CloudUnit] = {}) -> list[BrokerAttempt]:
        """Return all attempts with *units* and with the certificates *given*, with a witness."""
        broker, first = probe(self.broker)
        self.broker = broker
        with watching(broker, self.lab.witness, lambda: None) as witness:
            gate = Gate(broker, witness)
            pairs = {name: unit.pair for name, unit in given.items()}
            found = [first, *check_broker(gate, units[0].node_id, NOW, pairs)]
            return found + [one for unit in units for one in check_unit(gate, unit, NOW)]


@contextmanager
def running(
    lab: Lab,
    settings: Mapping[str, str] = {},
    acl: str | None = None,
    crl: bytes | None = None,
) -> Iterator[Bench]:
    """Yield a broker with the files of *lab*; *settings* replaces the lines that start with these words."""
    port, folder = free_port("127.0.0.1"), lab.folder
    lab.write(folder, port, crl)
    lines = [line for line in folder.config.read_text().splitlines() if line.split()[0] not in settings]
    folder.config.write_text("\n".join((*lines, *settings.values(), "")))
    if acl is not None:
        (folder.root / "acl").write_text(acl)
    with Mosquitto(find_mosquitto(), folder, lab.settings(port, crl)):
        yield Bench(lab, lab.broker(port))


def endings(found: list[BrokerAttempt]) -> dict[str, str]:
    """Return how each attempt ended, by name."""
    return {one.name: one.ending.value for one in found}


def failure(found: list[BrokerAttempt]) -> tuple[str, str | None]:
    """Return name and cause of the attempt that failed, which is the last one."""
    assert [one.ending.value for one in found].count("failed") == 1
    return found[-1].name, found[-1].cause


class TestGood:
    """A good unit on a good broker."""

    @pytest.mark.parametrize("settings", TLS.values(), ids=TLS)
    def test_what_is_proven(self, lab: Lab, settings: Mapping[str, str]) -> None:
        """All that must work works, and all that mosquitto refuses is seen as refused, with either TLS."""
        with running(lab, settings) as bench:
            found = endings(bench.check(lab.unit()))
            assert bench.broker.tls13 == bool(settings)
        turned_away = ("no certificate", "forged certificate")
        assert all(found.pop(name) in ("refused", "closed") for name in turned_away)
        assert found == {name: ending for name, ending in GOOD.items() if name not in turned_away}

    @pytest.mark.parametrize("kind", KeyKind)
    def test_keys(self, lab: Lab, kind: KeyKind) -> None:
        """Units with each kind of key pass."""
        with running(lab) as bench:
            assert endings(bench.check(lab.unit(kind=kind))) == GOOD

    def test_without_a_witness(self, lab: Lab) -> None:
        """Without a witness a unit only connects."""
        with running(lab) as bench:
            broker, _ = probe(bench.broker)
            found = endings(list(check_unit(Gate(broker), lab.unit(), NOW)))
        assert found == {"connect": "passed", "foreign client id": "not enforced"}

    def test_many_at_once(self, lab: Lab) -> None:
        """Many units in several threads share one witness, and none sees what is another's."""
        units = [lab.unit(f"node-{number}") for number in range(24)]
        own = {name: ending for name, ending in GOOD.items() if "certificate" not in name}
        with running(lab) as bench, watching(bench.broker, lab.witness, lambda: None) as witness:
            gate = Gate(bench.broker, witness)
            with ThreadPoolExecutor(6) as pool:
                found = list(pool.map(lambda unit: endings(list(check_unit(gate, unit, NOW))), units))
        assert found == [own] * len(units)


class TestBadUnit:
    """The cause of each bad unit, as the broker reports it."""

    @pytest.mark.parametrize("settings", TLS.values(), ids=TLS)
    def test_strange_ca(self, lab: Lab, tmp_path: Path, settings: Mapping[str, str]) -> None:
        """A certificate of a CA that the broker does not know is `cloud-ca`; TLS 1.3 may lose the reason."""
        with running(lab, settings) as bench:
            name, cause = failure(bench.check(Lab(tmp_path / "other").unit()))
        assert name == "connect"
        assert cause in (("cloud-ca", "cloud-closed") if settings else ("cloud-ca",))

    def test_revoked(self, lab: Lab) -> None:
        """A unit on the revocation list is `cloud-revoked`; one that is not passes."""
        gone, good = lab.unit("gone"), lab.unit("good")
        with running(lab, crl=lab.revoke(gone)) as bench:
            assert failure(bench.check(gone)) == ("connect", "cloud-revoked")
            assert endings(bench.check(good))["connect"] == "passed"

    def test_given_certificates(self, lab: Lab, tmp_path: Path) -> None:
        """Expired, revoked and strange certificates that the operator gives are refused, each with its cause."""
        gone = lab.unit("gone")
        given = {"expired": lab.expired(), "revoked": gone, "strange": Lab(tmp_path / "other").unit()}
        with running(lab, crl=lab.revoke(gone)) as bench:
            found = {one.name: one for one in bench.check(lab.unit(), given=given)}
        told = {name: (found[name].ending.value, found[name].cause) for name in given}
        assert told == {
            "expired": ("refused", "cloud-expired"),
            "revoked": ("refused", "cloud-revoked"),
            "strange": ("refused", "cloud-ca"),
        }


class TestBadBroker:
    """A broker that is wrong is noticed."""

    def test_accepts_everything(self, lab: Lab) -> None:
        """Without certificates and access rules nothing is enforced, and every attempt says so."""
        settings = {
            "require_certificate": "require_certificate false",
            "use_identity_as_username": "",
            "allow_anonymous": "allow_anonymous true",
            "acl_file": "",
        }
        with running(lab, settings) as bench:
            found = endings(bench.check(lab.unit(), given={"old.pem": lab.expired()}))
        works = {"connect", "subscribe", "publish"}
        assert {name for name, ending in found.items() if ending == "not enforced"} == found.keys() - works
        assert {found[name] for name in works} == {"passed"}

    def test_everybody_may_do_everything(self, lab: Lab) -> None:
        """Rules that do not compare the name let foreign topics through: NOT_ENFORCED."""
        with running(lab, acl="pattern readwrite node/#\n") as bench:
            found = endings(bench.check(lab.unit()))
        assert (found["foreign subscribe"], found["foreign publish"]) == ("not enforced", "not enforced")

    def test_own_topic_is_dropped(self, lab: Lab) -> None:
        """A message that is acknowledged and dropped is `cloud-publish`: the witness does not see it."""
        with running(lab, acl="user rmfab-witness\ntopic readwrite node/#\n") as bench:
            assert failure(bench.check(lab.unit())) == ("publish", "cloud-publish")

    def test_own_topic_is_not_delivered(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """A subscription that is granted and gets nothing is `cloud-subscribe`."""
        acl = "pattern write node/%u/#\nuser rmfab-witness\ntopic readwrite node/#\n"
        waits, delivered = threading.Event(), BrokerLink.delivered

        def awaited(*arguments: Any) -> list[Publish]:
            waits.set()
            return delivered(*arguments)

        monkeypatch.setattr(BrokerLink, "delivered", awaited)
        monkeypatch.setattr("rmfab.cloud.broker_link.time", Hurry(waits))
        with running(lab, acl=acl) as bench:
            assert failure(bench.check(lab.unit()))[1] == "cloud-subscribe"

    @pytest.mark.parametrize("acl", ["pattern readwrite node/%u/#\n", "user rmfab-witness\ntopic read node/#\n"])
    def test_a_blind_witness(self, lab: Lab, monkeypatch: pytest.MonkeyPatch, acl: str) -> None:
        """A witness that may not see or send is an error before any unit connects."""
        hurry_once_published(monkeypatch)
        with running(lab, acl=acl) as bench, pytest.raises(StationError, match="witness") as told:
            bench.check(lab.unit())
        assert told.value.cause == "witness"

    def test_a_strange_witness(self, lab: Lab, tmp_path: Path) -> None:
        """A witness whose certificate the broker does not accept is an error that says so."""
        stranger = Lab(tmp_path / "other").witness
        with running(lab) as bench, pytest.raises(StationError, match="does not know the CA") as told:
            bench.watch(stranger)
        assert told.value.cause == "witness"

    def test_a_broker_that_ends(self, lab: Lab) -> None:
        """A broker that ends while units are checked is the station's error, not the unit's."""
        with running(lab) as bench:
            broker, _ = probe(bench.broker)
        with pytest.raises(StationError) as told:
            check_unit(Gate(broker), lab.unit(), NOW)
        assert told.value.cause == "broker-away"


class TestMosquitto:
    """How the program is started and stopped."""

    def test_a_port_in_use(self, lab: Lab) -> None:
        """A port that is taken is `port-in-use`."""
        with running(lab) as bench:
            lab.write(lab.folder, bench.broker.port)
            folder = BrokerFolder(lab.root / "second")
            lab.write(folder, bench.broker.port)
            second = Mosquitto(find_mosquitto(), folder, lab.settings(bench.broker.port))
            with pytest.raises(StationError) as told, second:
                pass
        assert told.value.cause == "port-in-use"

    def test_a_bad_configuration(self, lab: Lab) -> None:
        """A broker that does not start is `broker-start`, with its own words and the path of its log."""
        with pytest.raises(StationError, match="nonsense") as told, running(lab, {"log_type": "nonsense true"}):
            pass
        assert (told.value.cause, told.value.where) == ("broker-start", str(lab.folder.log))

    def test_it_is_stopped(self, lab: Lab) -> None:
        """After the block nothing listens, and the log ends with mosquitto's last words."""
        with running(lab) as bench:
            probe(bench.broker)
        with pytest.raises(StationError) as told:
            probe(bench.broker)
        assert told.value.cause == "broker-away"
        assert "terminating" in lab.folder.log.read_text().splitlines()[-1]
