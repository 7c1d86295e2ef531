"""The networks around boards, their routes, and how `rmfab board` gets them."""

from __future__ import annotations

import pytest

from rmfab.cli import main
from rmfab.errors import StationError
from rmfab.operations.serve_boards import BoardsRequest
from rmfab.virtual.network import FACTORY_NETWORK, NEIGHBOURS, Route, with_routes

BROKER = Route("mqtt.example.com", "127.0.0.1", 8883)


@pytest.mark.parametrize(
    ("text", "route"),
    [
        ("mqtt.example.com=127.0.0.1:8883", BROKER),
        ("mqtt.example.com=[::1]:443", Route("mqtt.example.com", "::1", 443)),
        ("localhost=10.0.0.1:1", Route("localhost", "10.0.0.1", 1)),
    ],
)
def test_routes_are_parsed(text: str, route: Route) -> None:
    """A route is NAME=ADDRESS:PORT."""
    assert Route.parse(text) == route


@pytest.mark.parametrize(
    "text",
    ["", "x", "x=1.2.3.4", "=127.0.0.1:1", "x=localhost:1", "x=127.0.0.1:0", "x=127.0.0.1:65536", "X y=127.0.0.1:1"],
)
def test_what_is_no_route(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Anything else is a usage error that shows an example."""
    assert main(["board", "--route", text]) == 2
    assert "mqtt.example.com=127.0.0.1:8883" in capsys.readouterr().err


def test_names_are_resolved_regardless_of_case() -> None:
    """A name is found in any case, and no other name is found."""
    factory, *others = with_routes(BROKER)
    assert factory.route("MQTT.Example.com") == BROKER
    assert factory.route("example.com") is None
    assert all(network.routes == () for network in others)


def test_boards_of_the_command_have_its_routes() -> None:
    """`rmfab board --route` puts the boards into the factory's network with that route; without it nothing changes."""
    (spec,) = BoardsRequest(routes=(BROKER,)).specs()
    assert spec.networks[0].ssid == FACTORY_NETWORK.ssid
    assert spec.networks[0].routes == (BROKER,)
    (spec,) = BoardsRequest().specs()
    assert spec.networks == NEIGHBOURS


def test_a_route_needs_paho(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without paho-mqtt a route is an error that says how to install it."""
    monkeypatch.setattr("rmfab.operations.serve_boards.is_available", lambda: False)
    with pytest.raises(StationError) as refusal:
        BoardsRequest(routes=(BROKER,))
    assert refusal.value.cause == "no-paho"
    BoardsRequest()
