"""The client against virtual boards, an independent implementation of the protocol, over their real HTTP port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from rmfab.errors import UnitFault
from rmfab.identity import sec2_verifier
from rmfab.nvs.reader import read_image
from rmfab.product.product import Provisioning, ScanPolicy
from rmfab.product.vocabulary import Credentials, Security
from rmfab.provisioning.check import check_key, check_scan, check_session, check_wrong_pop
from rmfab.provisioning.failures import LinkError
from rmfab.provisioning.http import HttpTransport
from rmfab.provisioning.session import ProvisioningSession
from rmfab.provisioning.wifi_messages import JoinFailure, JoinState
from rmfab.secret import Secret
from rmfab.virtual.bench.serving import BoardHandle, serve
from rmfab.virtual.network import FACTORY_NETWORK
from rmfab.virtual.spec import BoardSpec
from tests.patience import PATIENCE, until
from tests.provisioning.boards import CERTIFICATES, NODE, POP, SALT, written
from tests.virtual.rig import FCTRY

# Each board: its firmware's security, its key, the differences of its factory image, its fault.
BOARDS: dict[str, tuple[int, str, dict[str, object], str]] = {
    "plain": (0, "ecdsa", {}, ""),
    "sec1": (1, "ecdsa", {}, ""),
    "sec2": (2, "ecdsa", {}, ""),
    "rsa": (2, "rsa", {}, ""),
    "own pair": (2, "ecdsa", {"sec2_salt": None, "sec2_verifier": None}, ""),
    "zero salt": (2, "ecdsa", {"sec2_salt": bytes(2) + SALT[2:]}, ""),
    "other random": (2, "ecdsa", {"random": bytes(64), "sec2_salt": None, "sec2_verifier": None}, ""),
    "old nonce": (2, "ecdsa", {}, ""),
    "first challenge": (2, "rsa", {}, ""),
    "no challenge": (2, "ecdsa", {}, ""),
    "claims": (2, "ecdsa", {"client_cert": None, "client_key": None}, ""),
    "counts": (2, "ecdsa", {}, ""),
    "lost": (2, "ecdsa", {}, ""),
    "joins": (2, "ecdsa", {}, ""),
    "fails to join": (2, "ecdsa", {}, ""),
    "wrong-pop": (2, "ecdsa", {}, "wrong-pop"),
    "wrong-verifier": (2, "ecdsa", {}, "wrong-verifier"),
    "wrong-key": (2, "ecdsa", {}, "wrong-key"),
    "plain-security": (2, "ecdsa", {}, "plain-security"),
    "other-cookie": (2, "ecdsa", {}, "other-cookie"),
    "stalled-session": (2, "ecdsa", {}, "stalled-session"),
    "short-reply": (2, "ecdsa", {}, "short-reply"),
}

FIRMWARE: dict[str, dict[str, object]] = {
    "old nonce": {"idf_version": "v5.4"},
    "first challenge": {"first_ch_resp": True},
    "no challenge": {"ch_resp": False},
}


def spec(folder: Path, number: int, name: str) -> BoardSpec:
    """Return the board called *name*, with the flash that a line would have written."""
    security, key, changes, fault = BOARDS[name]
    if name == "zero salt":
        salt = changes["sec2_salt"]
        changes = changes | {"sec2_verifier": sec2_verifier.verifier("wifiprov", POP, salt).reveal()}
    options = {"security": Security(security)} | FIRMWARE.get(name, {})
    return written(folder / f"{number}.bin", number, key, changes, options, (fault,) if fault else ())


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BoardHandle]]:
    """All of BOARDS by name, booted from their flash and offering provisioning."""
    while True:
        folder = tmp_path_factory.mktemp("boards")
        specs = [spec(folder, number, name) for number, name in enumerate(BOARDS)]
        with serve(specs) as handles:
            until(lambda: all(handle.state()["serving"] for handle in handles))
            served = dict(zip(BOARDS, handles, strict=True))
            if _fits(served["own pair"]):
                yield served
                return


def _fits(board: BoardHandle) -> bool:
    """Return whether the generated salt and verifier work: on 1 of 256 boards the salt starts with a zero byte, and no
    session can be opened, as with the real firmware.
    """
    assert board.flash_file is not None
    with board.flash_file.open("rb") as stream:
        stream.seek(FCTRY)
        image = read_image(stream.read(0x6000))
    salt, verifier = (image.value("rmaker_creds", key) for key in ("sec2_salt", "sec2_verifier"))
    assert isinstance(salt, bytes)
    return verifier == sec2_verifier.verifier("wifiprov", POP, salt).reveal()


def link(handle: BoardHandle, timeout: float = PATIENCE) -> closing[HttpTransport]:
    """A transport to the board, closed at the end of the block."""
    return closing(HttpTransport(handle.provisioning_url, timeout=timeout))


def opened(transport: HttpTransport, security: int = 2) -> ProvisioningSession:
    """Open a session by the check."""
    policy = Provisioning(security=Security(security))
    return check_session(transport, policy, Credentials.CERTIFICATE, POP, os.urandom)


@pytest.mark.parametrize(
    "name", ["plain", "sec1", "sec2", "rsa", "own pair", "zero salt", "old nonce", "first challenge"]
)
def test_good_boards(boards: dict[str, BoardHandle], name: str) -> None:
    """Session, key and scan pass for every scheme, key and origin of the sec2 pair, also several times in a row."""
    security, key, *_ = BOARDS[name]
    for _ in range(2):
        with link(boards[name]) as transport:
            session = opened(transport, security)
            check_key(session, NODE, CERTIFICATES[key][0], os.urandom)
            assert check_scan(session, ScanPolicy(FACTORY_NETWORK.ssid)).networks > 1


@pytest.mark.parametrize("name", ["sec1", "sec2"])
def test_a_wrong_pop_is_refused(boards: dict[str, BoardHandle], name: str) -> None:
    """The board rejects a wrong PoP, and the right one still opens a session afterwards."""
    policy = Provisioning(security=Security(BOARDS[name][0]))
    with link(boards[name]) as transport:
        check_wrong_pop(transport, policy, POP, os.urandom)
    with link(boards[name]) as transport:
        opened(transport, BOARDS[name][0])


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("other random", "wrong-pop-in-unit"),
        ("wrong-pop", "wrong-pop-in-unit"),
        ("wrong-verifier", "wrong-pop-in-unit"),
        ("plain-security", "sec0-offered"),
        ("other-cookie", "cookie-mismatch"),
        ("stalled-session", "stalled"),
        ("short-reply", "cut-short"),
        ("claims", "claiming"),
    ],
)
def test_bad_boards(boards: dict[str, BoardHandle], name: str, cause: str) -> None:
    """Each fault FAILs its board with its own cause."""
    with (
        link(boards[name], timeout=1.0 if name == "stalled-session" else PATIENCE) as transport,
        pytest.raises(UnitFault) as caught,
    ):
        opened(transport)
    assert caught.value.cause == cause


def test_a_key_of_another_certificate(boards: dict[str, BoardHandle]) -> None:
    """A board that signs with the wrong key fails the challenge."""
    with link(boards["wrong-key"]) as transport, pytest.raises(UnitFault) as caught:
        check_key(opened(transport), NODE, CERTIFICATES["ecdsa"][0], os.urandom)
    assert caught.value.cause == "key-mismatch"


def test_a_firmware_without_challenges(boards: dict[str, BoardHandle]) -> None:
    """A firmware built without challenge-response reports that; its session is good."""
    with link(boards["no challenge"]) as transport:
        session = opened(transport)
        with pytest.raises(UnitFault) as caught:
            check_key(session, NODE, CERTIFICATES["ecdsa"][0], os.urandom)
    assert caught.value.cause == "no-challenge-response"


def test_boards_at_once(boards: dict[str, BoardHandle]) -> None:
    """Boards are checked in parallel over HTTP."""

    def work(name: str) -> None:
        with link(boards[name]) as transport:
            check_key(opened(transport, BOARDS[name][0]), NODE, CERTIFICATES[BOARDS[name][1]][0], os.urandom)

    names = ["sec1", "sec2", "rsa", "own pair", "zero salt", "old nonce"]
    with ThreadPoolExecutor(len(names)) as pool:
        assert list(pool.map(work, names)) == [None] * len(names)


@pytest.mark.slow
def test_five_wrong_pops_stop_provisioning(boards: dict[str, BoardHandle]) -> None:
    """The board counts every wrong PoP once; after five it is a station error until its restart."""
    for _ in range(5):
        with link(boards["counts"]) as transport:
            check_wrong_pop(transport, Provisioning(), POP, os.urandom)
    until(lambda: not boards["counts"].state()["serving"])
    with link(boards["counts"]) as transport, pytest.raises(LinkError) as caught:
        opened(transport)
    assert caught.value.cause == "unreachable"


def test_a_board_that_loses_power(boards: dict[str, BoardHandle]) -> None:
    """A board that loses power in the middle of a session is lost, which is not the unit's fault."""
    with link(boards["lost"]) as transport:
        session = opened(transport)
        boards["lost"].control("power off")
        with pytest.raises(LinkError) as caught:
            session.challenge(b"nonce")
    assert caught.value.cause == "link-lost"


@pytest.mark.parametrize("name", ["joins", "fails to join"])
def test_joining(boards: dict[str, BoardHandle], name: str) -> None:
    """Joining a network works up to the IP address; a wrong passphrase is reported as such."""
    passphrase = Secret(FACTORY_NETWORK.password if name == "joins" else "not the password")
    with link(boards[name]) as transport:
        session = opened(transport)
        session.configure(FACTORY_NETWORK.ssid, passphrase)
        session.apply()
        until(lambda: session.status().state is not JoinState.CONNECTING)
        told = session.status()
    if name == "joins":
        assert (told.state, bool(told.ip4)) == (JoinState.CONNECTED, True)
    else:
        assert (told.state, told.failure) == (JoinState.FAILED, JoinFailure.AUTHENTICATION)
