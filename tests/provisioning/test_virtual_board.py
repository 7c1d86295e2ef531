"""The client against virtual boards, an independent implementation of the protocol, over their real HTTP port."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from rmfab.errors import UnitFault
from rmfab.identity import sec2_verifier
from rmfab.nvs.reader import read_image
from rmfab.product.product import Provisioning, ScanPolicy
from rmfab.product.vocabulary import Chip, Credentials, Security
from rmfab.provisioning.check import check_key, check_scan, check_session, check_wrong_pop
from rmfab.provisioning.failures import LinkError
from rmfab.provisioning.http import HttpTransport
from rmfab.provisioning.session import ProvisioningSession
from rmfab.provisioning.wifi_messages import JoinFailure, JoinState
from rmfab.secret import Secret
from rmfab.virtual.bench.serving import BoardHandle, serve
from rmfab.virtual.faults import FaultCall
from rmfab.virtual.network import FACTORY_NETWORK
from rmfab.virtual.spec import BoardSpec, Strap
from tests.virtual.rig import FCTRY, factory_image, parts

RANDOM = bytes(range(64))
POP = Secret(RANDOM[:4].hex())
NODE = "NodeOfThisVeryTest"
KEYS = {"ecdsa": ec.generate_private_key(ec.SECP256R1()), "rsa": rsa.generate_private_key(65537, 2048)}


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> tuple[bytes, bytes]:
    """Certificate and key in PEM."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NODE)])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    private = key.private_bytes(encoding, form, serialization.NoEncryption())
    return builder.sign(key, hashes.SHA256()).public_bytes(encoding), private


CERTIFICATES = {kind: pem(key) for kind, key in KEYS.items()}


SALT = bytes(range(1, 17))
VERIFIER = sec2_verifier.verifier("wifiprov", POP, SALT).reveal()

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

FIRMWARE: dict[str, dict[str, object]] = {"old nonce": {"sec_patch_ver": 0}, "no challenge": {"ch_resp": False}}


def spec(folder: Path, number: int, name: str) -> BoardSpec:
    """Return the board called *name*, with the flash that a line would have written."""
    security, key, changes, fault = BOARDS[name]
    certificate, private = CERTIFICATES[key]
    told = {
        "client_cert": certificate,
        "client_key": private,
        "random": RANDOM,
        "sec2_salt": SALT,
        "sec2_verifier": VERIFIER,
    } | changes
    if name == "zero salt":
        told["sec2_verifier"] = sec2_verifier.verifier("wifiprov", POP, bytes(2) + SALT[2:]).reveal()
    flash = bytearray(b"\xff" * (4 << 20))
    for offset, data in parts(factory=factory_image(**told), security=Security(security), **FIRMWARE.get(name, {})):
        flash[offset : offset + len(data)] = data
    file = folder / f"{number}.bin"
    file.write_bytes(flash)
    faults = (FaultCall.parse(fault),) if fault else ()
    return BoardSpec(Chip.ESP32C3, number, flash_file=file, strap=Strap.RUN, faults=faults)


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BoardHandle]]:
    """All of BOARDS by name, booted from their flash and offering provisioning."""
    while True:
        folder = tmp_path_factory.mktemp("boards")
        specs = [spec(folder, number, name) for number, name in enumerate(BOARDS)]
        with serve(specs) as handles:
            ending = time.monotonic() + 30
            while not all(handle.state()["serving"] for handle in handles):
                assert time.monotonic() < ending
                time.sleep(0.1)
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


def link(handle: BoardHandle, timeout: float = 10.0) -> closing[HttpTransport]:
    """A transport to the board, closed at the end of the block."""
    return closing(HttpTransport(handle.provisioning_url, timeout=timeout))


def opened(transport: HttpTransport, security: int = 2) -> ProvisioningSession:
    """Open a session by the check."""
    policy = Provisioning(security=Security(security))
    return check_session(transport, policy, Credentials.CERTIFICATE, POP, os.urandom)


@pytest.mark.parametrize("name", ["plain", "sec1", "sec2", "rsa", "own pair", "zero salt", "old nonce"])
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
    with link(boards[name], timeout=1.0) as transport, pytest.raises(UnitFault) as caught:
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


def test_five_wrong_pops_stop_provisioning(boards: dict[str, BoardHandle]) -> None:
    """The board counts every wrong PoP once; after five it is a station error until its restart."""
    for _ in range(5):
        with link(boards["counts"]) as transport:
            check_wrong_pop(transport, Provisioning(), POP, os.urandom)
    ending = time.monotonic() + 10
    while boards["counts"].state()["serving"]:
        assert time.monotonic() < ending
        time.sleep(0.05)
    with link(boards["counts"]) as transport, pytest.raises(LinkError) as caught:
        opened(transport)
    assert caught.value.cause == "unreachable"


def test_a_board_that_loses_power(boards: dict[str, BoardHandle]) -> None:
    """A board that loses power in the middle of a session is lost, which is not the unit's fault."""
    with link(boards["lost"]) as transport:
        session = opened(transport)
        boards["lost"].control("power off")
        with pytest.raises(LinkError) as caught:
            session.node_id()
    assert caught.value.cause == "link-lost"


@pytest.mark.parametrize("name", ["joins", "fails to join"])
def test_joining(boards: dict[str, BoardHandle], name: str) -> None:
    """Joining a network works up to the IP address; a wrong passphrase is reported as such."""
    passphrase = Secret(FACTORY_NETWORK.password if name == "joins" else "not the password")
    with link(boards[name]) as transport:
        session = opened(transport)
        session.configure(FACTORY_NETWORK.ssid, passphrase)
        session.apply()
        ending = time.monotonic() + 20
        while (told := session.status()).state is JoinState.CONNECTING:
            assert time.monotonic() < ending
            time.sleep(0.05)
    if name == "joins":
        assert (told.state, bool(told.ip4)) == (JoinState.CONNECTED, True)
    else:
        assert (told.state, told.failure) == (JoinState.FAILED, JoinFailure.AUTHENTICATION)
