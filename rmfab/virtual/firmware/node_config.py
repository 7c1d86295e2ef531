"""The node of the virtual firmware: one lamp, its parameters, and the node config that describes them.

Sources: espressif/esp-rainmaker 1.16 (esp_rmaker_node_config.c, esp_rmaker_param.c, esp_rmaker_standard_types.h); facts
only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rmfab.json_text import parse_json
from rmfab.virtual.faults import BoardFault
from rmfab.virtual.firmware.running import RunningFirmware

DEVICE, CONNECTIVITY = "Light", "Connectivity"
_CONFIG_VERSION = "2020-03-20"  # ESP_RMAKER_CONFIG_VERSION
Value = bool | int | str


@dataclass(frozen=True)
class _Param:
    name: str
    type: str
    default: Value
    ui: str = ""
    bounds: tuple[int, int, int] | None = None  # min, max, step

    @property
    def data_type(self) -> str:
        return {bool: "bool", int: "int", str: "string"}[type(self.default)]

    def describe(self) -> dict[str, Any]:
        told: dict[str, Any] = {"name": self.name, "type": self.type, "data_type": self.data_type}
        told["properties"] = ["read", "write"]
        if self.bounds is not None:
            told["bounds"] = dict(zip(("min", "max", "step"), self.bounds, strict=True))
        return told | ({"ui_type": self.ui} if self.ui else {})


_PARAMS = (
    _Param("Name", "esp.param.name", DEVICE),
    _Param("Power", "esp.param.power", True, "esp.ui.toggle"),
    _Param("Brightness", "esp.param.brightness", 25, "esp.ui.slider", (0, 100, 1)),
)


_TYPES = {param.name: type(param.default) for param in _PARAMS}


class Params:
    """The parameters and their values, from the start of the firmware on."""

    def __init__(self) -> None:
        self._values: dict[str, Value] = {param.name: param.default for param in _PARAMS}

    @property
    def all(self) -> dict[str, dict[str, Value]]:
        """All values, by device and parameter."""
        return {DEVICE: dict(self._values)}

    def set(self, asked: Mapping[str, Any]) -> dict[str, dict[str, Value]]:
        """Set what *asked* contains, by device and parameter; return that.

        A parameter that does not exist is ignored, and a value that has not its type.
        """
        wanted = asked.get(DEVICE)
        if not isinstance(wanted, dict):
            return {}
        found = {name: value for name, value in wanted.items() if type(value) is _TYPES.get(name)}
        self._values |= found
        return {DEVICE: found} if found else {}


def node_config(firmware: RunningFirmware) -> dict[str, Any]:
    """Return the node config. A firmware with secure boot reports the digests of its keys."""
    running = firmware.descriptor
    project = f"{running.project}-2" if firmware.spec.has(BoardFault.OTHER_PROJECT) else running.project
    info: dict[str, Any] = {
        "name": f"{running.project} node",
        "fw_version": running.version,
        "type": "Lightbulb",
        "model": running.project,
        "project_name": project,
        "platform": firmware.spec.model.chip.value,
    }
    if (security := firmware.spec.security).secure_boot:
        info["secure_boot_digest"] = {f"k{number}": digest for number, digest in enumerate(security.digests)}
    lamp = {"name": DEVICE, "type": "esp.device.lightbulb", "primary": "Power"}
    devices = [lamp | {"params": [param.describe() for param in _PARAMS]}]
    connected = {"name": "Connected", "type": "esp.param.connected", "data_type": "bool", "properties": ["read"]}
    service = {"name": CONNECTIVITY, "type": "esp.service.connectivity", "params": [connected]}
    return {
        "node_id": firmware.node_id,
        "config_version": _CONFIG_VERSION,
        "info": info,
        "devices": devices,
        "services": [service] if firmware.facts.connectivity else [],
    }


def read_object(payload: bytes) -> dict[str, Any] | None:
    """Return the JSON object in *payload*; None if it is not one."""
    try:
        found = parse_json(payload)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def compact(values: Mapping[str, Any]) -> bytes:
    """Return JSON without blanks, as the firmware writes it."""
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()
