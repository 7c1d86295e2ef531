"""Boards on real mosquitto: what they publish and obey, watched by paho-mqtt, and each fault of theirs."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from rmfab.cloud.credentials import ClientPair
from rmfab.nvs.packing import pack
from rmfab.nvs.table import Entry, EntryKind
from rmfab.product.vocabulary import Chip, Security
from rmfab.secret import Secret
from rmfab.virtual import BoardSpec, FaultCall, PortKind, Strap, serve
from rmfab.virtual.bench.place import Bench
from rmfab.virtual.build.build_folder import make_app
from rmfab.virtual.firmware.markers import FirmwareFacts
from rmfab.virtual.network import FACTORY_NETWORK, Route
from tests.cloud.lab import Lab
from tests.patience import PATIENCE, until
from tests.virtual.broker import HOST, cloud
from tests.virtual.image_server import Authority, serving
from tests.virtual.phone import Phone, Sec1, pb, through
from tests.virtual.rig import FCTRY, NVS, factory_image, parts, plain

pytestmark = pytest.mark.peers


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """One broker for all."""
    with cloud(tmp_path_factory.mktemp("broker")) as running:
        yield running


def _joined():
    """Return `nvs` with the factory's network, as a provisioned unit has it."""
    ssid = FACTORY_NETWORK.ssid.encode()
    values = {
        "sta.ssid": len(ssid).to_bytes(4, "little") + ssid.ljust(32, b"\0"),
        "sta.pswd": FACTORY_NETWORK.password.encode(),
    }
    return NVS, pack([Entry("nvs.net80211", key, EntryKind.BLOB, value) for key, value in values.items()], 0x6000)


def _threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mqtt ")]


class Seat:
    """A board of this process, its output, and the broker *cloud*."""

    def __init__(self, place, node_id, watched):
        self.place, self.node_id, self.cloud = place, node_id, watched
        self.board = place.board
        self.said = bytearray()
        self.board.uart.to_host = self.said.extend

    @property
    def text(self):
        return plain(self.said.decode("utf-8", "replace"))

    def told(self, suffix):
        return self.cloud.messages(self.node_id, suffix)

    async def until(self, condition):
        """Wait until a condition is true."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, (self.text, self.cloud.order(self.node_id))
            await asyncio.sleep(0.005)

    async def tell(self, suffix, value):
        await asyncio.to_thread(self.cloud.tell, self.node_id, suffix, value)

    async def tell_until(self, condition, suffix, value):
        """Tell the unit until a condition is true: what comes before its subscription is lost."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, (self.text, self.cloud.order(self.node_id))
            await self.tell(suffix, value)
            await asyncio.sleep(0.05)

    def cut(self):
        """End the connection as a network that fails does."""
        socket.socket.shutdown(self.place.mqtt._link.stream, socket.SHUT_RDWR)

    async def in_sync(self, *, mapped=True):
        """Wait until the unit has done all that it does after a start, and its broker has acknowledged it.

        It asks for updates some time after the connection: on a busy machine that can come before the acknowledgement
        of the mapping, which its parameters wait for.
        """
        suffixes = ("otafetch", "params/local/init") if mapped else ("otafetch",)
        await self.until(lambda: all(map(self.told, suffixes)) and not self.place.mqtt._link._sent)

    def first_told(self):
        """Return the order of what it tells its cloud, without the question for updates, which comes after the config.

        That has a time of its own, and may be asked again after a reconnect.
        """
        order = self.cloud.order(self.node_id)
        assert order.index("otafetch") > order.index("config")
        return [one for one in order if one != "otafetch"]


class Story:
    """Boards with credentials of the broker's CA, on a bench of this process."""

    def __init__(self, watched, folder):
        self.cloud, self.folder = watched, folder
        self._numbers = iter(range(100))

    def flash(self, node_id, *, pair=None, joined=True, **options):
        """Return a flash with a release, the credentials of *node_id*, and the factory's network."""
        pair = pair or self.cloud.lab.unit(node_id).pair
        factory = factory_image(
            node_id=node_id.encode(),
            mqtt_host=HOST.encode(),
            client_cert=pair.certificate,
            client_key=pair.key.reveal(),
        )
        cells = bytearray(b"\xff" * (4 << 20))
        firmware = {"server_root": self.cloud.root} | options
        for offset, data in [*parts(factory=factory, **firmware), *([_joined()] if joined else [])]:
            cells[offset : offset + len(data)] = data
        path = self.folder / f"{node_id}.bin"
        path.write_bytes(cells)
        return path

    def spec(self, node_id, *faults, broker=None, **options):
        """Return a board with this identity; its broker is on the port *broker* instead of the cloud's."""
        around = self.cloud.network
        if broker is not None:
            around = replace(around, routes=(Route(HOST, "127.0.0.1", broker),))
        return BoardSpec(
            Chip.ESP32C3,
            index=next(self._numbers),
            link=PortKind.SOCKET,
            strap=Strap.RUN,
            flash_file=self.flash(node_id, **options),
            networks=(around,),
            faults=tuple(map(FaultCall.parse, faults)),
        )

    def play(self, tale, *specs):
        """Run the coroutine *tale* with a seat for each board; afterwards no thread of theirs is left."""

        async def run():
            async with Bench(specs, self.folder / "bench") as bench:
                seats = [Seat(p, p.board.spec.flash_file.stem, self.cloud) for p in bench.places]
                await tale(*seats)

        asyncio.run(run())
        assert _threads() == []


@pytest.fixture
def story(watched, tmp_path: Path):
    return Story(watched, tmp_path)


def test_a_provisioned_unit_talks_to_its_cloud(story):
    """Config first, the reset of the mapping, all parameters, and the question for updates, by basic ingest."""

    async def tale(unit):
        await unit.in_sync()
        assert unit.first_told() == ["config", "user/mapping", "params/local/init"]
        config = unit.told("config")[0]
        assert (config["node_id"], config["info"]["platform"]) == (unit.node_id, "esp32c3")
        assert (config["info"]["project_name"], config["info"]["fw_version"]) == ("rmfab-demo", "1.0.0")
        nobody = {"node_id": unit.node_id, "user_id": "esp-rmaker", "secret_key": "failed", "reset": True}
        assert unit.told("user/mapping") == [nobody]
        assert unit.told("params/local/init") == [{"Light": {"Name": "Light", "Power": True, "Brightness": 25}}]
        assert unit.told("otafetch") == [{"node_id": unit.node_id, "fw_version": "1.0.0"}]
        assert unit.place._state["mqtt"] == "connected"
        assert "esp_mqtt_glue: MQTT Connected" in unit.text

    story.play(tale, story.spec("talks"))


def test_parameters_are_obeyed_and_reported(story):
    """A parameter set through params/remote comes back on params/local; nonsense changes nothing."""

    async def tale(unit):
        await unit.in_sync()
        for nonsense in (
            b"no json",
            [1],
            {"Light": {"Power": 1, "Colour": 2}},
            {"Fan": {"Power": False}},
            {"Light": 3},
        ):
            await unit.tell("params/remote", nonsense)
        await unit.tell("params/remote", {"Light": {"Power": False, "Brightness": "dark"}})
        await unit.until(lambda: unit.told("params/local"))
        assert unit.told("params/local") == [{"Light": {"Power": False}}]

    story.play(tale, story.spec("obeys"))


def test_a_reboot_continues_where_the_unit_was(story):
    """After a restart the unit connects again: config first, no second reset of the mapping, all parameters once."""

    async def tale(unit):
        await unit.in_sync()
        unit.board.restart()
        await unit.until(lambda: len(unit.told("otafetch")) == 2)
        assert story.cloud.order(unit.node_id)[4:] == ["config", "params/local/init", "otafetch"]

    story.play(tale, story.spec("reboots"))


def test_a_factory_reset_forgets_network_and_mapping(story):
    """After a factory reset the unit waits for provisioning; back on the network, it resets its mapping again."""

    async def tale(unit):
        await unit.in_sync()
        unit.said.clear()
        unit.board.uart.from_host(b"reset-to-factory\r\n")
        await unit.until(lambda: "Provisioning started with service name" in unit.text)
        assert unit.place._state["mqtt"] == "off"
        unit.board.uart.from_host(f"wifi-prov {FACTORY_NETWORK.ssid} {FACTORY_NETWORK.password}\r\n".encode())
        await unit.until(lambda: len(unit.told("otafetch")) == 2)
        assert len(unit.told("user/mapping")) == 2

    story.play(tale, story.spec("is-reset"))


def test_power_off_ends_the_connection_at_once(story):
    """A unit without power has no connection and no thread, whether it was connected or on the way."""

    async def tale(unit):
        await unit.in_sync()
        unit.board.power(False)
        assert _threads() == []
        for _ in range(8):
            unit.board.power(True)
            await unit.until(lambda: unit.place._state["mqtt"] != "off")
            unit.board.power(False)
            assert _threads() == []
        unit.board.power(True)
        await unit.until(lambda: unit.place._state["mqtt"] == "connected")

    story.play(tale, story.spec("powers"))


def test_a_broker_that_is_away_is_tried_again(story):
    """A unit whose connection ends tries again, and reports its config again."""

    async def tale(unit):
        await unit.in_sync()
        unit.cut()
        await unit.until(lambda: len(unit.told("config")) == 2)
        assert "MQTT Disconnected. Will try reconnecting in a while..." in unit.text
        await unit.tell_until(lambda: unit.told("params/local"), "params/remote", {"Light": {"Brightness": 7}})
        assert len(unit.told("params/local/init")) == 1

    story.play(tale, story.spec("is-cut"))


def test_messages_beyond_the_budget_are_dropped(story):
    """After about 100 messages at once, the firmware sends no more, and says so."""

    async def tale(unit):
        await unit.in_sync()
        await asyncio.gather(*(unit.tell("params/remote", {"Light": {"Brightness": number}}) for number in range(140)))
        await unit.until(lambda: unit.text.count("Received params") == 140)
        dropped = unit.text.count("esp_rmaker_mqtt: Out of MQTT Budget. Dropping publish message.")
        await unit.until(lambda: len(unit.told("params/local")) == 140 - dropped)
        assert 0 < dropped < 45

    story.play(tale, story.spec("floods"))


FAULTS = {
    "wrong-host": "esp-tls: couldn't get hostname for :elsewhere.mqtt.example.com: getaddrinfo() returns 202",
    "early-clock": "esp-tls-mbedtls: mbedtls_ssl_handshake returned -0x2700",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_that_keep_a_unit_away(fault, story):
    """The console names the reason, the unit tries again, and its cloud hears nothing."""

    async def tale(unit):
        await unit.until(lambda: unit.text.count("Will try reconnecting in a while...") == 2)
        assert FAULTS[fault] in unit.text
        assert "MQTT Connected" not in unit.text
        assert story.cloud.order(unit.node_id) == []

    story.play(tale, story.spec(f"has-{fault}", fault))


def test_power_off_in_the_middle_of_a_handshake(story):
    """A server that accepts and never answers does not keep the thread of a board that has lost its power."""

    async def tale(unit):
        connection, _ = await asyncio.to_thread(silent.accept)
        with connection:
            assert unit.place._state["mqtt"] == "connecting"
            unit.board.power(False)
            assert _threads() == []

    with socket.create_server(("127.0.0.1", 0)) as silent:
        story.play(tale, story.spec("waits-for-it", broker=silent.getsockname()[1]))


def test_a_server_that_is_no_broker(story):
    """A port without a server, and one that closes each connection, have lines of their own."""

    def close_the_first():
        server.accept()[0].close()

    async def tale(*units):
        refused, closed = units
        closing = asyncio.create_task(asyncio.to_thread(close_the_first))
        await closed.until(lambda: "mbedtls_ssl_handshake returned -0x7280" in closed.text)
        await closing
        await refused.until(lambda: "delayed connect error: Connection reset by peer" in refused.text)

    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        ports = {"refused": reserved.getsockname()[1], "closed": server.getsockname()[1]}
        story.play(tale, *(story.spec(name, broker=port) for name, port in ports.items()))


def test_firmware_that_uses_the_public_bundle(story):
    """Firmware without the test broker's CA does not trust it: a unit needs firmware that is built for this broker."""

    async def tale(unit):
        await unit.until(lambda: "mbedtls_ssl_handshake returned -0x3000" in unit.text)

    story.play(tale, story.spec("bundled", server_root=""))


def test_a_certificate_of_a_strange_ca(story, tmp_path):
    """The broker closes the handshake of a unit whose certificate it does not know."""

    async def tale(unit):
        await unit.until(lambda: "mbedtls_ssl_handshake returned -0x7780" in unit.text)

    stranger = Lab(tmp_path)
    story.play(tale, story.spec("strange", pair=stranger.unit("strange").pair))


def test_credentials_that_cannot_be_read(story):
    """A key that is none keeps the unit away, with a line on its console."""

    async def tale(unit):
        await unit.until(lambda: "mbedtls_x509_crt_parse of client cert returned" in unit.text)

    pair = ClientPair(b"nonsense", Secret(b"nonsense"))
    story.play(tale, story.spec("illegible", pair=pair))


def test_a_unit_with_the_config_of_another_project(story):
    """`other-project` reports a different project, and all else as always."""

    async def tale(unit):
        await unit.in_sync()
        info = unit.told("config")[0]["info"]
        assert (info["project_name"], info["fw_version"]) == ("rmfab-demo-2", "1.0.0")

    story.play(tale, story.spec("other", "other-project"))


def test_a_unit_that_is_mute(story):
    """`mute-online` connects, and publishes nothing, whatever it is told."""

    async def tale(unit):
        await unit.until(lambda: "Fetching OTA details, if any." in unit.text)
        assert unit.place._state["mqtt"] == "connected"
        await unit.tell("otaurl", {})
        await unit.until(lambda: "Aborted. OTA Job ID not found in JSON" in unit.text)
        assert story.cloud.order(unit.node_id) == []

    story.play(tale, story.spec("mute", "mute-online"))


def test_a_unit_that_ignores_its_parameters(story):
    """`ignores-params` receives a parameter, and neither sets nor reports it."""

    async def tale(unit):
        await unit.in_sync()
        await unit.tell("params/remote", {"Light": {"Power": False}})
        await unit.until(lambda: "Received params" in unit.text)
        unit.board.restart()
        await unit.until(lambda: len(unit.told("otafetch")) == 2)
        assert unit.told("params/local") == []

    story.play(tale, story.spec("ignores", "ignores-params"))


def test_old_firmware_waits_for_its_user(story):
    """Without challenge-response nothing but the config is reported until a user is mapped; then the unit goes on."""

    async def tale(unit):
        await unit.in_sync(mapped=False)
        assert story.cloud.order(unit.node_id) == ["config", "otafetch"]
        assert "Waiting for User Node Association." in unit.text
        unit.board.uart.from_host(b"add-user user-1 key-1\r\n")
        await unit.until(lambda: unit.told("params/local/init"))
        assert unit.told("user/mapping") == [{"node_id": unit.node_id, "user_id": "user-1", "secret_key": "key-1"}]
        unit.board.restart()
        await unit.until(lambda: len(unit.told("otafetch")) == 2)
        assert story.cloud.order(unit.node_id)[4:] == ["config", "params/local/init", "otafetch"]

    story.play(tale, story.spec("waits", ch_resp=False))


def test_many_boards_in_one_process(story):
    """32 boards connect at once, each in its own name, and none leaves a thread."""

    async def tale(*units):
        await asyncio.gather(*(unit.in_sync() for unit in units))
        for unit in units:
            assert [config["node_id"] for config in unit.told("config")] == [unit.node_id]

    story.play(tale, *(story.spec(f"many-{number}") for number in range(32)))


def test_without_paho_a_board_says_so(story, monkeypatch):
    """Without paho-mqtt the firmware starts, and its console says that there is no MQTT."""
    monkeypatch.setattr("rmfab.virtual.bench.mqtt_port.is_available", lambda: False)

    async def tale(unit):
        await unit.until(lambda: "This virtual board has no MQTT: paho-mqtt is not installed" in unit.text)
        assert unit.place._state["mqtt"] == "off"
        assert "MQTT Connected" not in unit.text

    story.play(tale, story.spec("no-paho"))


# Updates.

SIZE = 128 * 1024
SLOT = 0x200000
JOB = "Job-1"


def _app(story, version="2.0.0", **options):
    facts = {key: options.pop(key) for key in ("confirms", "rollback") if key in options}
    firmware = FirmwareFacts(server_root=story.trusted, **facts)
    project = options.pop("project", "rmfab-demo")
    return make_app(Chip.ESP32C3, project, version, firmware, app_size=SIZE, **options)


def _job(server, image, **more):
    """Return what a cloud sends on otaurl."""
    md5 = hashlib.md5(image, usedforsecurity=False).hexdigest()
    return {
        "ota_job_id": JOB,
        "url": server.url,
        "fw_version": "2.0.0",
        "file_size": len(image),
        "file_md5": md5,
    } | more


def _statuses(unit):
    return [(told["status"], told["additional_info"]) for told in unit.told("otastatus")]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def updating(story, authority):
    """A story whose firmware trusts the broker's CA and the update server's."""
    story.trusted = story.cloud.root + authority.ca_file.read_text()
    story.tls = authority.context()
    return story


STARTING = [
    ("in-progress", "Starting OTA Upgrade (HTTPS attempt 1/3)"),
    ("in-progress", "Downloading Firmware Image"),
]


def test_an_update_that_the_cloud_asks_for(updating):
    """otaurl → download → restart → success after the connection; then the unit asks for updates again, as 2.0.0."""
    image = _app(updating)

    async def tale(unit):
        await unit.in_sync()
        identity = unit.board.flash.read(FCTRY, 0x6000)
        await unit.tell("otaurl", _job(server, image))
        await unit.until(lambda: len(unit.told("otafetch")) == 2)
        assert _statuses(unit) == [
            *STARTING,
            ("in-progress", "Firmware Image download complete"),
            ("in-progress", "Rebooting into new firmware (after 1 HTTPS attempt)"),
            ("success", "OTA Upgrade finished and verified successfully"),
        ]
        assert {told["ota_job_id"] for told in unit.told("otastatus")} == {JOB}
        assert [told["info"]["fw_version"] for told in unit.told("config")] == ["1.0.0", "2.0.0"]
        assert unit.told("otafetch")[1]["fw_version"] == "2.0.0"
        assert (unit.place._state["slot"], unit.place._state["ota"]) == ("ota_1", "valid")
        assert identity == unit.board.flash.read(FCTRY, 0x6000)

    with serving(image, tls=updating.tls) as server:
        updating.play(tale, updating.spec("updates", server_root=updating.trusted))


REJECTED = {
    "another project": ({"project": "kettle"}, "rejected", "Project Name mismatch"),
    "the same version": ({"version": "1.0.0"}, "rejected", "Same version received"),
    "a lower secure version": ({"secure_version": 1}, "rejected", "Lower secure version received"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_updates_that_the_unit_rejects(case, updating):
    """Each rejection has its status; no later attempt, and the app in force stays."""
    options, status, words = REJECTED[case]
    image = _app(updating, **options)

    async def tale(unit):
        await unit.in_sync()
        await unit.tell("otaurl", _job(server, image))
        await unit.until(lambda: (status, words) in _statuses(unit))
        assert _statuses(unit) == [STARTING[0], (status, words)]
        assert unit.place._state["slot"] == "ota_0"

    with serving(image, tls=updating.tls) as server:
        own = {"secure_version": 2} if "secure_version" in options else {}
        updating.play(tale, updating.spec(case.replace(" ", "-"), server_root=updating.trusted, **own))


def test_an_update_that_rolls_back(updating):
    """`rolls-back`: the new app restarts into the old one, which reports the rollback with the job's id."""
    image = _app(updating)

    async def tale(unit):
        await unit.in_sync()
        await unit.tell("otaurl", _job(server, image))
        await unit.until(lambda: ("rejected", "Firmware rolled back") in _statuses(unit))
        assert "Diagnostics failed! Start rollback to the previous version ..." in unit.text
        assert unit.told("otastatus")[-1]["ota_job_id"] == JOB
        assert [told["info"]["fw_version"] for told in unit.told("config")] == ["1.0.0", "1.0.0"]

    with serving(image, tls=updating.tls) as server:
        updating.play(tale, updating.spec("falls-back", "rolls-back", server_root=updating.trusted))


def test_an_update_without_statuses(updating):
    """`no-ota-status` updates itself in silence."""
    image = _app(updating)

    async def tale(unit):
        await unit.in_sync()
        await unit.tell("otaurl", _job(server, image))
        await unit.until(lambda: len(unit.told("otafetch")) == 2)
        assert unit.told("otafetch")[1]["fw_version"] == "2.0.0"
        assert _statuses(unit) == []

    with serving(image, tls=updating.tls) as server:
        updating.play(tale, updating.spec("no-status", "no-ota-status", server_root=updating.trusted))


@pytest.mark.parametrize("same", [True, False])
def test_a_broken_download_goes_on_where_it_was(same, updating):
    """After a power cut, the same file_md5 continues the download; a different one starts from the beginning."""
    image = _app(updating)
    reached, go_on = threading.Event(), threading.Event()

    def hold(_command, wanted):
        if wanted == "bytes=49152-65535" and not go_on.is_set():
            reached.set()
            go_on.wait(PATIENCE)

    async def tale(unit):
        await unit.in_sync()
        await unit.tell("otaurl", _job(server, image))
        await unit.until(reached.is_set)
        unit.board.power(False)
        go_on.set()
        unit.board.power(True)
        await unit.until(lambda: len(unit.told("otafetch")) == 2)
        server.asked.clear()
        await unit.tell("otaurl", _job(server, image, **({} if same else {"file_md5": "0" * 32})))
        await unit.until(lambda: len(unit.told("otafetch")) == 3)
        assert unit.told("otafetch")[2]["fw_version"] == "2.0.0"
        assert server.asked[1] == ("GET", f"bytes={'49152-65535' if same else '0-16383'}")
        assert ("File MD5 mismatch, seems a new firmware" in unit.text) == (not same)

    with serving(image, tls=updating.tls, before=hold) as server:
        updating.play(tale, updating.spec(f"breaks-{same}", server_root=updating.trusted))


def test_a_download_that_fails(updating):
    """Each of three attempts reports its failure, the app in force stays, and a second job is obeyed."""
    image = _app(updating)

    async def tale(unit):
        await unit.in_sync()
        await unit.tell("otaurl", _job(server, image, url=server.url + "x"))
        await unit.until(lambda: len(_statuses(unit)) == 6)
        assert [status for status, _ in _statuses(unit)] == ["in-progress", "failed"] * 3
        assert _statuses(unit)[-1][1].startswith("OTA Attempt 3/3 failed: OTA Begin failed")
        await unit.tell("otaurl", _job(server, image))
        await unit.until(lambda: _statuses(unit)[-1][0] == "success")

    with serving(image, tls=updating.tls) as server:
        updating.play(tale, updating.spec("fails", server_root=updating.trusted))


def test_a_factory_reset_loses_the_last_report(updating):
    """The job's id is in `nvs`: after a factory reset in the middle nothing is reported, and the update stays."""
    image = _app(updating)

    async def tale(unit):
        await unit.in_sync()
        await unit.tell("otaurl", _job(server, image))
        await unit.until(lambda: "First Boot after an OTA" in unit.text)
        unit.board.flash.erase(NVS, 0x6000)
        unit.board.flash.program(*_joined())
        await unit.until(lambda: len(unit.told("otafetch")) == 2)
        assert "Not reporting any status, since there is no Job ID available" in unit.text
        assert unit.told("otastatus")[-1]["status"] == "in-progress"
        assert unit.place._state["ota"] == "valid"

    with serving(image, tls=updating.tls) as server:
        updating.play(tale, updating.spec("loses", server_root=updating.trusted))


BAD_JOBS = {
    "no JSON": (b"{", [], "Not reporting any status"),
    "no job": ({"url": "https://x"}, [], "Aborted. OTA Job ID not found in JSON"),
    "no url": ({"ota_job_id": JOB}, [("failed", "Aborted. URL not found in JSON")], "OTA Job ID: Job-1"),
    "no web address": (
        {"ota_job_id": JOB, "url": "ftp://x"},
        [("failed", "OTA Begin failed: ESP_FAIL (errno=0: Invalid)")],
        "URL: ftp://x",
    ),
}


def test_messages_that_are_no_job(story):
    """What otaurl lacks is reported if there is a job to report it for."""

    async def tale(unit):
        await unit.in_sync()
        expected = []
        for message, statuses, line in BAD_JOBS.values():
            await unit.tell("otaurl", message)
            expected += statuses
            await unit.until(lambda line=line: line in unit.text)
            await unit.until(lambda: len(_statuses(unit)) == len(expected))  # noqa: B023 (it is called at once)
        assert _statuses(unit) == expected

    story.play(tale, story.spec("no-job"))


def test_an_update_server_that_is_not_trusted(updating):
    """The firmware's own root counts for updates, too."""

    async def tale(unit):
        await unit.in_sync()
        await unit.tell("otaurl", _job(server, b""))
        await unit.until(lambda: len(_statuses(unit)) == 6)
        assert server.asked == []

    with serving(b"", tls=updating.tls) as server:
        updating.play(tale, updating.spec("distrusts"))


def test_a_network_that_goes_away_and_comes_back(story):
    """Out of range the connection ends; a message of that time is sent after the next connection."""

    async def tale(unit):
        await unit.in_sync()
        around = unit.board.spec.networks
        unit.board.hear(())
        assert _threads() == []
        unit.board.uart.from_host(b"add-user user-2 key-2\r\n")
        await unit.until(lambda: "couldn't get hostname" in unit.text)
        unit.board.hear(around)
        await unit.until(lambda: len(unit.told("user/mapping")) == 2)
        assert unit.told("user/mapping")[1]["user_id"] == "user-2"
        assert unit.first_told()[3:5] == ["config", "user/mapping"]

    story.play(tale, story.spec("moves"))


def test_the_last_will_of_the_connectivity_service(story):
    """Firmware with the service reports that it is connected, and its broker reports the end of that."""

    async def tale(unit):
        await unit.in_sync()
        assert unit.told("config")[0]["services"][0]["name"] == "Connectivity"
        await unit.until(lambda: unit.told("params/local") == [{"Connectivity": {"Connected": True}}])
        unit.board.power(False)
        await unit.until(lambda: unit.told("params/local")[1:] == [{"Connectivity": {"Connected": False}}])

    story.play(tale, story.spec("wills", connectivity=True))


@pytest.mark.parametrize("ch_resp", [True, False])
def test_a_unit_is_provisioned_and_mapped_by_a_phone(ch_resp, story):
    """From a blank `nvs`: a phone names the user or challenges the node, joins it, and its cloud hears who owns it."""

    async def tale(unit):
        await unit.until(lambda: unit.board.service is not None)
        phone = Phone(through(unit.board), Sec1(bytes(range(4)).hex()))
        if ch_resp:
            status, signature, node_id = phone.challenge(b"challenge of the cloud")
            assert (status, node_id) == (0, unit.node_id.encode())
            certificate = x509.load_pem_x509_certificate(pair.certificate)
            certificate.public_key().verify(signature, b"challenge of the cloud", ec.ECDSA(hashes.SHA256()))
        else:
            phone.ask("cloud_user_assoc", pb((1, 0), (10, pb((1, b"user-1"), (2, b"key-1")))))
        assert phone.configure(FACTORY_NETWORK.ssid.encode(), FACTORY_NETWORK.password.encode()) == (0, 0)
        await unit.in_sync()
        assert unit.first_told() == ["config", "user/mapping", "params/local/init"]
        assert unit.told("user/mapping")[0]["user_id"] == ("esp-rmaker" if ch_resp else "user-1")

    node_id = f"phone-{ch_resp}"
    pair = story.cloud.lab.unit(node_id).pair
    options = {"pair": pair, "security": Security.X25519, "ch_resp": ch_resp, "joined": False}
    story.play(tale, story.spec(node_id, **options))


def test_power_off_ends_a_download(updating):
    """A server that answers byte by byte does not keep the thread of a board that has lost its power."""
    image = _app(updating)
    reached, go_on = threading.Event(), threading.Event()

    def hold(command, _range):
        if command == "HEAD":
            reached.set()
            go_on.wait(PATIENCE)

    async def tale(unit):
        await unit.in_sync()
        await unit.tell("otaurl", _job(server, image))
        await unit.until(reached.is_set)
        assert len(unit.place._tasks) == 1
        unit.board.power(False)
        await unit.until(lambda: not unit.place._tasks)
        assert not go_on.is_set()
        go_on.set()

    with serving(image, tls=updating.tls, before=hold) as server:
        updating.play(tale, updating.spec("drops", server_root=updating.trusted))


def test_boards_of_a_child_process(story):
    """Served boards connect, too; the control socket reports it, takes the network away, and switches the supply."""

    def connects(times: int) -> None:
        """It connects, and publishes its config."""
        until(lambda: board.state()["mqtt"] == "connected")
        until(lambda: len(story.cloud.messages("served", "config")) == times)

    with serve([story.spec("served")]) as (board,):
        connects(1)
        until(lambda: story.cloud.messages("served", "params/local/init"))  # they wait for what is acknowledged before
        board.control("network none")
        assert board.state()["mqtt"] != "connected"
        board.control("network rmfab-factory -40 factory-floor")
        connects(2)
        board.control("power off")
        assert board.state()["mqtt"] == "off"
        board.control("power on")
        connects(3)
