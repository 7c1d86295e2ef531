"""Boards on real mosquitto: what they publish and obey, watched by paho-mqtt, and each fault of theirs."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from rmfab.nvs.packing import pack
from rmfab.nvs.table import Entry, EntryKind
from rmfab.product.vocabulary import Chip
from rmfab.virtual import BoardSpec, FaultCall, PortKind, Strap
from rmfab.virtual.bench.place import Bench
from rmfab.virtual.network import FACTORY_NETWORK
from tests.patience import PATIENCE
from tests.virtual.broker import HOST, cloud
from tests.virtual.rig import NVS, factory_image, parts, plain

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

    async def in_sync(self):
        """Wait until the unit has done all that it does after a start."""
        await self.until(lambda: self.told("otafetch"))


class Story:
    """Boards with credentials of the broker's CA, on a bench of this process."""

    def __init__(self, watched, folder):
        self.cloud, self.folder = watched, folder
        self._numbers = iter(range(100))

    def flash(self, node_id, *, more=(), **options):
        """Return a flash with a release, the credentials of *node_id*, and the factory's network."""
        pair = self.cloud.lab.unit(node_id).pair
        factory = factory_image(
            node_id=node_id.encode(),
            mqtt_host=HOST.encode(),
            client_cert=pair.certificate,
            client_key=pair.key.reveal(),
        )
        cells = bytearray(b"\xff" * (4 << 20))
        firmware = {"server_root": self.cloud.root} | options
        for offset, data in [*parts(factory=factory, **firmware), _joined(), *more]:
            cells[offset : offset + len(data)] = data
        path = self.folder / f"{node_id}.bin"
        path.write_bytes(cells)
        return path

    def spec(self, node_id, *faults, **options):
        return BoardSpec(
            Chip.ESP32C3,
            index=next(self._numbers),
            link=PortKind.SOCKET,
            strap=Strap.RUN,
            flash_file=self.flash(node_id, **options),
            networks=(self.cloud.network,),
            faults=tuple(map(FaultCall.parse, faults)),
        )

    def play(self, tale, *specs):
        """Run the coroutine *tale* with a seat for each board; afterwards no thread of theirs is left."""

        async def run():
            async with Bench(specs, self.folder / "bench") as bench:
                seats = [Seat(p, p.board.spec.flash_file.stem, self.cloud) for p in bench.places]
                await tale(*seats)

        asyncio.run(run())
        assert [thread for thread in threading.enumerate() if thread.name.startswith("mqtt ")] == []


@pytest.fixture
def story(watched, tmp_path: Path):
    return Story(watched, tmp_path)


def test_a_provisioned_unit_talks_to_its_cloud(story):
    """Config first, the reset of the mapping, all parameters, then the question for updates, by basic ingest."""

    async def tale(unit):
        await unit.in_sync()
        assert story.cloud.order(unit.node_id) == ["config", "user/mapping", "params/local/init", "otafetch"]
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
