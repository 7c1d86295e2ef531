"""The check of a unit on servers in this process: each cause that the server or the unit has."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from rmfab.cloud import broker as broker_module
from rmfab.cloud.attempt import AttemptEnding, Trial
from rmfab.cloud.broker import ALPN
from rmfab.cloud.check_unit import Gate, check_broker, check_unit, probe
from rmfab.cloud.credentials import judge_own
from rmfab.cloud.mqtt import Connect, Disconnect, PubAck, Publish, SubAck, encode
from rmfab.cloud.refusals import BrokerRefusal, Stage, judged
from rmfab.errors import StationError, UnitFault
from rmfab.product.vocabulary import KeyKind
from tests.cloud.lab import NOW, Lab, with_key_of
from tests.cloud.servers import OpenBroker, closing, html, listening, silent


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab."""
    return Lab(tmp_path)


class TestBroker:
    """What is wrong with the server is the station's error, with its own cause."""

    def test_no_address(self, lab: Lab) -> None:
        """A name without an address is `broker-dns`."""
        with pytest.raises(StationError) as told:
            probe(lab.broker(1, "no-such-host.invalid"))
        assert told.value.cause == "broker-dns"

    def test_no_server(self, lab: Lab) -> None:
        """A port at which nothing listens is `broker-away`."""
        with listening(silent) as port:
            pass
        with pytest.raises(StationError) as told:
            probe(lab.broker(port))
        assert told.value.cause == "broker-away"

    @pytest.mark.parametrize(
        ("handler", "cause"),
        [(html, "broker-not-tls"), (closing, "broker-not-tls")],
        ids=["HTML", "closes"],
    )
    def test_no_tls(self, lab: Lab, handler, cause: str) -> None:
        """A server that does not speak TLS is named so, whether it answers in HTML or closes the connection."""
        with listening(handler) as port, pytest.raises(StationError) as told:
            probe(lab.broker(port))
        assert told.value.cause == cause

    def test_silent(self, lab: Lab) -> None:
        """A server that never answers is `broker-silent`, after the time limit."""
        with listening(silent) as port, pytest.raises(StationError) as told:
            probe(lab.broker(port, patience=0.5))
        assert told.value.cause == "broker-silent"

    @pytest.mark.slow
    def test_silent_after_tls(self, lab: Lab) -> None:
        """So is one that speaks TLS and does not answer CONNECT."""
        with listening(OpenBroker(lab, answer=b"")) as port, pytest.raises(StationError) as told:
            probe(lab.broker(port, patience=5))
        assert told.value.cause == "broker-silent"

    @pytest.mark.parametrize(
        "answer",
        [b"HTTP/1.1 400 Bad Request\r\n\r\n", encode(SubAck(1, 1)), encode(PubAck(7)), b"\x20\x02\x00\x09"],
        ids=["HTML", "SUBACK", "PUBACK", "code 9"],
    )
    def test_no_mqtt(self, lab: Lab, answer: bytes) -> None:
        """A server that speaks TLS and something else than MQTT is `broker-not-mqtt`."""
        with listening(OpenBroker(lab, answer=answer)) as port, pytest.raises(StationError) as told:
            probe(lab.broker(port))
        assert told.value.cause == "broker-not-mqtt"

    def test_flood(self, lab: Lab) -> None:
        """A server that delivers messages without end is refused, however fast it is."""
        flood = encode(Publish("a", b"", None)) * 1000
        with listening(OpenBroker(lab, answer=flood)) as port, pytest.raises(StationError) as told:
            probe(lab.broker(port))
        assert told.value.cause == "broker-not-mqtt"

    @pytest.mark.parametrize(("name", "host"), [("mqtt.example.org", "localhost"), ("127.0.0.2", "127.0.0.1")])
    def test_wrong_name(self, tmp_path: Path, name: str, host: str) -> None:
        """A certificate for a different name or address is `broker-name`."""
        lab = Lab(tmp_path, names=(name,))
        with listening(OpenBroker(lab)) as port, pytest.raises(StationError) as told:
            probe(lab.broker(port, host))
        assert told.value.cause == "broker-name"

    def test_strange_ca(self, tmp_path: Path, lab: Lab) -> None:
        """A broker's certificate of a CA that is not trusted is `broker-ca`."""
        other = Lab(tmp_path / "other")
        with listening(OpenBroker(lab)) as port, pytest.raises(StationError) as told:
            probe(other.broker(port))
        assert told.value.cause == "broker-ca"
        assert "--ca" in str(told.value.hint)

    def test_alpn(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """On port 443 the client names the protocol of AWS IoT by ALPN, elsewhere none."""
        server = OpenBroker(lab, alpn=(ALPN,))
        with listening(server) as port:
            probe(lab.broker(port))
            monkeypatch.setattr(broker_module, "ALPN_PORT", port)
            probe(lab.broker(port))
        assert server.protocols == [None, ALPN]


class TestOpenBroker:
    """A broker that accepts everything is noticed."""

    def test_nothing_is_enforced(self, lab: Lab) -> None:
        """No certificate, a forged one, a given one and a foreign client id are all NOT_ENFORCED."""
        with listening(OpenBroker(lab)) as port:
            broker, attempt = probe(lab.broker(port))
            gate = Gate(broker)
            others = check_broker(gate, "node-1", NOW, {"old.pem": lab.expired().pair})
            found = [attempt, *others, *check_unit(gate, lab.unit(), NOW)]
        assert [(one.name, one.ending) for one in found] == [
            ("no certificate", AttemptEnding.NOT_ENFORCED),
            ("forged certificate", AttemptEnding.NOT_ENFORCED),
            ("old.pem", AttemptEnding.NOT_ENFORCED),
            ("connect", AttemptEnding.PASSED),
            ("foreign client id", AttemptEnding.NOT_ENFORCED),
        ]

    def test_without_a_witness_nothing_is_published(self, lab: Lab) -> None:
        """Without a witness only CONNECT and DISCONNECT are sent, and no client id but the unit's own is a real one."""
        server = OpenBroker(lab)
        with listening(server) as port:
            broker, _ = probe(lab.broker(port))
            tuple(check_broker(Gate(broker), "node-1", NOW, {}))
            check_unit(Gate(broker), lab.unit(), NOW)
        assert {type(packet) for packet in server.seen} == {Connect, Disconnect}
        ids = [packet.client_id for packet in server.seen if isinstance(packet, Connect)]
        assert [one for one in ids if not one.startswith("rmfab-")] == ["node-1"]
        assert len(set(ids)) == len(ids) == 4


class TestUnit:
    """What is wrong with a unit is a failed attempt, and none follows."""

    @pytest.mark.parametrize(
        ("server", "cause"),
        [({"code": 5}, "cloud-connack"), ({"code": 2}, "cloud-connack"), ({"code": None}, "cloud-closed")],
        ids=["not authorized", "client id", "closed"],
    )
    def test_refused_by_mqtt(self, lab: Lab, server, cause: str) -> None:
        """A refusal in CONNACK and a connection that is closed instead have their own causes."""
        with listening(OpenBroker(lab, **server)) as port:
            (only,) = check_unit(Gate(lab.broker(port)), lab.unit(), NOW)
        assert (only.trial, only.ending, only.cause) == (Trial.CONNECT, AttemptEnding.FAILED, cause)

    def test_a_broker_that_goes_away(self, lab: Lab) -> None:
        """A broker that ends while a unit connects is not there any more: its error, and no unit's fault."""
        server = socket.create_server(("127.0.0.1", 0))

        def serve_once() -> None:
            connection, _ = server.accept()
            server.close()
            with connection:
                OpenBroker(lab, code=None)(connection)

        thread = threading.Thread(target=serve_once)
        gate = Gate(lab.broker(server.getsockname()[1]))
        thread.start()
        with pytest.raises(StationError) as told:
            check_unit(gate, lab.unit(), NOW)
        thread.join()
        assert told.value.cause == "broker-away"

    def test_a_broker_that_closed_once(self, lab: Lab) -> None:
        """One that is there, and lets the unit in the second time, had only restarted."""
        server = OpenBroker(lab, code=None)

        def restarting(connection: socket.socket) -> None:
            server(connection)
            server.code = 0

        with listening(restarting) as port:
            found = check_unit(Gate(lab.broker(port)), lab.unit(), NOW)
        assert found[0].ending is AttemptEnding.PASSED

    @pytest.mark.parametrize("kind", KeyKind)
    def test_a_good_one(self, lab: Lab, kind: KeyKind) -> None:
        """A certificate is good with each kind of key."""
        judge_own(lab.unit(kind=kind), NOW)

    @pytest.mark.parametrize("case", ["expired", "key", "name", "no certificate", "no key"])
    def test_own_credentials(self, lab: Lab, case: str) -> None:
        """An expired certificate, a different unit's key and a different name are found before anything is sent."""
        unit, other = lab.unit(), lab.unit("node-2")
        bad, cause = {
            "expired": (lab.expired(), "cloud-expired"),
            "key": (with_key_of(unit, other), "key-mismatch"),
            "name": (replace(other, node_id="node-1"), "cloud-name"),
            "no certificate": (
                replace(unit, pair=replace(unit.pair, certificate=b"nonsense")),
                "cloud-certificate",
            ),
            "no key": (replace(unit, pair=replace(unit.pair, key=type(unit.pair.key)(b"nonsense"))), "key-mismatch"),
        }[case]
        (only,) = check_unit(Gate(lab.broker(1)), bad, NOW)
        assert (only.ending, only.cause) == (AttemptEnding.FAILED, cause)

    def test_a_damaged_chain(self, lab: Lab) -> None:
        """A certificate that OpenSSL cannot load is the unit's fault, with OpenSSL's reason."""
        unit = lab.unit()
        damaged = unit.pair.certificate + b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        (only,) = check_unit(Gate(lab.broker(1)), replace(unit, pair=replace(unit.pair, certificate=damaged)), NOW)
        assert (only.ending, only.cause) == (AttemptEnding.FAILED, "cloud-certificate")
        assert str(only.reason).startswith("TLS cannot use the certificate: ")

    def test_not_yet_valid(self, lab: Lab) -> None:
        """A certificate that is not valid yet is `cloud-expired`, with its date and a hint about the clock."""
        with pytest.raises(UnitFault, match="valid from") as told:
            judge_own(lab.unit(), NOW - timedelta(days=366))
        assert "clock" in str(told.value.hint)


class TestJudged:
    """Errors of `ssl` and `socket` as causes."""

    @pytest.mark.parametrize(
        ("reason", "cause"),
        [
            ("TLSV1_ALERT_UNKNOWN_CA", "cloud-ca"),
            ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "cloud-expired"),
            ("SSLV3_ALERT_CERTIFICATE_REVOKED", "cloud-revoked"),
            ("SSLV3_ALERT_HANDSHAKE_FAILURE", "cloud-refused"),
            ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "cloud-refused"),
            ("TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "broker-alpn"),
            ("TLSV1_UNRECOGNIZED_NAME", "broker-tls"),
            ("TLSV1_ALERT_UNRECOGNIZED_NAME", "broker-name"),
            ("TLSV1_ALERT_PROTOCOL_VERSION", "broker-tls"),
            ("WRONG_VERSION_NUMBER", "broker-not-tls"),
            ("SOMETHING_NEW", "broker-tls"),
        ],
    )
    def test_alerts(self, lab: Lab, reason: str, cause: str) -> None:
        """Each alert of TLS has a cause; one that blames the unit is a refusal."""
        error = ssl.SSLError(1, reason)
        error.reason = reason
        found = judged(error, lab.broker(1), Stage.GREETED)
        assert (found.cause, isinstance(found, BrokerRefusal)) == (cause, cause.startswith("cloud"))

    @pytest.mark.parametrize("code", [9, 10])
    def test_a_broker_out_of_date(self, lab: Lab, code: int) -> None:
        """A broker's certificate that is not valid now is `broker-certificate`."""
        error = ssl.SSLCertVerificationError(1, "x")
        error.verify_code, error.verify_message = code, "x"
        assert judged(error, lab.broker(1), Stage.GREETED).cause == "broker-certificate"


class TestMemory:
    """Keys stay in memory."""

    def test_no_file(self, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
        """On Linux no temporary file is made for a key."""
        monkeypatch.setattr(tempfile, "mkstemp", None)
        lab.unit().pair.put_in(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))

    def test_a_file_without_memfd(self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Elsewhere the file has mode 0600, and is gone afterwards, also if the pair cannot be used."""
        monkeypatch.delattr(os, "memfd_create")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        modes = []

        class Context(ssl.SSLContext):
            def load_cert_chain(self, path):
                modes.append(Path(path).stat().st_mode & 0o777)
                super().load_cert_chain(path)

        unit = lab.unit()
        unit.pair.put_in(Context(ssl.PROTOCOL_TLS_CLIENT))
        with pytest.raises(ssl.SSLError):
            with_key_of(unit, lab.unit("node-2")).pair.put_in(Context(ssl.PROTOCOL_TLS_CLIENT))
        assert modes == [0o600, 0o600]
        assert list(tmp_path.glob(".rmfab-*")) == []
