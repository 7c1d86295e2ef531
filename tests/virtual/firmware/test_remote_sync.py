"""Remote sync over time, with a library that only records: no broker, no thread, no wait."""

from __future__ import annotations

import json

from rmfab.product.vocabulary import Chip
from rmfab.virtual.build.build_folder import make_app
from rmfab.virtual.firmware.markers import FirmwareFacts, facts_by_texts, texts_of
from rmfab.virtual.firmware.mqtt import MqttFailure, MqttPublish, MqttSubscribe
from rmfab.virtual.firmware.otadata import OtaDataEntry, OtaState
from rmfab.virtual.network import FACTORY_NETWORK, AccessPoint, Route
from tests.virtual.rig import OTADATA, Rig, factory_image, parts, plain

HOST = "mqtt.example.org"
OTHER_SLOT = 0x200000
ROUTE = Route(HOST, "127.0.0.1", 8883)
NETWORK = AccessPoint(FACTORY_NETWORK.ssid, -47, 6, FACTORY_NETWORK.password, (ROUTE,))
ROOT = "-----BEGIN CERTIFICATE-----\n" + "MIIB" * 16 + "\n-----END CERTIFICATE-----\n"


class Recorder:
    """An MQTT library that records what a board asks for, with its time."""

    def __init__(self, rig):
        self.rig = rig
        self.client = None
        self.dials = []
        self.orders = []

    def dial(self, client):
        self.client = client
        self.dials.append(self.rig.timeline.time())

    def give(self, order):
        self.orders.append((self.rig.timeline.time(), order))

    def hang_up(self):
        self.client = None

    def follow_route(self):
        """Do nothing."""

    def play(self, steps):
        self.rig.board.carry_on(steps)

    def published(self, suffix):
        found = [order for _, order in self.orders if isinstance(order, MqttPublish)]
        return [json.loads(order.payload) for order in found if order.topic.suffix == suffix]

    def when(self, suffix):
        return [at for at, order in self.orders if isinstance(order, MqttPublish) and order.topic.suffix == suffix]


def _rig(*, paced=0, faults=(), **options):
    """Return a rig on its network, and its library."""
    rig = Rig(parts=parts(**options), networks=(NETWORK,), paced=paced, faults=faults)
    rig.board.mqtt = Recorder(rig)
    rig.boot(20.0)
    rig.type(f"wifi-prov {NETWORK.ssid} {NETWORK.password}\r\n", 5.0)
    return rig, rig.board.mqtt


def _connect(mqtt):
    """Let the broker accept the connection, and receive everything."""
    mqtt.play(mqtt.client.connected())
    for _, order in list(mqtt.orders):
        if isinstance(order, MqttPublish):
            mqtt.play(mqtt.client.acknowledged(order))


def test_the_library_gets_what_the_factory_wrote():
    """Host, name, certificate and key are those of `fctry`; the root is the firmware's; the user name has the MAC."""
    rig, mqtt = _rig(factory=factory_image(client_cert=b"CERT"), server_root=ROOT)
    settings = mqtt.client.settings
    assert (settings.host, settings.client_id, settings.certificate) == (HOST, "NodeOfThisVeryTest", b"CERT")
    assert (settings.roots, settings.will, settings.clock) == (ROOT, None, None)
    assert settings.username == f"?Platform=APN3|A0|RM|EX00|RMDev|1x0|{rig.spec.base_mac.hex().upper()}"
    assert mqtt.client.route == ROUTE
    assert "PRIVATE" not in repr(settings)


def test_updates_are_asked_for_five_seconds_after_the_connection():
    """otafetch comes 5 seconds after the connection, once per start, also after a second connection."""
    rig, mqtt = _rig()
    _connect(mqtt)
    connected = rig.timeline.time()
    rig.timeline.run(6.0)
    assert mqtt.when("otafetch") == [connected + 5.0]
    mqtt.play(mqtt.client.acknowledged(mqtt.orders[-1][1]))
    mqtt.play(mqtt.client.ended(MqttFailure.LOST))
    rig.timeline.run(11.0)
    assert len(mqtt.dials) == 2
    _connect(mqtt)
    rig.timeline.run(6.0)
    assert len(mqtt.when("otafetch")) == 1
    assert len(mqtt.published("config")) == 2


def test_a_failed_connection_is_tried_again_after_ten_seconds():
    """Each failure has its own lines, and the next try comes 10 seconds later."""
    rig, mqtt = _rig()
    said = {}
    for failure in MqttFailure:
        if failure is not MqttFailure.NO_LIBRARY:
            rig.said.clear()
            ended = rig.timeline.time()
            mqtt.play(mqtt.client.ended(failure))
            rig.timeline.run(11.0)
            assert ended + 10 <= mqtt.dials[-1] < ended + 10.5  # the lines before take their time
            said[failure] = [line.partition(") ")[2] for line in plain(rig.text).splitlines() if line]
    assert all("Will try reconnecting in a while..." in lines[-1] for lines in said.values())
    lines_of = {tuple(lines) for lines in said.values()}
    assert len(lines_of) == len(said)


def test_the_budget_grows_by_one_message_every_five_seconds():
    """A firmware that has used up its budget may send one message every 5 seconds."""
    rig, mqtt = _rig()
    _connect(mqtt)
    rig.timeline.run(6.0)
    message = json.dumps({"Light": {"Brightness": 1}}).encode()

    def flood():
        before = len(mqtt.published("params/local"))
        for _ in range(150):
            mqtt.play(mqtt.client.received("node/x/params/remote", message))
        return len(mqtt.published("params/local")) - before

    assert 90 < flood() <= 100
    assert flood() == 0
    rig.timeline.run(20.0)
    assert flood() == 4


def test_an_update_that_does_not_reach_its_broker_rolls_back():
    """A new app on a network with routes waits 90 seconds for its broker, and then goes back."""
    newer = make_app(Chip.ESP32C3, "rmfab-demo", "2.0.0", FirmwareFacts(), app_size=128 * 1024)
    entries = OtaDataEntry.of(1, OtaState.VALID), OtaDataEntry.of(2, OtaState.NEW)
    states = [(OTADATA + at, entry.encode()) for at, entry in zip((0, 0x1000), entries, strict=True)]
    rig = Rig(parts=[*parts(), (OTHER_SLOT, newer), *states], networks=(NETWORK,))
    rig.board.mqtt = Recorder(rig)
    rig.boot(85.0)
    assert "Rolling back" not in rig.text
    rig.timeline.run(10.0)
    assert "Could not verify firmware even after 90 seconds since boot-up. Rolling back." in rig.text
    assert plain(rig.text).rpartition("App version:")[2].split()[0] == "1.0.0"


def test_subscriptions_of_a_mapped_node():
    """The node listens to parameters and updates of its own."""
    _, mqtt = _rig()
    _connect(mqtt)
    topics = [order.path for _, order in mqtt.orders if isinstance(order, MqttSubscribe)]
    assert sorted(topics) == ["node/NodeOfThisVeryTest/otaurl", "node/NodeOfThisVeryTest/params/remote"]


def test_without_a_library_the_console_says_so():
    """A board without MQTT starts, and does not pretend a connection."""
    rig = Rig(parts=parts(), networks=(NETWORK,))
    rig.boot()
    said = rig.type(f"wifi-prov {NETWORK.ssid} {NETWORK.password}\r\n", 2.0)
    assert "This virtual board has no MQTT: paho-mqtt is not installed" in said
    assert "MQTT Connected" not in said


def test_a_real_app_pins_a_root_by_its_text():
    """A real app is built for a broker by the certificate that it contains; one with the bundle contains none."""
    assert facts_by_texts(texts_of(FirmwareFacts(server_root=ROOT * 2))).server_root == ROOT * 2
    assert facts_by_texts(texts_of(FirmwareFacts())).server_root == ""
