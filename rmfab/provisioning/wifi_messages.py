"""The messages of `prov-scan` and `prov-config`: the networks that the unit receives, and the one it joins.

Source: network_provisioning, proto/network_scan.proto and network_config.proto; field numbers in proto/wifi.proto.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, unique
from ipaddress import AddressValueError, IPv4Address

from rmfab.errors import UnitFault
from rmfab.provisioning.codec import check_status, expect, parse
from rmfab.provisioning.failures import ProtocolError
from rmfab.provisioning.plausible import BSSID_BYTES, LONGEST_SSID, judge_channel, judge_count, judge_rssi
from rmfab.provisioning.proto.wifi_pb2 import WifiConfig, WifiScan
from rmfab.secret import Secret


@dataclass(frozen=True)
class HeardNetwork:
    """A network that the unit receives; *rssi* in dBm, an empty *ssid* if it is hidden.

    Raise Implausible or ProtocolError if there cannot be such a network.
    """

    ssid: bytes
    rssi: int
    channel: int
    bssid: bytes

    def __post_init__(self) -> None:
        judge_rssi(self.rssi)
        judge_channel(self.channel)
        if len(self.ssid) > LONGEST_SSID or len(self.bssid) != BSSID_BYTES:
            raise ProtocolError(
                f"the unit reports a network with an SSID of {len(self.ssid)} and a BSSID of {len(self.bssid)} bytes"
            )


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
    """The progress of joining: *ssid* and *ip4* of the network once connected, *failure* if reported once failed."""

    state: JoinState
    ssid: bytes = b""
    ip4: IPv4Address | None = None
    failure: JoinFailure | None = None


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
    """Return whether the scan is finished, and the number of networks.

    Raise ProtocolError, RequestRefused or Implausible.
    """
    told = _scan(data, "tell_status").tell_status
    return told.finished, judge_count(told.count)


def scan_ask_result(first: int, count: int) -> bytes:
    """Return the request for *count* networks, starting at number *first*."""
    body = WifiScan.AskResult(first=first, count=count)
    return WifiScan(kind=WifiScan.ASK_RESULT, ask_result=body).SerializeToString()


def read_scan_result(data: bytes) -> tuple[HeardNetwork, ...]:
    """Return the networks of one answer. Raise ProtocolError, RequestRefused or Implausible."""
    told = _scan(data, "tell_result").tell_result
    return tuple(HeardNetwork(each.ssid, each.rssi, each.channel, each.bssid) for each in told.networks)


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
    """Return the progress of joining.

    CONNECTED is 0 and therefore never on the wire: it counts only with the details of the network. Raise UnitFault
    (`join-unproven`) without them, ProtocolError if they contradict the state, RequestRefused or Implausible.
    """
    told = _config(data, "tell_status").tell_status
    check_status(told.status)
    detail = told.WhichOneof("detail")
    try:
        state = JoinState(told.state)
        failure = JoinFailure(told.failure) if detail == "failure" else None
    except ValueError as error:
        raise ProtocolError("the unit reported an unknown Wi-Fi state") from error
    if state not in _STATES.get(detail, tuple(JoinState)):
        raise ProtocolError("the unit's Wi-Fi state contradicts its details")
    if state is not JoinState.CONNECTED:
        return Joining(state, failure=failure)
    if detail != "joined":
        raise unproven("without naming the network")
    judge_channel(told.joined.channel)
    return Joining(state, told.joined.ssid, _address(told.joined.ip4))


_STATES: dict[str | None, tuple[JoinState, ...]] = {
    "joined": (JoinState.CONNECTED,),
    "failure": (JoinState.FAILED,),
    "attempt_failed": (JoinState.CONNECTING,),
}


def _address(text: str) -> IPv4Address:
    """Return an address that a DHCP server may have given. Raise UnitFault (`join-unproven`)."""
    try:
        address = IPv4Address(text)
    except AddressValueError:
        raise unproven("without an IPv4 address") from None
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local:
        raise unproven(f"with the address {address}")
    if address.is_reserved:  # 240.0.0.0/4, and 255.255.255.255 within it
        raise unproven(f"with the address {address}")
    return address


def unproven(how: str) -> UnitFault:
    """Return the UnitFault of a unit that claims to be connected, *how* says without which proof."""
    return UnitFault(f"the unit reports that it is connected, but {how}", cause="join-unproven")


def _scan(data: bytes, body: str) -> WifiScan:
    message = parse(WifiScan, data)
    check_status(message.status)
    expect(message, body)
    return message


def _config(data: bytes, body: str) -> WifiConfig:
    message = parse(WifiConfig, data)
    expect(message, body)
    return message
