"""Virtual boards: a checked request, and the boards that it specifies."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rmfab.errors import StationError, UsageError
from rmfab.product.vocabulary import Chip
from rmfab.virtual.bench.mqtt_port import is_available
from rmfab.virtual.chip.bridge import BridgeKind
from rmfab.virtual.chip.models import MODELS
from rmfab.virtual.faults import BoardFault, FaultCall
from rmfab.virtual.network import Route, with_routes
from rmfab.virtual.spec import BoardNumbers, BoardSpec, PortKind, Strap

APART = 10
"""How far the TCP ports of two boards are apart: port, provisioning and control of a board follow each other."""


def refuse_without_mqtt(otherwise: str) -> None:
    """Raise StationError if virtual boards have no MQTT here; *otherwise*: what else the caller may do."""
    if not is_available():
        raise StationError(
            "boards on a broker need paho-mqtt",
            hint=f"run `pip install '.[cloud]'` in rmfab's checkout, or {otherwise}",
            cause="no-paho",
        )


@dataclass(frozen=True)
class BoardsRequest:
    """*count* boards of *chip*, reached over *port_kind*.

    *mac*: MAC of the first board, the next ones count up from it; *paced*: None for full speed, 0 for the speed of a
    real board, else the highest baud; *flash_size* in bytes; *secure_boot*: SHA-256 of up to three keys, in hex;
    *routes*: where firmware in the network rmfab-factory reaches its broker; *bridge*: the USB bridge in front of each
    board; *tcp_port*: the first board's port, each next one is 10 higher (None: those that they had, or free ones; 0:
    free ones); *unplugged*: no board is in its port before the control command `return`. Raise UsageError, or
    StationError if paho-mqtt is missing.
    """

    chip: Chip = Chip.ESP32C3
    count: int = 1
    port_kind: PortKind = PortKind.RFC2217
    strap: Strap | None = None
    paced: int | None = None
    faults: tuple[FaultCall, ...] = ()
    mac: str | None = None
    flash_size: int = 4 << 20
    secure_boot: tuple[str, ...] = ()
    kill_pid: int | None = None
    routes: tuple[Route, ...] = ()
    bridge: BridgeKind | None = None
    tcp_port: int | None = None
    unplugged: bool = False

    def __post_init__(self) -> None:
        if self.tcp_port and self.tcp_port + APART * self.count > 1 << 16:
            last = (1 << 16) - APART * self.count
            hint = f"with --count {self.count}, the first one is at most {last}: each board takes {APART}"
            raise UsageError("no TCP ports left for the last boards", where=f"--tcp-port {self.tcp_port}", hint=hint)
        if self.bridge is not None and self.port_kind is not PortKind.RFC2217:
            raise UsageError("--bridge requires --transport rfc2217", hint="no other transport tells a host its bridge")
        if self.routes:
            refuse_without_mqtt("leave --route out")
        if any(call.fault is BoardFault.KILL_AT for call in self.faults) and self.kill_pid is None:
            raise UsageError("the fault kill-at requires --kill-pid")
        for call in self.faults:
            if call.index is not None and call.index >= self.count:
                what = f'"{call}" names a board that does not exist'
                raise UsageError(what, hint=f"with --count {self.count}, boards are numbered 0 to {self.count - 1}")
        if self.mac is not None:
            _first_mac(self.mac)
        room = MODELS[self.chip].secure_boot_keys
        if len(self.secure_boot) > room:
            raise UsageError(f"too many key digests: an {self.chip.value} has room for {room}", where="--secure-boot")
        for text in self.secure_boot:
            if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
                what = f'"{text}" is not a key digest (64 hex digits, see `rmfab release show --json`)'
                raise UsageError(what, where="--secure-boot")

    def specs(self) -> list[BoardSpec]:
        """Return the specification of each board."""
        return [
            BoardSpec(
                chip=self.chip,
                index=index,
                mac=None if self.mac is None else _counted(_first_mac(self.mac), index),
                flash_size=self.flash_size,
                link=self.port_kind,
                strap=self.strap,
                paced=self.paced,
                faults=self.faults,
                kill_pid=self.kill_pid,
                networks=with_routes(*self.routes),
                secure_boot_digests=tuple(map(str.lower, self.secure_boot)),
                bridge=self.bridge,
                numbers=_numbers(self.tcp_port, index),
                unplugged=self.unplugged,
            )
            for index in range(self.count)
        ]


def _numbers(first: int | None, index: int) -> BoardNumbers:
    if not first:
        return BoardNumbers()
    port = first + APART * index
    return BoardNumbers(port, port + 1, port + 2)


def _first_mac(text: str) -> bytes:
    try:
        first = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        first = b""
    if len(first) != 6 or first[0] & 1:
        raise UsageError(f'"{text}" is not a unicast MAC, such as 24:0a:c4:00:00:01', where="--mac")
    return first


def _counted(first: bytes, index: int) -> bytes:
    return ((int.from_bytes(first, "big") + index) & (1 << 48) - 1).to_bytes(6, "big")
