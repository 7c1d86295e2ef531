"""The broker of the units as this station reaches it, from station.toml and product.toml; and its witness there."""

from __future__ import annotations

from rmfab.cloud.broker import ALPN_PORT, Broker
from rmfab.cloud.credentials import ClientPair
from rmfab.errors import InputError
from rmfab.line.line_witness import LineWitness
from rmfab.line.station import StationBroker
from rmfab.operations.client_files import load_authorities, load_pair
from rmfab.operations.terminal import Terminal
from rmfab.workspace.workspace import Workspace

PATIENCE_SECONDS = 10.0


def broker_of(workspace: Workspace, station: StationBroker, patience: float = PATIENCE_SECONDS) -> Broker:
    """Return the broker that *station* describes. Raise InputError if its CA cannot be read."""
    host = station.host or workspace.product.identity.mqtt_host
    ca = None if station.ca is None else load_authorities(station.ca)
    return Broker(host, station.tcp_port or ALPN_PORT, ca, patience=patience)


def witness_pair(station: StationBroker, terminal: Terminal) -> ClientPair | None:
    """Return the credentials of the station's witness, None if it has none. Raise InputError if they are bad."""
    if station.witness_cert is None or station.witness_key is None:
        return None
    return load_pair(station.witness_cert, str(station.witness_key), terminal)


def line_witness(workspace: Workspace, terminal: Terminal) -> LineWitness:
    """Return the witness of a line whose product requires one. Raise InputError (`no-witness`) if there is none."""
    station = workspace.station.broker or StationBroker()
    pair = witness_pair(station, terminal)
    if pair is None:
        raise InputError(
            '[verify] cloud = "witness" requires a witness at the broker, and this station has none',
            hint='set witness_cert and witness_key in station.toml ([cloud]), or cloud = "console" in product.toml',
            cause="no-witness",
        )
    return LineWitness(broker_of(workspace, station), pair)
