"""The UART console of RainMaker firmware.

Source: esp-rainmaker `src/console/esp_rmaker_commands.c`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rmfab.virtual.firmware.log import EOL
from rmfab.virtual.firmware.running import FACTORY_PARTITION, RunningFirmware
from rmfab.virtual.firmware.script import Pause, Reset, ResetReason, Step
from rmfab.virtual.firmware.user_mapping import publish_mapping
from rmfab.virtual.firmware.wifi import WifiStation

_TAG = "esp_rmaker_commands"
_UNKNOWN = f"Unrecognized command{EOL}"
_LONGEST_LINE = 256
_REBOOT_SECONDS = 0.1
_HELP = {
    "help": "Print the list of registered commands",
    "up-time": "Get the device up time in milliseconds.",
    "get-node-id": "Get the Node ID for this board",
    "sign-data": "Sign some data",
    "wifi-prov": "Wi-Fi Provision",
    "add-user": "Add user-node mapping",
    "mem-dump": "Get the available memory.",
    "clear-claim-data": "Erase the claim data of the node",
    "reset-to-factory": "Reset the board to factory defaults",
    "reboot": "Reboots the device (soft reset)",
}


class FirmwareConsole:
    """Collects typed input into lines, echoes it, and runs each line."""

    def __init__(self, firmware: RunningFirmware, station: WifiStation) -> None:
        self._firmware = firmware
        self._station = station
        self._line = bytearray()

    def answer(self, data: bytes) -> Iterator[Step]:
        """Return the steps that *data* causes."""
        *whole, rest = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        for part in whole:
            self._line += part
            line = bytes(self._line[:_LONGEST_LINE]).decode("utf-8", "replace").strip()
            self._line.clear()
            yield part.decode("utf-8", "replace") + EOL
            yield from self._run(line)
            yield f"{EOL}>> "
        self._line += rest[:_LONGEST_LINE]
        if rest:
            yield rest.decode("utf-8", "replace")

    def _run(self, line: str) -> Iterator[Step]:
        name, _, argument = line.partition(" ")
        match name:
            case "":
                return
            case "help":
                missing = self._firmware.facts.missing_commands
                known = {command: text for command, text in _HELP.items() if command not in missing}
                yield "".join(f"{command} {EOL}  {text}{EOL}{EOL}" for command, text in known.items())
            case _ if name in self._firmware.facts.missing_commands:
                yield _UNKNOWN
            case "get-node-id":  # by printf, at any log level
                yield f"{_TAG}: Node ID: {self._firmware.node_id or '(null)'}{EOL}"
            case "sign-data" if argument.strip():
                yield from self._sign(_unquoted(argument.strip()))
            case "sign-data":
                yield f"Usage: sign-data <data>{EOL}"
            case "reboot":
                yield from _reboot()
            case "reset-to-factory":
                yield from self._reset()
            case _:
                yield from self._run_rare(name, _words(argument))

    def _run_rare(self, name: str, words: list[str]) -> Iterator[Step]:
        match name:
            case "wifi-prov":
                yield from self._join(words)
            case "add-user":
                yield from self._map(words)
            case "mem-dump":
                yield from self._memory()
            case "clear-claim-data":
                self._erase(FACTORY_PARTITION)
                self._firmware.forget_factory()
            case _:
                yield _UNKNOWN

    def _sign(self, text: str) -> Iterator[Step]:
        log = self._firmware.log
        signature = self._firmware.sign(text.encode())
        if signature is None:
            yield log.failure(_TAG, "Failed to sign message.")
        else:
            yield log(_TAG, f"hex signature(len {len(signature)}): {signature.hex()}")

    def _reset(self) -> Iterator[Step]:
        """Erase `nvs` only, then restart."""
        self._erase("nvs")
        yield from _reboot()

    def _erase(self, label: str) -> None:
        nvs = self._firmware.nvs(label)
        if nvs is not None:
            nvs.erase_all()

    def _join(self, words: list[str]) -> Iterator[Step]:
        """Store a network and join it, whether or not provisioning is offered."""
        ssid, password = (*(word.encode() for word in words), b"", b"")[:2]
        if not 1 <= len(words) <= 2 or not 0 < len(ssid) <= 32 or len(password) > 63:
            yield f"{_TAG}: Invalid Usage.{EOL}"
        elif self._station.keep(ssid, password):
            yield from self._station.start()

    def _map(self, words: list[str]) -> Iterator[Step]:
        """Map a user as a phone does: at once if there is a broker, else once it is reached."""
        if len(words) != 2:
            yield f"{_TAG}: Invalid Usage.{EOL}"
            return
        self._firmware.user = words[0], words[1]
        if self._firmware.online:
            yield from publish_mapping(self._firmware)

    def _memory(self) -> Iterator[Step]:
        log = self._firmware.log
        yield log(_TAG, "\tDescription\tInternal\tSPIRAM")
        yield log(_TAG, "Current Free Memory\t141532\t\t0", after=0)
        yield log(_TAG, "Largest Free Block\t110592\t\t0", after=0)
        yield log(_TAG, "Min. Ever Free Size\t128764\t\t0", after=0)


def _reboot() -> Iterator[Step]:
    yield Pause(_REBOOT_SECONDS)
    yield Reset(ResetReason.CPU_SOFTWARE)


def _words(text: str) -> list[str]:
    """Split *text* as the console does: at blanks, except inside quotes."""
    return [_unquoted(word) for word in re.findall(r'"[^"]*"|\S+', text)]


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
