"""The demo's cloud: a broker, and the API of a deployment, on this host, for units on virtual boards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rmfab.cloud.mosquitto import find_mosquitto
from rmfab.files import write_file
from rmfab.ledger.events import Outcome
from rmfab.line.events import UnitEnded
from rmfab.line.station import Slot
from rmfab.operations.check_cloud import CheckRequest, UnitChecked, check_cloud
from rmfab.operations.open_registrar import CloudAccess
from rmfab.operations.register_units import RegisterRequest, RegisterSummary, register_units
from rmfab.operations.serve_api import ApiRehearsalRequest, ServedApi, serve_rehearsal
from rmfab.operations.serve_boards import refuse_without_mqtt
from rmfab.operations.serve_cloud import BrokerRequest, ServedBroker, serve_broker
from rmfab.operations.terminal import Terminal, counted
from rmfab.operations.try_update import TryRequest
from rmfab.product.toml_reader import toml_value
from rmfab.virtual.network import FACTORY_NETWORK, AccessPoint, Route, with_routes
from rmfab.workspace.workspace import STATION_FILE, Workspace

HOST = "mqtt.demo.example.com"
"""The `mqtt_host` of the demo's units."""
PARAMETER = "Light.Power"
"""The parameter of the virtual lamp that the line switches from its cloud."""
_NETWORK_FILE = "factory-wifi.toml"
_SWITCHED = {
    "join = false  ": "join = true   ",
    'cloud = "off"  ': 'cloud = "witness"  ',
    'cloud_param = ""  ': f'cloud_param = "{PARAMETER}"  ',
}
"""Lines of the shipped product.toml."""


@dataclass(frozen=True)
class DemoCloud:
    """A *broker* and an *api* that run."""

    broker: ServedBroker
    api: ServedApi

    @property
    def networks(self) -> tuple[AccessPoint, ...]:
        """The networks around the boards; the factory's leads to the broker."""
        return with_routes(Route(HOST, "127.0.0.1", self.broker.port))

    @property
    def roots(self) -> str:
        """The certificates (PEM) of the CAs that the units' firmware trusts: for the broker, and for updates."""
        return "".join(path.read_text(encoding="ascii") for path in (self.broker.folder.ca, self.api.folder.ca))

    def update(self, unit: UnitEnded, slot: Slot, bundle: Path) -> TryRequest:
        """Return the request that *unit* in *slot* loads the release *bundle* over the air, and then its own again."""
        pair = self.api.folder.pair(())
        return TryRequest(
            unit.serial or "", bundle, (), pair.certificate, str(pair.key), tcp_port=0, back=True, slots=(slot,)
        )


def refuse_without_programs() -> None:
    """Raise StationError if this host lacks what a demo with its cloud needs, before anything is made."""
    find_mosquitto()
    refuse_without_mqtt("leave --cloud out")


def with_cloud(product: str) -> str:
    """Return the text of product.toml with the step `cloud`, and the join that it needs, switched on."""
    for off, on in _SWITCHED.items():
        product = product.replace(off, on)
    return product


@contextmanager
def demo_cloud(workspace: Workspace, terminal: Terminal) -> Iterator[DemoCloud]:
    """Start broker and API, write the station.toml that names them, and stop them at the end."""
    with (
        serve_broker(workspace, BrokerRequest(tcp_port=0), terminal) as broker,
        serve_rehearsal(workspace, ApiRehearsalRequest(tcp_port=0), terminal) as api,
    ):
        _write_station(workspace.root, broker)
        yield DemoCloud(broker, api)


def _write_station(root: Path, broker: ServedBroker) -> None:
    """Write the station's files: the network that units join, and the broker with its witness."""
    network = {"ssid": FACTORY_NETWORK.ssid, "passphrase": FACTORY_NETWORK.password}
    folder = broker.folder
    cloud = {
        "host": broker.host,
        "tcp_port": broker.port,
        "ca": str(folder.ca.relative_to(root.resolve())),
        "witness_cert": str(folder.certificate("witness").relative_to(root.resolve())),
        "witness_key": str(folder.key("witness").relative_to(root.resolve())),
    }
    station = ["[station]", 'name = "demo"', "", "[provisioning]", f'network = "{_NETWORK_FILE}"', "", "[cloud]"]
    write_file(root / _NETWORK_FILE, _toml(network).encode(), secret=True)
    write_file(root / STATION_FILE, ("\n".join(station) + "\n" + _toml(cloud)).encode())


def _toml(values: Mapping[str, object]) -> str:
    return "".join(f"{name} = {toml_value(value)}\n" for name, value in values.items())


def enter_units(workspace: Workspace, cloud: DemoCloud, batch: str, terminal: Terminal) -> None:
    """Register the units of *batch* at the cloud, and check that its broker lets them in. Raise as these do."""
    folder = cloud.api.folder
    access = CloudAccess(folder.deployment, password_file=folder.password)
    for told in register_units(workspace, RegisterRequest((batch,), access), terminal):
        if isinstance(told, RegisterSummary):
            terminal.say(f"registered {counted(told.registered, 'unit')} at {told.cloud}")
    checked = [one for one in check_cloud(workspace, CheckRequest((batch,)), terminal) if isinstance(one, UnitChecked)]
    passed = sum(one.outcome is Outcome.PASS for one in checked)
    terminal.say(f"checked the credentials of {counted(passed, 'unit')} at {cloud.broker.url}")
