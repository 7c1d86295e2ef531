"""The messages of `prov-scan` and `prov-config`: networks that the unit hears, and the one that it is told to join.

Source: network_provisioning, proto/network_scan.proto and network_config.proto; field numbers in proto/wifi.proto.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, unique

from rmfab.provisioning.codec import check_status, expect, parse
from rmfab.provisioning.failures import ProtocolError
from rmfab.provisioning.proto.wifi_pb2 import WifiConfig, WifiScan
from rmfab.secret import Secret


@dataclass(frozen=True)
class HeardNetwork:
    """A network that the unit hears; *rssi* in dBm, *auth_mode* as ESP-IDF's wifi_auth_mode_t counts."""

    ssid: bytes
    rssi: int
    channel: int
    bssid: bytes
    auth_mode: int


@unique
class JoinState(IntEnum):
    """How joining a network stands."""

    CONNECTED = 0
    CONNECTING = 1
    DISCONNECTED = 2
    FAILED = 3


@unique
class JoinFailure(IntEnum):
    """Why a network was not joined."""

    AUTHENTICATION = 0
    NOT_FOUND = 1


@dataclass(frozen=True)
class Joining:
    """How joining a network stands: *ip4* once connected, *failure* once failed, *remaining* attempts where told."""

    state: JoinState
    ip4: str | None = None
    ssid: bytes | None = None
    failure: JoinFailure | None = None
    remaining: int | None = None


@dataclass(frozen=True)
class WifiCredentials:
    """A network and its passphrase."""

    ssid: str
    passphrase: Secret[str] = field(default_factory=lambda: Secret(""))


def scan_start(*, passive: bool = False, period_ms: int = 120) -> bytes:
    """Starts a scan of all channels, *period_ms* a channel; the unit answers when it is through."""
    body = WifiScan.Start(blocking=True, passive=passive, group_channels=0, period_ms=period_ms)
    return WifiScan(kind=WifiScan.START, start=body).SerializeToString()


def read_scan_started(data: bytes) -> None:
    """Reads the answer to `scan_start`. Raises ProtocolError and Refused."""
    _scan(data, "started")


def scan_ask_status() -> bytes:
    """Asks whether the scan is through."""
    return WifiScan(kind=WifiScan.ASK_STATUS, ask_status=WifiScan.AskStatus()).SerializeToString()


def read_scan_status(data: bytes) -> tuple[bool, int]:
    """Whether the scan is through, and the number of networks heard. Raises ProtocolError and Refused."""
    told = _scan(data, "tell_status").tell_status
    return told.finished, told.count


def scan_ask_result(first: int, count: int) -> bytes:
    """Asks for *count* networks from number *first* on."""
    body = WifiScan.AskResult(first=first, count=count)
    return WifiScan(kind=WifiScan.ASK_RESULT, ask_result=body).SerializeToString()


def read_scan_result(data: bytes) -> tuple[HeardNetwork, ...]:
    """The networks of one answer. Raises ProtocolError and Refused."""
    told = _scan(data, "tell_result").tell_result
    return tuple(HeardNetwork(each.ssid, each.rssi, each.channel, each.bssid, each.auth_mode) for each in told.networks)


def config_set(credentials: WifiCredentials) -> bytes:
    """Hands over *credentials*; the unit keeps them. The result holds the passphrase in the clear."""
    passphrase = credentials.passphrase.reveal().encode()
    body = WifiConfig.Set(ssid=credentials.ssid.encode(), passphrase=passphrase)
    return WifiConfig(kind=WifiConfig.SET, set=body).SerializeToString()


def read_config_set(data: bytes) -> None:
    """Reads the answer to `config_set`. Raises ProtocolError and Refused."""
    check_status(_config(data, "was_set").was_set.status)


def config_apply() -> bytes:
    """Tells the unit to join."""
    return WifiConfig(kind=WifiConfig.APPLY, apply=WifiConfig.Apply()).SerializeToString()


def read_config_applied(data: bytes) -> None:
    """Reads the answer to `config_apply`. Raises ProtocolError and Refused."""
    check_status(_config(data, "applied").applied.status)


def config_ask_status() -> bytes:
    """Asks how joining stands."""
    return WifiConfig(kind=WifiConfig.ASK_STATUS, ask_status=WifiConfig.AskStatus()).SerializeToString()


def read_config_status(data: bytes) -> Joining:
    """How joining stands. Raises ProtocolError and Refused."""
    told = _config(data, "tell_status").tell_status
    check_status(told.status)
    detail = told.WhichOneof("detail")
    try:
        return Joining(
            JoinState(told.state),
            ip4=told.joined.ip4 if detail == "joined" else None,
            ssid=told.joined.ssid if detail == "joined" else None,
            failure=JoinFailure(told.failure) if detail == "failure" else None,
            remaining=told.attempt_failed.remaining if detail == "attempt_failed" else None,
        )
    except ValueError as error:
        raise ProtocolError("the unit names a Wi-Fi state that the protocol does not know") from error


def _scan(data: bytes, body: str) -> WifiScan:
    message = parse(WifiScan, data)
    check_status(message.status)
    expect(message, body)
    return message


def _config(data: bytes, body: str) -> WifiConfig:
    message = parse(WifiConfig, data)
    expect(message, body)
    return message
