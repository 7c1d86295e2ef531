"""Messages: an independent wire codec reads what they encode, and any bytes decode to a value or a ProtocolError."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from fuzz.provisioning import READERS
from rmfab.errors import UnitFault
from rmfab.product.vocabulary import Security
from rmfab.provisioning import challenge, handshakes, wifi_messages
from rmfab.provisioning.capabilities import Capabilities, parse_capabilities
from rmfab.provisioning.failures import ProtocolError, RequestRefused
from rmfab.provisioning.proto import challenge_pb2, session_pb2, wifi_pb2
from rmfab.provisioning.wifi_messages import JoinFailure, Joining, JoinState
from rmfab.secret import Secret
from tests.patience import PATIENCE
from tests.provisioning.device import fields, num, raw

ROOT = Path(__file__).parents[2]
TOLD = (
    b'{"prov":{"ver":"netprov-v1.2","sec_ver":2,"sec_patch_ver":1,"cap":["wifi_prov","wifi_scan"]},'
    b'"rmaker":{"ver":"1.0","cap":["claim"]},"rmaker_extra":{"ver":"1.0","cap":["ch_resp","local_ctrl"]}}'
)
bodies = st.recursive(
    st.binary(max_size=40),
    lambda inner: st.lists(
        st.one_of(
            st.builds(num, st.integers(1, 24), st.integers(0, 2**64 - 1)),
            st.builds(raw, st.integers(1, 24), inner),
        ),
        max_size=4,
    ).map(b"".join),
    max_leaves=8,
)


def caught(work: Callable[[], object]) -> UnitFault | None:
    """Return the UnitFault that *work* raises, if any; let any other error pass."""
    try:
        work()
    except UnitFault as error:
        return error
    return None


@pytest.mark.slow
@pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)
@given(data=bodies)
def test_any_bytes(read: Callable[[bytes], object], data: bytes) -> None:
    """A reader returns a value, or raises ProtocolError or RequestRefused, and nothing else."""
    error = caught(lambda: read(data))
    assert (
        error is None
        or error.cause in ("protocol", "unknown-security", "implausible-value", "join-unproven")
        or (isinstance(error, RequestRefused) and error.status)
    )


@pytest.mark.parametrize(
    ("sent", "wire"),
    [
        (handshakes.plain_hello(), raw(10, raw(20, b""))),
        (handshakes.x25519_key(b"k" * 32), num(2, 1) + raw(11, raw(20, raw(1, b"k" * 32)))),
        (handshakes.x25519_proof(b"p" * 32), num(2, 1) + raw(11, num(1, 2) + raw(22, raw(2, b"p" * 32)))),
        (handshakes.srp6a_key("u", b"A"), num(2, 2) + raw(12, raw(20, raw(1, b"u") + raw(2, b"A")))),
        (handshakes.srp6a_proof(b"M"), num(2, 2) + raw(12, num(1, 2) + raw(22, raw(1, b"M")))),
        (wifi_messages.scan_start(), raw(10, num(1, 1) + num(4, 120))),
        (wifi_messages.scan_ask_status(), num(1, 2) + raw(12, b"")),
        (wifi_messages.scan_ask_result(4, 2), num(1, 4) + raw(14, num(1, 4) + num(2, 2))),
        (wifi_messages.config_ask_status(), raw(10, b"")),
        (
            wifi_messages.config_set(wifi_messages.WifiCredentials("net", Secret("word"))),
            num(1, 2) + raw(12, raw(1, b"net") + raw(2, b"word")),
        ),
        (wifi_messages.config_apply(), num(1, 4) + raw(14, b"")),
        (challenge.sign(b"nonce"), raw(10, raw(1, b"nonce"))),
    ],
)
def test_requests_on_the_wire(sent: bytes, wire: bytes) -> None:
    """Field numbers and order are those of protocomm, byte for byte."""
    assert sent == wire


def test_a_status_refuses_by_name() -> None:
    """A status other than success is a rejection with its name, or its number if unknown."""
    for status, name in ((6, "crypto error"), (7, "invalid session"), (99, "status 99")):
        answer = num(2, 2) + raw(12, num(1, 1) + raw(21, num(1, status)))
        with pytest.raises(RequestRefused, match=name) as caught:
            handshakes.read_srp6a_key(answer)
        assert caught.value.status == status


def test_a_scan_result() -> None:
    """Networks have a negative RSSI, in ten bytes as in protobuf."""
    entry = raw(1, b"\xffnet") + num(2, 6) + num(3, -67) + raw(4, b"abcdef") + num(5, 3)
    told = wifi_messages.read_scan_result(num(1, 5) + raw(15, raw(1, entry)))
    assert told == (wifi_messages.HeardNetwork(b"\xffnet", -67, 6, b"abcdef"),)


JOINED = raw(1, b"10.0.0.7") + raw(3, b"net") + num(5, 6)
CONNECTED = Joining(JoinState.CONNECTED, b"net", IPv4Address("10.0.0.7"))


@pytest.mark.parametrize(
    ("body", "joining"),
    [
        (num(2, 1), Joining(JoinState.CONNECTING)),
        (num(2, 1) + raw(12, num(1, 3)), Joining(JoinState.CONNECTING)),
        (num(2, 2), Joining(JoinState.DISCONNECTED)),
        (num(2, 3), Joining(JoinState.FAILED)),
        (num(2, 3) + num(10, 0), Joining(JoinState.FAILED, failure=JoinFailure.AUTHENTICATION)),
        (num(2, 3) + num(10, 1), Joining(JoinState.FAILED, failure=JoinFailure.NOT_FOUND)),
        (raw(11, JOINED), CONNECTED),
        (num(2, 0) + raw(11, JOINED), CONNECTED),
        (num(1, 0) + raw(11, JOINED + num(2, 3) + raw(4, bytes(6))), CONNECTED),
    ],
)
def test_how_joining_stands(body: bytes, joining: Joining) -> None:
    """Each state of joining is recognized, with its detail."""
    assert wifi_messages.read_config_status(num(1, 1) + raw(11, body)) == joining


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "join-unproven"),
        (num(1, 0) + num(2, 0), "join-unproven"),
        (num(1, 6), "refused"),
        (num(2, 4), "protocol"),
        (num(2, 2**31), "protocol"),
        (num(2, 3) + num(10, 7), "protocol"),
        (num(2, 1) + raw(11, JOINED), "protocol"),
        (num(2, 3) + raw(11, JOINED), "protocol"),
        (num(10, 0), "protocol"),
        (raw(12, num(1, 3)), "protocol"),
        (raw(11, b""), "implausible-value"),
        (raw(11, raw(3, b"net") + num(5, 6)), "join-unproven"),
        *(
            (raw(11, raw(1, text) + raw(3, b"net") + num(5, 6)), "join-unproven")
            for text in (
                b"0.0.0.0",
                b"127.0.0.1",
                b"169.254.7.7",
                b"224.0.0.1",
                b"255.255.255.255",
                b"240.0.0.1",
                b"10.0.0",
                b"10.0.0.256",
                b"010.0.0.7",
                b"fe80::1",
                b"10.0.0.7 ",
                b"10.0.0.7/24",
                b"1" * 40000,
            )
        ),
        (raw(11, raw(1, b"10.0.0.7") + raw(3, b"net") + num(5, 15)), "implausible-value"),
    ],
)
def test_a_join_without_proof(body: bytes, cause: str) -> None:
    """CONNECTED is proto3's 0, so that absence reads as success: it counts only with network, channel and address."""
    error = caught(lambda: wifi_messages.read_config_status(num(1, 1) + raw(11, body)))
    assert error is not None
    assert error.cause == cause
    assert len(error.what) < 200


@pytest.mark.parametrize(
    ("read", "good"),
    [
        (handshakes.read_plain_welcome, raw(10, num(1, 1) + raw(21, b""))),
        (handshakes.read_x25519_key, num(2, 1) + raw(11, num(1, 1) + raw(21, raw(2, bytes(32)) + raw(3, bytes(16))))),
        (handshakes.read_x25519_proof, num(2, 1) + raw(11, num(1, 3) + raw(23, raw(3, bytes(32))))),
        (handshakes.read_srp6a_key, num(2, 2) + raw(12, num(1, 1) + raw(21, raw(2, b"B") + raw(3, b"salt")))),
        (handshakes.read_srp6a_proof, num(2, 2) + raw(12, num(1, 3) + raw(23, raw(2, bytes(64)) + raw(3, bytes(12))))),
        (wifi_messages.read_scan_started, num(1, 1) + raw(11, b"")),
        (wifi_messages.read_scan_status, num(1, 3) + raw(13, num(1, 1))),
        (wifi_messages.read_scan_result, num(1, 5) + raw(15, b"")),
        (wifi_messages.read_config_set, num(1, 3) + raw(13, b"")),
        (wifi_messages.read_config_applied, num(1, 5) + raw(15, b"")),
        (wifi_messages.read_config_status, num(1, 1) + raw(11, num(2, 1))),
        (challenge.read_signature, num(1, 1) + raw(11, raw(1, b"s") + raw(2, b"n"))),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_answer_must_say_what_it_is(read: Callable[[bytes], object], good: bytes) -> None:
    """Each answer is read; without its kind, its body or both, or as an echo of the request, it is no answer."""
    read(good)
    parts = [(number, value) for number, value in fields(good).items() if number >= 10]
    ((number, body),) = parts
    assert isinstance(body, bytes)
    inner = fields(body)
    broken = [b"", raw(number, b""), raw(number, body)]
    if set(inner) & {21, 23}:  # a handshake: the kind stands inside
        scheme = good[: good.index(raw(number, body))]
        rest = b"".join(raw(tag, value) for tag, value in inner.items() if isinstance(value, bytes))
        broken = [b"", scheme, scheme + raw(number, b""), scheme + raw(number, rest), scheme + raw(number, num(1, 1))]
        broken += [num(2, 3) + raw(number, body)]
    for data in broken:
        if data != good:
            with pytest.raises(ProtocolError):
                read(data)


@pytest.mark.parametrize(
    ("entry", "cause"),
    [
        (b"", "implausible-value"),
        (raw(1, b"net") + num(2, 6) + raw(4, bytes(6)), "implausible-value"),
        *((raw(1, b"n") + num(2, 6) + num(3, r) + raw(4, bytes(6)), "implausible-value") for r in (1, 127, 2**31 - 1)),
        *((raw(1, b"n") + num(2, 6) + num(3, r) + raw(4, bytes(6)), "implausible-value") for r in (-128, -(2**31))),
        (raw(1, b"n") + num(3, -50) + raw(4, bytes(6)), "implausible-value"),
        *(
            (raw(1, b"n") + num(2, c) + num(3, -50) + raw(4, bytes(6)), "implausible-value")
            for c in (15, 35, 37, 2**32 - 1)
        ),
        (raw(1, b"n") + num(2, 6) + num(3, -50), "protocol"),
        (raw(1, b"n" * 33) + num(2, 6) + num(3, -50) + raw(4, bytes(6)), "protocol"),
    ],
)
def test_networks_that_cannot_be(entry: bytes, cause: str) -> None:
    """A network without RSSI, channel or BSSID, or with one outside its range, is a fault of the unit."""
    error = caught(lambda: wifi_messages.read_scan_result(num(1, 5) + raw(15, raw(1, entry))))
    assert error is not None
    assert error.cause == cause


@pytest.mark.parametrize(("rssi", "channel"), [(-127, 1), (-1, 14), (-60, 36), (-60, 144), (-60, 165), (-60, 177)])
def test_networks_that_can_be(rssi: int, channel: int) -> None:
    """The edges of the plausible ranges, in both bands."""
    entry = num(2, channel) + num(3, rssi) + raw(4, bytes(6))
    assert wifi_messages.read_scan_result(num(1, 5) + raw(15, raw(1, entry)))[0].rssi == rssi


def test_no_passphrase_in_repr() -> None:
    """The repr of credentials shows only their network."""
    assert "word" not in repr(wifi_messages.WifiCredentials("net", Secret("word")))


@pytest.mark.parametrize(
    ("told", "known"),
    [
        (
            TOLD,
            Capabilities(Security.SRP6A, 1, wifi_scan=True, claims=True, challenge_response=True),
        ),
        (b'{"prov":{"ver":"v1.1","sec_ver":1,"cap":["wifi_scan"]}}', Capabilities(Security.X25519, wifi_scan=True)),
        (b'{"prov":{"ver":"v9","sec_ver":2,"new":[{}]},"x":1}', Capabilities(Security.SRP6A)),
        (b'{"prov":{"ver":"v1.0","cap":["no_sec"]}}', Capabilities(Security.PLAIN, pop=False)),
        (b'{"prov":{"ver":"v1.0","cap":["no_pop"]}}', Capabilities(Security.X25519, pop=False)),
        (b'{"prov":{"ver":"v1.0","cap":["wifi_scan", 7]}}', Capabilities(Security.X25519, wifi_scan=True)),
        (b'{"prov":{"sec_ver":2},"rmaker":{"cap":["camera_claim"]}}', Capabilities(Security.SRP6A, claims=True)),
        (b'{"prov":{"sec_ver":1,"sec_patch_ver":"0","cap":[]}}', Capabilities(Security.X25519)),
        (b'{"prov":{"sec_ver":2},"rmaker":[],"rmaker_extra":{"cap":"ch_resp"}}', Capabilities(Security.SRP6A)),
    ],
)
def test_capabilities(told: bytes, known: Capabilities) -> None:
    """proto-ver of old and new firmware is read; the version and unknown keys are ignored."""
    assert parse_capabilities(told) == known


@pytest.mark.parametrize(
    "told",
    [
        b"",
        b"[]",
        b"{}",
        b'{"prov":7}',
        b'{"prov":{"sec_ver":3}}',
        b'{"prov":{"sec_ver":true}}',
        b'{"prov":{"sec_ver":"2"}}',
        b'{"prov":{"sec_ver":2,"sec_patch_ver":2}}',
        b"\xff",
        b'{"a":' * 100000,
    ],
)
def test_no_capabilities(told: bytes) -> None:
    """An invalid proto-ver is the unit's fault."""
    with pytest.raises(ProtocolError):
        parse_capabilities(told)


def test_the_generated_code_is_what_protoc_makes(tmp_path: Path) -> None:
    """The committed modules are what protoc generates from the .proto files, except lines with its version."""
    protos = sorted((ROOT / "rmfab/provisioning/proto").glob("*.proto"))
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        f"-I{ROOT}",
        f"--python_out={tmp_path}",
        f"--pyi_out={tmp_path}",
    ]
    subprocess.run([*command, *map(str, protos)], check=True, timeout=PATIENCE)
    made = sorted(tmp_path.rglob("*_pb2.py*"))
    assert len(made) == 2 * len(protos)
    for file in made:
        assert _unversioned(file) == _unversioned(ROOT / file.relative_to(tmp_path)), file.name


def _unversioned(file: Path) -> list[str]:
    """Return the lines of a generated file without protoc's version: its comment and the call that checks it."""
    lines = file.read_text().splitlines()
    if "_runtime_version.ValidateProtobufRuntimeVersion(" in lines:
        start = lines.index("_runtime_version.ValidateProtobufRuntimeVersion(")
        del lines[start : lines.index(")", start) + 1]
    return [line for line in lines if not line.startswith("# Protobuf Python Version:")]


ANSWERS = [
    session_pb2.Session,
    session_pb2.PlainHandshake,
    session_pb2.PlainHandshake.Welcome,
    session_pb2.X25519Handshake,
    session_pb2.X25519Handshake.DeviceKey,
    session_pb2.X25519Handshake.DeviceProof,
    session_pb2.Srp6aHandshake,
    session_pb2.Srp6aHandshake.DeviceKey,
    session_pb2.Srp6aHandshake.DeviceProof,
    challenge_pb2.Challenge,
    challenge_pb2.Challenge.Signed,
    wifi_pb2.WifiScan,
    wifi_pb2.WifiScan.TellStatus,
    wifi_pb2.WifiScan.TellResult,
    wifi_pb2.HeardNetwork,
    wifi_pb2.WifiConfig,
    wifi_pb2.WifiConfig.Answer,
    wifi_pb2.WifiConfig.TellStatus,
    wifi_pb2.WifiConfig.Joined,
    wifi_pb2.WifiConfig.AttemptFailed,
]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.DESCRIPTOR.full_name)
def test_the_document_has_every_field_of_an_answer(answer: type[Message]) -> None:
    """docs/provisioning-messages.md says of every field that a unit may leave out what that means."""
    document = (ROOT / "docs" / "provisioning-messages.md").read_text()
    kind = answer.DESCRIPTOR
    plain = [field.name for field in kind.fields if field.containing_oneof is None]
    for name in [*plain, *(group.name for group in kind.oneofs)]:
        assert f"| `{kind.name}.{name}` | " in document


def test_the_independent_codec() -> None:
    """The codec of these tests reads back what it writes."""
    assert fields(num(1, 300) + raw(16, b"ab")) == {1: 300, 16: b"ab"}
