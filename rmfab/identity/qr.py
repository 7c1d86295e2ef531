"""The QR payload: what firmware prints for the phone, byte for byte, and its parser.

JSON without spaces, or the compact `NP:<name>|<pop>|<b or s>`; both contain the PoP. Source: esp-rainmaker,
examples/common/rmaker_app_network/app_network.c (app_network_print_qr; a buffer of 150 bytes).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from rmfab.errors import InputError
from rmfab.json_text import parse_json
from rmfab.product.product import Provisioning
from rmfab.product.vocabulary import QrForm, Security, Transport
from rmfab.secret import Secret

MAX_BYTES = 149
URL_PREFIX = "https://rainmaker.espressif.com/qrcode.html?data="

_LETTERS = {Transport.BLE: "b", Transport.SOFTAP: "s"}
_TRANSPORTS = {letter: transport.value for transport, letter in _LETTERS.items()}


@dataclass(frozen=True)
class Payload:
    """A parsed payload. *fields* are those of the JSON form; a compact payload has name, pop and transport."""

    form: QrForm
    fields: Mapping[str, object] = field(repr=False)

    @property
    def name(self) -> str:
        """The service name, empty if it is missing."""
        return self._text("name")

    @property
    def transport(self) -> str:
        """The transport: `ble`, `softap` or any other text."""
        return self._text("transport")

    @property
    def username(self) -> str | None:
        """The username of security 2, None if the payload has none."""
        return self._text("username") or None

    @property
    def pop(self) -> Secret[str] | None:
        """The proof of possession, None if the payload has none."""
        return Secret(self._text("pop")) if self._text("pop") else None

    def _text(self, key: str) -> str:
        value = self.fields.get(key, "")
        return value if isinstance(value, str) else ""


def payload(service_name: str, pop: Secret[str], provisioning: Provisioning) -> Secret[str]:
    """Return the payload of the unit called *service_name*, as firmware built for *provisioning* prints it.

    Raise InputError if firmware could not print it: a name or username that needs escaping, or more than 149 bytes.
    """
    if provisioning.qr is QrForm.COMPACT:
        _judge_plain(service_name, "|")
        shown = pop.reveal() if provisioning.has_pop else ""
        text = f"NP:{service_name}|{shown}|{_LETTERS[provisioning.transport]}"
    else:
        _judge_plain(service_name + provisioning.username, '"\\')
        fields = {"ver": "v1", "name": service_name}
        if provisioning.security is Security.SRP6A:
            fields["username"] = provisioning.username
        if provisioning.has_pop:
            fields["pop"] = pop.reveal()
        fields["transport"] = provisioning.transport.value
        text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    if len(text.encode()) > MAX_BYTES:
        raise InputError(
            f"the QR payload has {len(text.encode())} bytes, but firmware prints at most {MAX_BYTES}",
            where="[provisioning]",
            hint="use a shorter name_prefix or username",
        )
    return Secret(text)


def parse_payload(text: str) -> Payload:
    """Parse a payload of either form, or the URL that firmware prints. Raise InputError, without the text itself."""
    text = text.strip().removeprefix(URL_PREFIX)
    if text.startswith("NP:"):
        return _parse_compact(text)
    try:
        fields = parse_json(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise InputError("not a QR payload: neither JSON nor the compact form", cause="qr-payload")
    return Payload(QrForm.JSON, fields)


def same_payload(left: str, right: str) -> bool:
    """Whether two payloads have the same form and fields; spaces and the order of fields do not matter."""
    try:
        return parse_payload(left) == parse_payload(right)
    except InputError:
        return False


def _parse_compact(text: str) -> Payload:
    parts = text.removeprefix("NP:").split("|")
    if len(parts) != 3 or parts[2] not in _TRANSPORTS:
        raise InputError("not a compact QR payload: expected NP:<name>|<pop>|<b or s>", cause="qr-payload")
    name, pop, letter = parts
    fields = {"name": name, "transport": _TRANSPORTS[letter]} | ({"pop": pop} if pop else {})
    return Payload(QrForm.COMPACT, fields)


def _judge_plain(text: str, forbidden: str) -> None:
    if any(character in forbidden or not character.isprintable() for character in text):
        raise InputError(
            f'"{text}" is not allowed in a QR payload: firmware does not escape it',
            where="[provisioning]",
            hint=f"avoid control characters and {' '.join(forbidden)} in name_prefix and username",
        )
