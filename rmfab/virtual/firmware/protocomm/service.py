"""The provisioning service of a virtual board: its endpoints, its one session, and the app's reaction to its events.

Sources: ESP-IDF `protocomm.c`, network_provisioning `manager.c`, espressif/esp-rainmaker (app_network.c,
esp_rmaker_chal_resp.c, rmaker_ch_resp .proto); facts only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from rmfab.nvs.table import EntryKind
from rmfab.product.vocabulary import Security
from rmfab.virtual.firmware.nvs_writer import NvsFull
from rmfab.virtual.firmware.protocomm.manager import Manager, ManagerStage
from rmfab.virtual.firmware.protocomm.scheme import DeviceScheme, PlainScheme, SchemeFailure, payload_field
from rmfab.virtual.firmware.protocomm.security1 import Security1
from rmfab.virtual.firmware.protocomm.security2 import Security2
from rmfab.virtual.firmware.protocomm.user_mapping import map_user
from rmfab.virtual.firmware.protocomm.wire import WireError, decode, integer, message, octets, put, scalar
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import Answer, Pause, Serve, Step
from rmfab.virtual.firmware.wifi import WifiStation

MOST_MISMATCHES = 5  # CONFIG_APP_NETWORK_PROV_MAX_POP_MISMATCH
_VERSION = "netprov-v1.2"
_CLEANUP_SECONDS = 1.0
_AUTO_STOP_SECONDS = 30.0
_FAIL, _INVALID_PARAMETER, _DISABLED = 1, 2, 3
_CHALLENGES = "chal_resp"  # namespace in `nvs`
_DISABLED_KEY = "disabled"
_TOO_MANY = (
    "Max PoP attempts reached! Provisioning disabled for security reasons. Please reboot device to restart provisioning"
)


class ProvisioningService:
    """The service of one start of the firmware until it is provisioned. *pair* is salt and verifier of security 2."""

    def __init__(self, firmware: RunningFirmware, station: WifiStation, pair: tuple[bytes, bytes]) -> None:
        self._firmware = firmware
        self._station = station
        self._scheme = _scheme(firmware, pair)
        self._manager = Manager(firmware, station)
        self._mismatches = 0
        self._stopping = False
        self._stopped = False
        self._lines: tuple[Step, ...] = ()
        self._handlers: dict[str, Callable[[bytes], bytes]] = {
            "prov-config": self._manager.config,
            "prov-scan": self._manager.scan,
            "prov-ctrl": self._manager.control,
        }
        if not firmware.facts.ch_resp:
            self._handlers["cloud_user_assoc"] = self._map_user
        elif not firmware.claims:
            self._handlers["ch_resp"] = self._challenge

    def has(self, endpoint: str) -> bool:
        """Whether the service has this endpoint."""
        return endpoint in ("proto-ver", "prov-session", *self._handlers)

    def open_session(self) -> None:
        """Open a new session and close the previous one."""
        self._scheme.open()

    def answer(self, endpoint: str, request: bytes) -> Answer:
        """Handle *request*; an answer without a reply closes the connection."""
        told_before, self._manager.delay, self._manager.steps = self._manager.told, 0.0, iter(())
        self._lines = ()
        was_established = self._scheme.established
        try:
            if self._stopping:
                raise SchemeFailure("protocomm", "No registered endpoint")
            reply = self._handle(endpoint, request)
        except (SchemeFailure, WireError) as failure:
            return Answer(None, iter(self._failed(failure)))
        steps: Iterator[Step] = chain(self._lines, self._manager.steps)
        if self._scheme.established and not was_established:
            steps = iter([self._firmware.log("app_network", "Secured session established!", after=60)])
        elif self._manager.told and not told_before:
            steps = self._stop(_CLEANUP_SECONDS)
        elif self._manager.stage is ManagerStage.RECEIVED:
            steps = chain(steps, self._stop_by_itself())
        return Answer(reply, steps, self._manager.delay)

    def _handle(self, endpoint: str, request: bytes) -> bytes:
        if endpoint == "proto-ver":
            return json.dumps(self._capabilities, indent="\t").encode()
        if endpoint == "prov-session":
            return self._shake(request)
        if endpoint not in self._handlers:
            raise SchemeFailure("protocomm", f"No registered endpoint for {endpoint}")
        return self._scheme.encrypt(self._handlers[endpoint](self._scheme.decrypt(request)))

    @property
    def _capabilities(self) -> dict[str, object]:
        version = self._scheme.version
        prov: dict[str, object] = {"ver": _VERSION, "sec_ver": version}
        if self._firmware.sec_patch_ver:  # older firmware omits it
            prov["sec_patch_ver"] = self._scheme.patch
        prov["cap"] = [*(["no_sec"] if version == 0 else []), "wifi_prov", "wifi_scan"]
        whole: dict[str, object] = {}
        if self._firmware.claims:
            whole["rmaker"] = {"ver": "1.0", "cap": ["claim"]}
        if "ch_resp" in self._handlers:
            whole["rmaker_extra"] = {"ver": "1.0", "cap": ["ch_resp"]}
        return whole | {"prov": prov}

    def _shake(self, request: bytes) -> bytes:
        """Answer one SessionData message."""
        version = self._scheme.version
        fields = decode(request)
        if integer(fields, 2) != version:
            raise SchemeFailure(f"security{version}", "Security version mismatch. Closing connection")
        payload = message(fields, payload_field(version))
        if payload is None:
            if version:
                raise SchemeFailure(f"security{version}", "Security scheme mismatch. Closing connection")
            payload = {}
        answer = self._scheme.shake(payload)
        return scalar(2, version) + put(payload_field(version), answer)

    def _failed(self, failure: SchemeFailure | WireError) -> Iterable[Step]:
        """Return the console output; count wrong PoPs, the last of which stops the service."""
        log = self._firmware.log
        lines: list[Step] = []
        event = None
        if isinstance(failure, SchemeFailure):
            event = failure.event
            lines.append(log.failure(failure.tag, failure.text))
        lines.append(log.failure("protocomm_httpd", "Data handler failed"))
        if event is None:
            return lines
        text = f"Received incorrect PoP or invalid security params! event: {int(event)}"
        lines.append(log.failure("app_network", text))
        self._mismatches += 1
        if self._mismatches < MOST_MISMATCHES:
            return lines
        self._stopping = True
        lines.append(log("app_network", _TOO_MANY, "W"))
        return chain(lines, self._stop(_CLEANUP_SECONDS))

    def _stop_by_itself(self) -> Iterator[Step]:
        """Stop the service some time after success, even if no client has asked for the status."""
        if self._manager.stage is ManagerStage.SUCCEEDED:
            yield from self._stop(_AUTO_STOP_SECONDS)

    def _stop(self, seconds: float) -> Iterator[Step]:
        yield Pause(seconds)
        if self._stopped:
            return
        self._stopped = True
        yield Serve(None)
        yield self._firmware.log("network_prov_mgr", "Provisioning stopped", after=int(seconds * 1000))

    def _challenge(self, request: bytes) -> bytes:
        """Answer an RMakerChRespPayload. Raise SchemeFailure or WireError if it is malformed."""
        fields = decode(request)
        kind, first = integer(fields, 1), self._firmware.facts.first_ch_resp
        match kind:
            case 0:
                status, answer = self._sign(octets(message(fields, 10) or {}, 1))
            case 2 if not first:
                status, answer = 0, scalar(1, self._firmware.node_id or "")
            case 4 if not first:
                status, answer = self._disable_challenges(), b""
            case _:
                raise SchemeFailure("esp_rmaker_chal_resp", f"Invalid message type received: {kind}")
        if status and first:
            raise SchemeFailure("esp_rmaker_chal_resp", "Failed to handle challenge")
        return put(1, kind + 1) + scalar(2, status) + put(11 + kind, answer)

    def _map_user(self, request: bytes) -> bytes:
        reply, self._lines = map_user(self._firmware, request)
        return reply

    def _sign(self, challenge: bytes) -> tuple[int, bytes]:
        if self._challenges_disabled:
            return _DISABLED, b""
        if not challenge:
            return _INVALID_PARAMETER, b""
        signature = self._firmware.sign(challenge)
        if signature is None:
            return _FAIL, b""
        return 0, put(1, signature) + scalar(2, self._firmware.node_id or "")

    @property
    def _challenges_disabled(self) -> bool:
        return any(self._firmware.nvs_values(_CHALLENGES, _DISABLED_KEY))

    def _disable_challenges(self) -> int:
        """Disable challenges across restarts, until the factory reset."""
        nvs = self._firmware.nvs("nvs")
        try:
            if nvs is not None:
                nvs.set_integer(_CHALLENGES, _DISABLED_KEY, EntryKind.U8, 1)
        except NvsFull:
            return _FAIL
        return 0


def _scheme(firmware: RunningFirmware, pair: tuple[bytes, bytes]) -> DeviceScheme:
    match firmware.security:
        case Security.PLAIN:
            return PlainScheme()
        case Security.X25519:
            return Security1(firmware.pop or "")
        case Security.SRP6A:
            return Security2(*pair, firmware.sec_patch_ver)
