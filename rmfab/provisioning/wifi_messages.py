"""The messages of `prov-scan` and `prov-config`: the networks that the unit receives, and the one it joins.

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
    """A network that the unit receives; *rssi* in dBm, *auth_mode* as in ESP-IDF's wifi_auth_mode_t."""

    ssid: bytes
    rssi: int
    channel: int
    bssid: bytes
    auth_mode: int


@unique
class JoinState(IntEnum):
    """The progress of joining a network."""

    CONNECTED = 0
    CONNECTING = 1
    DISCONNECTED = 2
    FAILED = 3


@unique
class JoinFailure(IntEnum):
    """The reason why a network was not joined."""

    AUTHENTICATION = 0
    NOT_FOUND = 1


@dataclass(frozen=True)
class Joining:
    """The progress of joining: *ip4* once connected, *failure* once failed, *remaining* attempts if reported."""

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
    """Return the request for a scan of all channels, *period_ms* per channel; its answer comes after the scan."""
    body = WifiScan.Start(blocking=True, passive=passive, group_channels=0, period_ms=period_ms)
    return WifiScan(kind=WifiScan.START, start=body).SerializeToString()


def read_scan_started(data: bytes) -> None:
    """Read the answer to `scan_start`. Raise ProtocolError or RequestRefused."""
    _scan(data, "started")


def scan_ask_status() -> bytes:
    """Return the request for the status of the scan."""
    return WifiScan(kind=WifiScan.ASK_STATUS, ask_status=WifiScan.AskStatus()).SerializeToString()


def read_scan_status(data: bytes) -> tuple[bool, int]:
    """Return whether the scan is finished, and the number of networks. Raise ProtocolError or RequestRefused."""
    told = _scan(data, "tell_status").tell_status
    return told.finished, told.count


def scan_ask_result(first: int, count: int) -> bytes:
    """Return the request for *count* networks, starting at number *first*."""
    body = WifiScan.AskResult(first=first, count=count)
    return WifiScan(kind=WifiScan.ASK_RESULT, ask_result=body).SerializeToString()


def read_scan_result(data: bytes) -> tuple[HeardNetwork, ...]:
    """Return the networks of one answer. Raise ProtocolError or RequestRefused."""
    told = _scan(data, "tell_result").tell_result
    return tuple(HeardNetwork(each.ssid, each.rssi, each.channel, each.bssid, each.auth_mode) for each in told.networks)


def config_set(credentials: WifiCredentials) -> bytes:
    """Return the request that stores *credentials* in the unit. It contains the passphrase in the clear."""
    passphrase = credentials.passphrase.reveal().encode()
    body = WifiConfig.Set(ssid=credentials.ssid.encode(), passphrase=passphrase)
    return WifiConfig(kind=WifiConfig.SET, set=body).SerializeToString()


def read_config_set(data: bytes) -> None:
    """Read the answer to `config_set`. Raise ProtocolError or RequestRefused."""
    check_status(_config(data, "was_set").was_set.status)


def config_apply() -> bytes:
    """Return the request to join the network."""
    return WifiConfig(kind=WifiConfig.APPLY, apply=WifiConfig.Apply()).SerializeToString()


def read_config_applied(data: bytes) -> None:
    """Read the answer to `config_apply`. Raise ProtocolError or RequestRefused."""
    check_status(_config(data, "applied").applied.status)


def config_ask_status() -> bytes:
    """Return the request for the progress of joining."""
    return WifiConfig(kind=WifiConfig.ASK_STATUS, ask_status=WifiConfig.AskStatus()).SerializeToString()


def read_config_status(data: bytes) -> Joining:
    """Return the progress of joining. Raise ProtocolError or RequestRefused."""
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
        raise ProtocolError("the unit reported an unknown Wi-Fi state") from error


def _scan(data: bytes, body: str) -> WifiScan:
    message = parse(WifiScan, data)
    check_status(message.status)
    expect(message, body)
    return message


def _config(data: bytes, body: str) -> WifiConfig:
    message = parse(WifiConfig, data)
    expect(message, body)
    return message
