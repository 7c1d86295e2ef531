"""The UART console of RainMaker firmware: lines in, lines out (esp-rainmaker `src/console/esp_rmaker_commands.c`)."""

from __future__ import annotations

from collections.abc import Iterator

from rmfab.virtual.faults import Fault
from rmfab.virtual.log import EOL
from rmfab.virtual.node import Firmware
from rmfab.virtual.script import Pause, Reset, ResetReason, Step

_TAG = "esp_rmaker_commands"
_LONGEST_LINE = 256
_REBOOT_SECONDS = 0.1
_HELP = {
    "help": "Print the list of registered commands",
    "up-time": "Get the device up time in milliseconds.",
    "get-node-id": "Get the Node ID for this board",
    "sign-data": "Sign some data",
    "reset-to-factory": "Reset the board to factory defaults",
    "reboot": "Reboots the device (soft reset)",
}


class Console:
    """Gathers what the host types into lines, echoes it, and runs each line."""

    def __init__(self, firmware: Firmware) -> None:
        self._firmware = firmware
        self._line = bytearray()

    def answer(self, data: bytes) -> Iterator[Step]:
        """What *data* leads to."""
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
        log = self._firmware.log
        match name:
            case "":
                return
            case "help":
                yield "".join(f"{command} {EOL}  {text}{EOL}{EOL}" for command, text in _HELP.items())
            case "get-node-id":
                yield log(_TAG, f"Node ID: {self._firmware.node_id or '(null)'}")
            case "sign-data" if argument.strip():
                yield from self._sign(_unquoted(argument.strip()))
            case "sign-data":
                yield log.failure(_TAG, "Invalid Usage.")
            case "reboot":
                yield from _reboot()
            case "reset-to-factory":
                yield from self._reset()
            case _:
                yield f"Unrecognized command{EOL}"

    def _sign(self, text: str) -> Iterator[Step]:
        log = self._firmware.log
        key = self._firmware.factory_value("client_key")
        signature = None if key is None else _signature(key, text.encode(), self._firmware.spec.has(Fault.WRONG_KEY))
        if signature is None:
            yield log.failure(_TAG, "Failed to sign message.")
        else:
            yield log(_TAG, f"hex signature(len {len(signature)}): {signature.hex()}")

    def _reset(self) -> Iterator[Step]:
        """Erases `nvs` and nothing else, then starts anew."""
        nvs = self._firmware.nvs("nvs")
        if nvs is not None:
            nvs.erase_all()
        yield from _reboot()


def _reboot() -> Iterator[Step]:
    yield Pause(_REBOOT_SECONDS)
    yield Reset(ResetReason.CPU_SOFTWARE)


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _signature(pem: bytes, data: bytes, wrong: bool) -> bytes | None:
    """ECDSA in DER or RSA-PSS over SHA-256, None where the key cannot be read; *wrong* signs with another key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except ValueError:
        return None
    if isinstance(key, ec.EllipticCurvePrivateKey):
        signer = ec.generate_private_key(key.curve) if wrong else key
        return signer.sign(data, ec.ECDSA(hashes.SHA256()))
    if isinstance(key, rsa.RSAPrivateKey):
        other = rsa.generate_private_key(65537, key.key_size) if wrong else key
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return other.sign(data, pss, hashes.SHA256())
    return None
