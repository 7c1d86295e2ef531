"""Units that attack the line, before their session is open and after: each FAILs, soon, with a cause that says how."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from rmfab.errors import UnitFault
from rmfab.product.product import ScanPolicy
from rmfab.product.vocabulary import Credentials
from rmfab.provisioning.check import check_key, check_scan, check_session, judge_joined
from rmfab.provisioning.failures import ProtocolError
from rmfab.provisioning.http import HttpTransport
from rmfab.provisioning.patience import Overdue, Patience
from rmfab.secret import Secret
from tests.patience import PATIENCE
from tests.provisioning.device import Device, N, fields, num, raw
from tests.provisioning.links import Direct, answering, soft_ap
from tests.provisioning.test_check import KEY, POP, certificate, product

NETWORK = "factory"
Lie = Callable[[bytes], bytes | None]
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
# Points of small order on Curve25519 and its twist (RFC 7748 section 6.1): any of them makes a shared secret of zeros.
LOW_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    b"\xec" + b"\xff" * 30 + b"\x7f",
    b"\xed" + b"\xff" * 30 + b"\x7f",
]


@dataclass
class Liar(Device):
    """A unit that answers well, except where *lies* has another answer: by endpoint and number of the request there.

    Lies after the handshake are told before encryption; those of *sealed* replace the encrypted answer.
    """

    lies: dict[str, Lie] = field(default_factory=dict)
    sealed: dict[str, Lie] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)
    last: bytes = b""

    def post(self, endpoint: str, body: bytes) -> bytes | None:
        self.heard.append(endpoint)
        name = f"{endpoint}/{self.heard.count(endpoint)}"
        if self.cipher is None or endpoint in ("proto-ver", "prov-session"):
            answer = super().post(endpoint, body)
            return answer if answer is None else self.lies.get(name, lambda told: told)(answer)
        encrypt, decrypt = self.cipher
        handler = {"ch_resp": self._challenge, "prov-scan": self._scan, "prov-config": self._config}[endpoint]
        try:
            asked = fields(decrypt(body))
        except InvalidTag:
            return None
        answer = self.lies.get(name, lambda told: told)(handler(asked))
        if answer is None:
            return None
        told = self.sealed.get(name, lambda told: told)(encrypt(answer))
        self.last = told or b""
        return told


def always(answer: bytes | None) -> Lie:
    return lambda _: answer


def meet(device: Device) -> None:
    """All that the line does with a unit: session, key, scan, joining."""
    session = check_session(Direct(device), product(device.security), Credentials.CERTIFICATE, POP, os.urandom)
    check_key(session, "node-1", certificate(KEY), os.urandom)
    check_scan(session, ScanPolicy(NETWORK))
    session.configure(NETWORK, Secret("correct horse"))
    session.apply()
    judge_joined(session.status(), NETWORK)


def unit(security: int = 1, **told: Any) -> Liar:
    """A unit that passes but for its lies."""
    return Liar(security=security, key=KEY, networks=[(NETWORK.encode(), -50), (b"Canteen", -70)], **told)


@pytest.mark.parametrize("security", [1, 2])
def test_without_lies(security: int) -> None:
    """The unit of these tests passes while it does not lie."""
    meet(unit(security))


def prov(told: bytes) -> bytes:
    return b'{"prov":{"ver":"x","cap":["wifi_scan"],' + told + b'},"rmaker_extra":{"cap":["ch_resp"]}}'


def key_answer(public: bytes = b"B" * 384, salt: bytes = b"salt", *, status: int = 0) -> bytes:
    return num(2, 2) + raw(12, num(1, 1) + raw(21, num(1, status) + raw(2, public) + raw(3, salt)))


def proof_answer(proof: bytes = bytes(64), nonce: bytes = bytes(12)) -> bytes:
    return num(2, 2) + raw(12, num(1, 3) + raw(23, raw(2, proof) + raw(3, nonce)))


def x_key(public: bytes, random: bytes = bytes(16)) -> bytes:
    return num(2, 1) + raw(11, num(1, 1) + raw(21, raw(2, public) + raw(3, random)))


def x_proof(proof: bytes) -> bytes:
    return num(2, 1) + raw(11, num(1, 3) + raw(23, raw(3, proof)))


def nonce_of(nonce: bytes) -> Lie:
    """The unit's own proof with another nonce."""

    def lie(answer: bytes) -> bytes:
        proof = fields(fields(fields(answer)[12])[23])[2]
        return proof_answer(proof, nonce)

    return lie


def signed(node: bytes | None = b"node-1", signature: bytes | None = b"s" * 70) -> bytes:
    body = (b"" if signature is None else raw(1, signature)) + (b"" if node is None else raw(2, node))
    return num(1, 1) + raw(11, body)


def network(
    ssid: bytes = b"factory", channel: int | None = 6, rssi: int | None = -50, bssid: bytes = bytes(6)
) -> bytes:
    told = raw(1, ssid) + raw(4, bssid) + num(5, 3)
    told += b"" if channel is None else num(2, channel)
    return raw(1, told + (b"" if rssi is None else num(3, rssi)))


def found(*networks: bytes) -> bytes:
    return num(1, 5) + raw(15, b"".join(networks))


def counted(count: int, *, finished: int = 1) -> bytes:
    return num(1, 3) + raw(13, num(1, finished) + num(2, count))


def state(body: bytes) -> bytes:
    return num(1, 1) + raw(11, body)


def connected(ip: bytes | None = b"10.0.0.7", ssid: bytes | None = b"factory", channel: int = 6) -> bytes:
    told = (b"" if ip is None else raw(1, ip)) + (b"" if ssid is None else raw(3, ssid)) + num(5, channel)
    return state(raw(11, told))


PAIR = [network(b"a"), network(b"b")]
BEFORE: dict[str, tuple[int, str, Lie, str]] = {
    # name: security, which request, the answer, cause
    "capabilities: none": (2, "proto-ver/1", always(b""), "protocol"),
    "capabilities: no JSON": (2, "proto-ver/1", always(b"<html>"), "protocol"),
    "capabilities: no text": (2, "proto-ver/1", always(b"\xff\xfe\x00"), "protocol"),
    "capabilities: a list": (2, "proto-ver/1", always(b"[1]"), "protocol"),
    "capabilities: deep lists": (2, "proto-ver/1", always(b"[" * 60000), "protocol"),
    "capabilities: deep tables": (2, "proto-ver/1", always(b'{"prov":' * 8000), "protocol"),
    "capabilities: a number of 20,000 digits": (
        2,
        "proto-ver/1",
        always(prov(b'"sec_ver":' + b"2" * 20000)),
        "protocol",
    ),
    "capabilities: prov is a list": (2, "proto-ver/1", always(b'{"prov":[2]}'), "protocol"),
    "security: 3": (2, "proto-ver/1", always(prov(b'"sec_ver":3')), "unknown-security"),
    "security: -1": (2, "proto-ver/1", always(prov(b'"sec_ver":-1')), "unknown-security"),
    "security: true": (2, "proto-ver/1", always(prov(b'"sec_ver":true')), "unknown-security"),
    "security: a text": (2, "proto-ver/1", always(prov(b'"sec_ver":"2"')), "unknown-security"),
    "security: no number": (2, "proto-ver/1", always(prov(b'"sec_ver":NaN')), "protocol"),
    "security: infinite": (2, "proto-ver/1", always(prov(b'"sec_ver":1e999')), "protocol"),
    "security: a list": (2, "proto-ver/1", always(prov(b'"sec_ver":[2]')), "unknown-security"),
    "security: none": (2, "proto-ver/1", always(prov(b'"x":1')), "security-mismatch"),
    "revision: 2": (2, "proto-ver/1", always(prov(b'"sec_ver":2,"sec_patch_ver":2')), "unknown-security"),
    "revision: a text": (2, "proto-ver/1", always(prov(b'"sec_ver":2,"sec_patch_ver":"1"')), "unknown-security"),
    "downgrade: no security": (2, "proto-ver/1", always(prov(b'"sec_ver":0')), "sec0-offered"),
    "downgrade: security 1": (2, "proto-ver/1", always(prov(b'"sec_ver":1')), "security-mismatch"),
    "downgrade: no PoP": (1, "proto-ver/1", always(b'{"prov":{"sec_ver":1,"cap":["no_pop"]}}'), "no-pop-offered"),
    "claiming": (2, "proto-ver/1", always(b'{"prov":{"sec_ver":2},"rmaker":{"cap":["claim"]}}'), "claiming"),
    "SRP: nothing": (2, "prov-session/1", always(b""), "protocol"),
    "SRP: no answer": (2, "prov-session/1", always(None), "session-refused"),
    "SRP: cut": (2, "prov-session/1", lambda told: told[:-5], "protocol"),
    "SRP: no protobuf": (2, "prov-session/1", always(b"\xff" * 3000), "protocol"),
    "SRP: B is 0": (2, "prov-session/1", always(key_answer(bytes(384))), "protocol"),
    "SRP: B is N": (2, "prov-session/1", always(key_answer(N.to_bytes(384, "big"))), "protocol"),
    "SRP: B is 2 N": (2, "prov-session/1", always(key_answer((2 * N).to_bytes(385, "big"))), "protocol"),
    "SRP: no B": (2, "prov-session/1", always(key_answer(b"")), "protocol"),
    "SRP: B of 60,000 bytes": (2, "prov-session/1", always(key_answer(b"B" * 60000)), "protocol"),
    "SRP: no salt": (2, "prov-session/1", always(key_answer(salt=b"")), "protocol"),
    "SRP: a salt of 60,000 bytes": (2, "prov-session/1", always(key_answer(salt=b"s" * 60000)), "protocol"),
    "SRP: another salt": (2, "prov-session/1", always(key_answer()), "wrong-pop-in-unit"),
    "SRP: a status": (2, "prov-session/1", always(key_answer(status=6)), "session-refused"),
    "SRP: another scheme": (2, "prov-session/1", always(x_key(b"k" * 32)), "protocol"),
    "SRP: the request, echoed": (
        2,
        "prov-session/1",
        always(num(2, 2) + raw(12, raw(20, raw(2, b"A" * 384)))),
        "protocol",
    ),
    "SRP: the proof first": (2, "prov-session/1", always(proof_answer()), "protocol"),
    "SRP: a proof of zeros": (2, "prov-session/2", always(proof_answer()), "proof-mismatch"),
    "SRP: a short proof": (2, "prov-session/2", always(proof_answer(bytes(63))), "protocol"),
    "SRP: no proof": (2, "prov-session/2", always(proof_answer(b"")), "protocol"),
    "SRP: a refused proof": (2, "prov-session/2", always(None), "wrong-pop-in-unit"),
    "SRP: the key again": (2, "prov-session/2", always(key_answer()), "protocol"),
    "SRP: no nonce": (2, "prov-session/2", nonce_of(b""), "protocol"),
    "SRP: a nonce of 16 bytes that counts": (2, "prov-session/2", nonce_of(bytes(16)), "protocol"),
    "SRP: a nonce of 60,000 bytes": (2, "prov-session/2", nonce_of(bytes(60000)), "protocol"),
    "SRP: another nonce": (2, "prov-session/2", nonce_of(b"n" * 12), "refused"),
    **{
        f"X25519: a point of small order {number}": (1, "prov-session/1", always(x_key(point)), "protocol")
        for number, point in enumerate(LOW_ORDER)
    },
    "X25519: a short key": (1, "prov-session/1", always(x_key(bytes(31))), "protocol"),
    "X25519: a long key": (1, "prov-session/1", always(x_key(b"k" * 33)), "protocol"),
    "X25519: a short random": (1, "prov-session/1", always(x_key(b"k" * 32, bytes(15))), "protocol"),
    "X25519: a proof of zeros": (1, "prov-session/2", always(x_proof(bytes(32))), "proof-mismatch"),
    "X25519: no proof": (1, "prov-session/2", always(x_proof(b"")), "protocol"),
    "X25519: a refused proof": (1, "prov-session/2", always(None), "wrong-pop-in-unit"),
    "X25519: the client's own proof": (
        1,
        "prov-session/2",
        always(num(2, 1) + raw(11, num(1, 2) + raw(22, b""))),
        "protocol",
    ),
}
AFTER: dict[str, tuple[str, Lie, str]] = {
    # name: which request, the answer before encryption, cause
    "challenge: nothing": ("ch_resp/1", always(b""), "protocol"),
    "challenge: no answer": ("ch_resp/1", always(None), "refused"),
    "challenge: no kind": ("ch_resp/1", always(signed()[2:]), "protocol"),
    "challenge: a status": ("ch_resp/1", always(num(1, 1) + num(2, 1) + raw(11, b"")), "refused"),
    "challenge: no node id": ("ch_resp/1", always(signed(None)), "protocol"),
    "challenge: no signature": ("ch_resp/1", always(signed(signature=None)), "protocol"),
    "challenge: another node": ("ch_resp/1", always(signed(b"node-2")), "other-identity"),
    "challenge: a node id that speaks to terminals": (
        "ch_resp/1",
        always(signed(b"\x1b]52;c;eA==\x07")),
        "other-identity",
    ),
    "challenge: a node id of 60,000 bytes": ("ch_resp/1", always(signed(b"n" * 60000)), "other-identity"),
    "challenge: a node id that is no text": ("ch_resp/1", always(signed(b"\xff\xfe")), "protocol"),
    "challenge: a signature of nothing": ("ch_resp/1", always(signed()), "key-mismatch"),
    "challenge: a signature of 60,000 bytes": ("ch_resp/1", always(signed(signature=b"s" * 60000)), "protocol"),
    "challenge: another key's signature": (
        "ch_resp/1",
        always(signed(signature=OTHER_KEY.sign(b"x", ec.ECDSA(hashes.SHA256())))),
        "key-mismatch",
    ),
    "challenge: an old signature": (
        "ch_resp/1",
        always(signed(signature=KEY.sign(b"an earlier challenge", ec.ECDSA(hashes.SHA256())))),
        "key-mismatch",
    ),
    "scan: nothing": ("prov-scan/1", always(b""), "protocol"),
    "scan: a status": ("prov-scan/1", always(num(1, 1) + num(2, 5) + raw(11, b"")), "refused"),
    "scan: another answer": ("prov-scan/1", always(found()), "protocol"),
    "scan: not finished": ("prov-scan/2", always(counted(2, finished=0)), "protocol"),
    "scan: no status": ("prov-scan/2", always(num(1, 3) + raw(13, b"")), "protocol"),
    "scan: 257 networks": ("prov-scan/2", always(counted(257)), "implausible-value"),
    "scan: 4 billion networks": ("prov-scan/2", always(counted(2**32 - 1)), "implausible-value"),
    "scan: no networks": ("prov-scan/2", always(counted(0)), "not-heard"),
    "scan: fewer than counted": ("prov-scan/3", always(found()), "protocol"),
    "scan: more than asked": ("prov-scan/3", always(found(*PAIR, network())), "protocol"),
    "scan: 3,000 networks": ("prov-scan/3", always(found(*[network()] * 3000)), "protocol"),
    "scan: not the factory's": ("prov-scan/3", always(found(*PAIR)), "not-heard"),
    "scan: no RSSI": ("prov-scan/3", always(found(network(rssi=None), PAIR[0])), "implausible-value"),
    "scan: 0 dBm": ("prov-scan/3", always(found(network(rssi=0), PAIR[0])), "implausible-value"),
    "scan: +127 dBm": ("prov-scan/3", always(found(network(rssi=127), PAIR[0])), "implausible-value"),
    "scan: 2^31-1 dBm": ("prov-scan/3", always(found(network(rssi=2**31 - 1), PAIR[0])), "implausible-value"),
    "scan: -128 dBm": ("prov-scan/3", always(found(network(rssi=-128), PAIR[0])), "implausible-value"),
    "scan: a neighbour at 0 dBm": ("prov-scan/3", always(found(network(), network(b"x", rssi=0))), "implausible-value"),
    "scan: no channel": ("prov-scan/3", always(found(network(channel=None), PAIR[0])), "implausible-value"),
    "scan: channel 99": ("prov-scan/3", always(found(network(channel=99), PAIR[0])), "implausible-value"),
    "scan: an SSID of 33 bytes": ("prov-scan/3", always(found(network(b"s" * 33), PAIR[0])), "protocol"),
    "scan: a BSSID of 5 bytes": ("prov-scan/3", always(found(network(bssid=bytes(5)), PAIR[0])), "protocol"),
    "set: nothing": ("prov-config/1", always(b""), "protocol"),
    "set: no kind": ("prov-config/1", always(raw(13, b"")), "protocol"),
    "set: the answer to apply": ("prov-config/1", always(num(1, 5) + raw(15, b"")), "protocol"),
    "set: a status": ("prov-config/1", always(num(1, 3) + raw(13, num(1, 4))), "refused"),
    "apply: nothing": ("prov-config/2", always(b""), "protocol"),
    "apply: no body": ("prov-config/2", always(num(1, 5)), "protocol"),
    "apply: a status": ("prov-config/2", always(num(1, 5) + raw(15, num(1, 5))), "refused"),
    "join: nothing": ("prov-config/3", always(b""), "protocol"),
    "join: no state": ("prov-config/3", always(state(b"")), "join-unproven"),
    "join: CONNECTED alone": ("prov-config/3", always(state(num(1, 0) + num(2, 0))), "join-unproven"),
    "join: no address": ("prov-config/3", always(connected(None)), "join-unproven"),
    "join: 0.0.0.0": ("prov-config/3", always(connected(b"0.0.0.0")), "join-unproven"),
    "join: an address of its own making": ("prov-config/3", always(connected(b"169.254.3.4")), "join-unproven"),
    "join: an address that is none": ("prov-config/3", always(connected(b"\x1b[2J")), "join-unproven"),
    "join: no network": ("prov-config/3", always(connected(ssid=None)), "join-unproven"),
    "join: another network": ("prov-config/3", always(connected(ssid=b"\x1b[2JCanteen")), "join-unproven"),
    "join: no channel": ("prov-config/3", always(connected(channel=0)), "implausible-value"),
    "join: connecting, with an address": (
        "prov-config/3",
        always(state(num(2, 1) + raw(11, raw(1, b"10.0.0.7")))),
        "protocol",
    ),
    "join: an unknown state": ("prov-config/3", always(state(num(2, 9))), "protocol"),
}
SEALED: dict[str, tuple[str, Callable[[Liar], Lie], str]] = {
    # name: which request, the encrypted answer, cause
    "sealed: nothing": ("ch_resp/1", lambda _: always(b""), "decrypt"),
    "sealed: no tag": ("ch_resp/1", lambda _: lambda told: told[:-16], "decrypt"),
    "sealed: a flipped bit": ("ch_resp/1", lambda _: lambda told: bytes([told[0] ^ 1]) + told[1:], "decrypt"),
    "sealed: not encrypted": ("ch_resp/1", lambda _: always(signed()), "decrypt"),
    "sealed: the answer before": ("prov-scan/2", lambda liar: lambda told: liar.last, "decrypt"),
    "sealed: 60,000 bytes": ("prov-scan/1", lambda _: always(b"x" * 60000), "decrypt"),
}


def test_there_are_enough() -> None:
    """At least 60 attacks, before the session and after."""
    assert len(BEFORE) >= 40
    assert len(AFTER) + len(SEALED) >= 40


def attacked(device: Liar) -> UnitFault:
    """The fault that the line finds, with nothing in its words that a terminal would obey."""
    with pytest.raises(UnitFault) as caught:
        meet(device)
    assert len(str(caught.value)) < 300
    assert all(char.isprintable() for char in caught.value.what)
    return caught.value


@pytest.mark.parametrize("name", BEFORE)
def test_before_the_session(name: str) -> None:
    """A unit that attacks capabilities or handshake fails, and nothing secret was sent to it."""
    security, request, lie, cause = BEFORE[name]
    device = unit(security, lies={request: lie})
    assert attacked(device).cause == cause
    assert device.applied == {}


@pytest.mark.parametrize("name", AFTER)
def test_after_the_session(name: str) -> None:
    """A unit that lies in an open session fails."""
    request, lie, cause = AFTER[name]
    assert attacked(unit(lies={request: lie})).cause == cause


@pytest.mark.parametrize("patch", [0, 1])
@pytest.mark.parametrize("name", SEALED)
def test_the_sealed_answer(name: str, patch: int) -> None:
    """Security 2 authenticates what a unit says: nothing else is taken for its answer."""
    request, make, cause = SEALED[name]
    if patch == 0 and name == "sealed: the answer before":
        cause = "protocol"  # the nonce of revision 0 never changes: it decrypts, but it is the wrong answer
    device = unit(2, patch=patch)
    device.sealed[request] = make(device)
    assert attacked(device).cause == cause


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"\0" * 20000, "protocol"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 3000, "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "protocol"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "cut-short"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffff\r\n", "protocol"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b"x" * 32768 + b"\r\n8001\r\n",
            "protocol",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 100, "protocol"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 70000, "protocol"),
        (b"HTTP/1.1 500 \x1b[2J\r\nContent-Length: 0\r\n\r\n", "protocol"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "no-endpoint"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "protocol"),
    ],
)
def test_over_http(answer: bytes, cause: str) -> None:
    """What is no HTTP answer, or more than one may be, ends the exchange."""
    with answering(answer) as server:
        transport = HttpTransport(server.url, timeout=PATIENCE)
        with closing(transport), pytest.raises(UnitFault) as caught:
            transport.exchange("proto-ver", b"---")
    assert caught.value.cause == cause
    assert all(char.isprintable() for char in caught.value.what)


@contextmanager
def dripping(seconds: float) -> Iterator[str]:
    """A server that sends one byte of an endless head every *seconds*, on each connection."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            while not over.wait(seconds):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    def serve() -> None:
        listener.settimeout(0.05)
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        over.set()
        thread.join()
        listener.close()


def test_one_byte_at_a_time() -> None:
    """A unit that sends a byte now and then has no more time than one that sends nothing."""
    with (
        dripping(0.05) as url,
        closing(HttpTransport(url, timeout=0.5)) as transport,
        pytest.raises(UnitFault) as caught,
    ):
        transport.exchange("proto-ver", b"---")  # the bytes would go on for minutes
    assert caught.value.cause == "stalled"


def test_just_in_time() -> None:
    """However punctual each answer is, all of them together have one deadline."""
    device = unit()
    slow = replace(device, lies={f"{name}/{n}": late for name in ("proto-ver", "prov-session") for n in (1, 2)})
    with soft_ap(slow) as server:
        transport = HttpTransport(server.url, timeout=PATIENCE, patience=Patience(0.5))
        with closing(transport), pytest.raises(Overdue):
            check_session(transport, product(1), Credentials.CERTIFICATE, POP, os.urandom)


def late(answer: bytes) -> bytes:
    time.sleep(0.3)
    return answer


class Stopped(Exception):
    """The operator has stopped the line."""


@pytest.mark.parametrize("where", ["answer", "connection"])
def test_the_operator_stops(where: str) -> None:
    """A stop is heard at the next look, of which there are many, whatever the unit does meanwhile."""
    looks = iter(range(3))

    def keep_going() -> None:
        if next(looks, None) is None:
            raise Stopped

    with dripping(0.05) as url, full_backlog() as mute:
        address = url if where == "answer" else mute
        transport = HttpTransport(address, timeout=3600, connect_timeout=3600, patience=Patience(3600, keep_going))
        with closing(transport), pytest.raises(Stopped):
            transport.exchange("proto-ver", b"---")


@contextmanager
def full_backlog() -> Iterator[str]:
    """An address whose connections are never accepted: its queue is full."""
    held = []
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        place = listener.getsockname()
        for _ in range(4):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(place)
            held.append(connection)
        time.sleep(0.05)
        yield f"http://127.0.0.1:{place[1]}"
        for connection in held:
            connection.close()


def test_the_protocol_errors_are_faults_of_the_unit() -> None:
    """What a unit may send wrong is never the station's fault."""
    assert issubclass(ProtocolError, UnitFault)
