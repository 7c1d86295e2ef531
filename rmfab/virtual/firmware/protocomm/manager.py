"""The endpoints prov-config, prov-scan and prov-ctrl, and the state of network_provisioning's manager.

Source: idf-extra-components network_provisioning 1.2 (manager.c, handlers.c, network_config.c, network_scan.c,
network_ctrl.c and their .proto files); facts only.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, auto, unique

from rmfab.virtual.faults import BoardFault
from rmfab.virtual.firmware.protocomm.scheme import SchemeFailure
from rmfab.virtual.firmware.protocomm.wire import Fields, decode, integer, message, octets, put, scalar
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Pause, Step
from rmfab.virtual.firmware.wifi import ADDRESS, Refusal, WifiStation
from rmfab.virtual.network import AccessPoint

_SUCCESS, _INVALID_ARGUMENT, _INTERNAL_ERROR = 0, 4, 5  # Status of constants.proto
_CONNECTED, _CONNECTING, _FAILED = 0, 1, 3  # WifiStationState of network_constants.proto
_MOST_RESULTS = 16
_LONGEST_SSID, _LONGEST_PASSWORD, _BSSID_SIZE = 32, 63, 6
_SCAN_SECONDS = 1.7
_IMPOSSIBLE_RSSI = 127
_REASONS = {
    Refusal.AUTHENTICATION: "Wi-Fi station authentication failed",
    Refusal.NOT_FOUND: "Wi-Fi access-point not found",
}


@unique
class ManagerStage(Enum):
    """The manager's state: network_prov_mgr_state_t."""

    STARTED = auto()
    RECEIVED = auto()
    FAILED = auto()
    SUCCEEDED = auto()


class Manager:
    """Provisioning during one start of the firmware. `steps` are what a request causes besides its reply."""

    def __init__(self, firmware: RunningFirmware, station: WifiStation) -> None:
        self._firmware = firmware
        self._station = station
        self._asked: tuple[bytes, bytes] | None = None
        self._joined: tuple[bytes, bytes] = (b"", b"")
        self._refusal: Refusal | None = None
        self._results: tuple[bytes, ...] = ()
        self._scanning = False
        self.stage = ManagerStage.STARTED
        self.told = False
        self.delay = 0.0
        self.steps: Iterator[Step] = iter(())

    def config(self, request: bytes) -> bytes:
        """Answer a NetworkConfigPayload. Raise SchemeFailure or WireError if it is malformed."""
        fields = decode(request)
        kind = integer(fields, 1)
        match kind:
            case 0:
                answer = self._status()
            case 2:
                answer = scalar(1, self._set(message(fields, 12)))
            case 4:
                answer = scalar(1, self._apply())
            case 6 | 8 | 10:  # Thread
                answer = put(1, _INVALID_ARGUMENT)
            case _:
                raise SchemeFailure("NetworkProvConfig", "Invalid command handler lookup")
        return put(1, kind + 1) + put(11 + kind, answer)

    def scan(self, request: bytes) -> bytes:
        """Answer a NetworkScanPayload. Raise SchemeFailure or WireError if it is malformed."""
        fields = decode(request)
        kind = integer(fields, 1)
        status, answer = _SUCCESS, b""
        match kind:
            case 0:
                self._start_scan(_required(fields, 10))
            case 2:
                answer = scalar(1, not self._scanning) + scalar(2, len(self._results))
            case 4:
                asked = _required(fields, 14)
                first, count = integer(asked, 1), integer(asked, 2)
                chosen = self._results[first : first + count]
                answer = b"".join(put(1, result) for result in chosen)
                status = _SUCCESS if len(chosen) == count else _INTERNAL_ERROR
            case 6 | 8 | 10:
                status = _INVALID_ARGUMENT
            case _:
                raise SchemeFailure("proto_network_scan", "Invalid command handler lookup")
        return put(1, kind + 1) + scalar(2, status) + put(11 + kind, answer)

    def control(self, request: bytes) -> bytes:
        """Answer a NetworkCtrlPayload. Raise SchemeFailure or WireError if it is malformed."""
        kind = integer(decode(request), 1)
        if kind not in (1, 3, 5, 7):
            raise SchemeFailure("proto_network_ctrl", f"Failed to find cmd with ID = {kind} in the command table")
        status = _INVALID_ARGUMENT
        if kind < 5:
            status = self._begin_anew(ManagerStage.FAILED if kind == 1 else ManagerStage.SUCCEEDED)
        return put(1, kind + 1) + scalar(2, status) + put(11 + kind, b"")

    def _status(self) -> bytes:
        if self.stage is ManagerStage.RECEIVED and self._firmware.spec.has(BoardFault.LIES_CONNECTED):
            return b""  # proto3 reads the absent state as Connected, and the absent status as Success
        if self.stage is ManagerStage.SUCCEEDED:
            self.told = True
            ssid, _ = self._joined
            network = self._station.find(ssid)
            facts = scalar(1, ADDRESS) + scalar(3, ssid)
            if network is not None:
                facts += scalar(2, network.auth) + scalar(4, network.bssid) + scalar(5, network.channel)
            return put(2, _CONNECTED) + put(11, facts)
        if self._refusal is not None:
            return put(2, _FAILED) + put(10, int(self._refusal))
        return put(2, _CONNECTING)

    def _set(self, command: Fields | None) -> int:
        if command is None:
            raise SchemeFailure("NetworkProvConfig", "Invalid set WiFi config command")
        ssid, password, bssid = (octets(command, number) for number in (1, 2, 3))
        integer(command, 4)
        if len(ssid) > _LONGEST_SSID or len(password) > _LONGEST_PASSWORD or len(bssid) not in (0, _BSSID_SIZE):
            return _INVALID_ARGUMENT
        self._asked = ssid.split(b"\0")[0], password.split(b"\0")[0]  # the firmware copies them as C strings
        return _SUCCESS

    def _apply(self) -> int:
        """Store the network in `nvs` and try it, once per start; a network that failed stays stored."""
        asked, self._asked = self._asked, None
        if asked is None or self.stage is not ManagerStage.STARTED or not self._station.keep(*asked):
            return _INTERNAL_ERROR
        self._joined = asked
        self._refusal = None
        self.stage = ManagerStage.RECEIVED
        if not self._firmware.spec.has(BoardFault.LIES_CONNECTED):
            self.steps = self._join(*asked)
        return _SUCCESS

    def _join(self, ssid: bytes, password: bytes) -> Iterator[Step]:
        log = self._firmware.log
        name, secret = (text.decode("utf-8", "replace") for text in (ssid, password))
        yield log("app_wifi", f"Received Wi-Fi credentials\n\tSSID     : {name}\n\tPassword : {secret}", after=900)
        refusal = yield from self._station.join(ssid, password)
        if refusal is not None:
            self._refusal = refusal
            self.stage = ManagerStage.FAILED
            reason = f"Reason : {_REASONS[refusal]}\n\tPlease reset to factory and retry provisioning"
            yield log.failure("app_wifi", f"Provisioning failed!\n\t{reason}")
            return
        self.stage = ManagerStage.SUCCEEDED
        yield log("app_wifi", "Provisioning successful")
        yield from self._station.reach_cloud(ssid)

    def _start_scan(self, command: Fields) -> None:
        blocking = bool(integer(command, 1))
        heard = sorted(self._firmware.networks, key=lambda network: -network.rssi)[:_MOST_RESULTS]
        impossible = self._firmware.spec.has(BoardFault.IMPOSSIBLE_RSSI)
        self._results = tuple(_result(network, _IMPOSSIBLE_RSSI if impossible else network.rssi) for network in heard)
        if self._firmware.spec.paced is not None and not self._scanning:
            self._scanning = True
            self.delay = _SCAN_SECONDS if blocking else 0.0
            self.steps = self._scan()

    def _scan(self) -> Iterator[Step]:
        yield Pause(_SCAN_SECONDS)
        self._scanning = False

    def _begin_anew(self, only_from: ManagerStage) -> int:
        if self.stage is not only_from:
            return _INTERNAL_ERROR
        self._station.keep(b"", b"")
        self._refusal = None
        self.stage = ManagerStage.STARTED
        return _SUCCESS


def _result(network: AccessPoint, rssi: int) -> bytes:
    """Return a WiFiScanResult."""
    told = scalar(1, network.ssid) + scalar(2, network.channel) + scalar(3, rssi)
    return told + scalar(4, network.bssid) + scalar(5, network.auth)


def _required(fields: Fields, number: int) -> Fields:
    found = message(fields, number)
    if found is None:
        raise SchemeFailure("proto_network_scan", "Command without its payload")
    return found
