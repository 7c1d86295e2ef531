"""esp-rainmaker-cli, which nobody here wrote, provisions virtual boards as it does the units of its users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rmfab.product.vocabulary import Security
from rmfab.virtual.bench.serving import BoardHandle, serve
from rmfab.virtual.network import FACTORY_NETWORK, NEIGHBOURS
from tests.patience import until
from tests.peers.environment import call_cli
from tests.peers.mapping_server import TOKEN, MappingServer, mapping_server
from tests.provisioning.boards import CERTIFICATES, NODE, POP, written

pytestmark = pytest.mark.peers

Call = Callable[..., dict[str, Any]]

# Each kind of firmware: its options, and what it offers (security, and the revision of security 2).
KINDS: dict[str, tuple[dict[str, object], list[int]]] = {
    "security 0": ({"security": Security.PLAIN}, [0, 0]),
    "security 1": ({"security": Security.X25519}, [1, 0]),
    "security 2, 16-byte nonce": ({"idf_version": "v5.3.2"}, [2, 0]),
    "security 2, counting nonce": ({"idf_version": "v5.3.3"}, [2, 1]),
    "first challenges": ({"first_ch_resp": True}, [2, 1]),
    "cloud_user_assoc": ({"ch_resp": False}, [2, 1]),
    "cloud_user_assoc, 16-byte nonce": ({"ch_resp": False, "idf_version": "v5.1.6"}, [2, 0]),
}
MAPPED = [name for name, (options, _) in KINDS.items() if options.get("ch_resp", True)]
ASSOCIATED = [name for name in KINDS if name not in MAPPED]
RIGHT = {"ssid": FACTORY_NETWORK.ssid, "passphrase": FACTORY_NETWORK.password}


@pytest.fixture(scope="module")
def boards(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BoardHandle]]:
    """One board of each kind to talk to, two more that join or fail to, and one that loses its challenges."""
    folder = tmp_path_factory.mktemp("flash")
    names = [*KINDS, *(f"{name} joins" for name in KINDS), *(f"{name} fails" for name in KINDS), "security 1 disabled"]
    specs = [
        written(folder / f"{number}.bin", number, "rsa" if number % 2 else "ecdsa", {}, _options(name))
        for number, name in enumerate(names)
    ]
    with serve(specs) as handles:
        until(lambda: all(handle.state()["serving"] for handle in handles))
        yield dict(zip(names, handles, strict=True))


def _options(name: str) -> dict[str, object]:
    for suffix in (" joins", " fails", " disabled"):
        name = name.removesuffix(suffix)
    return KINDS[name][0]


@pytest.fixture(scope="module")
def clouds() -> Iterator[dict[str, MappingServer]]:
    """A cloud for each kind of key that the boards have."""
    with (
        mapping_server({NODE: CERTIFICATES["ecdsa"][0]}) as ecdsa,
        mapping_server({NODE: CERTIFICATES["rsa"][0]}) as rsa,
    ):
        yield {"ecdsa": ecdsa, "rsa": rsa}


@pytest.fixture(scope="module")
def call(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Asks the package."""
    logs = tmp_path_factory.mktemp("logs")
    return lambda do, **request: call_cli(peers, logs, do, **request)


def place(board: BoardHandle) -> str:
    """Where a board offers provisioning, as the package wants it."""
    return board.provisioning_url.removeprefix("http://")


def key_of(boards: dict[str, BoardHandle], name: str) -> str:
    """The kind of key of a board."""
    return "rsa" if list(boards).index(name) % 2 else "ecdsa"


@pytest.mark.parametrize("name", KINDS)
def test_session_and_scan(boards: dict[str, BoardHandle], call: Call, name: str) -> None:
    """The package opens a session with the label's PoP, under the security that it finds, and scans."""
    said = call("converse", place=place(boards[name]), pop=POP.reveal(), steps=[["session"], ["scan"]])
    assert (said["offered"], said["session"]) == (KINDS[name][1], True)
    heard = [(one["ssid"], one["rssi"], one["channel"]) for one in said["scan"]]
    assert heard == [(network.ssid, network.rssi, network.channel) for network in NEIGHBOURS]


@pytest.mark.parametrize("name", [name for name, (_, offered) in KINDS.items() if offered[0]])
def test_a_wrong_pop(boards: dict[str, BoardHandle], call: Call, name: str) -> None:
    """A wrong PoP opens no session."""
    said = call("converse", place=place(boards[name]), pop="ffffffff", steps=[["session"], ["scan"]])
    assert said["session"] is False
    assert "scan" not in said


@pytest.mark.parametrize("name", MAPPED)
def test_challenge_response(
    boards: dict[str, BoardHandle], clouds: dict[str, MappingServer], call: Call, name: str
) -> None:
    """The unit's signature satisfies a cloud that has its certificate, and none that has another."""
    own = key_of(boards, name)
    other = {"rsa": "ecdsa", "ecdsa": "rsa"}[own]
    for kind, mapped in ((other, [False, None]), (own, [True, NODE])):
        before = len(clouds[kind].mapped)
        steps = [["session"], ["map", clouds[kind].host, TOKEN]]
        said = call("converse", place=place(boards[name]), pop=POP.reveal(), steps=steps)
        assert said["map"] == mapped
        assert len(clouds[kind].mapped) - before == (1 if mapped[0] else 0)


@pytest.mark.parametrize("name", ASSOCIATED)
def test_cloud_user_assoc(boards: dict[str, BoardHandle], call: Call, name: str) -> None:
    """Firmware without challenge-response takes the user by the older endpoint, and answers with its node id."""
    steps = [["session"], ["associate", "user-1", "key-1"]]
    said = call("converse", place=place(boards[name]), pop=POP.reveal(), steps=steps)
    assert said["associate"] == [0, NODE]


def test_disabled_challenges(boards: dict[str, BoardHandle], clouds: dict[str, MappingServer], call: Call) -> None:
    """The package can end challenges for ever; afterwards the unit refuses to be mapped, in any session."""
    board = boards["security 1 disabled"]
    cloud = clouds[key_of(boards, "security 1 disabled")]
    steps: list[list[str]] = [["session"], ["disable"], ["map", cloud.host, TOKEN]]
    said = call("converse", place=place(board), pop=POP.reveal(), steps=steps)
    assert (said["disable"], said["map"]) == (True, [False, None])


def test_the_whole_flow(boards: dict[str, BoardHandle], clouds: dict[str, MappingServer], call: Call) -> None:
    """Its own `provision_device` maps the node, hands over the network, and waits until the unit has joined.

    With a wrong passphrase it is told so, and its reset by `prov-ctrl` leaves a unit that can be tried again.
    """

    def provision(name: str, passphrase: str) -> dict[str, Any]:
        cloud = clouds[key_of(boards, name)]
        credentials = RIGHT | {"userid": "user-1", "secretkey": "key-1", "passphrase": passphrase}
        login = [cloud.host, TOKEN]
        return call("provision", place=place(boards[name]), pop=POP.reveal(), cloud=login, **credentials)

    jobs = {name: FACTORY_NETWORK.password if name.endswith("joins") else "not-the-right-one" for name in boards}
    jobs = {name: passphrase for name, passphrase in jobs.items() if name.endswith(("joins", "fails"))}
    with ThreadPoolExecutor(len(jobs)) as pool:
        said = dict(zip(jobs, pool.map(provision, jobs, jobs.values()), strict=True))
    joined = {name: said[f"{name} joins"] for name in KINDS}
    assert joined == {name: {"result": [NODE, name in MAPPED]} for name in KINDS}
    assert {name: said[f"{name} fails"] for name in KINDS} == {name: {"result": [None, False, True]} for name in KINDS}
    again = provision("security 1 fails", FACTORY_NETWORK.password)
    assert again == {"result": [NODE, True]}
