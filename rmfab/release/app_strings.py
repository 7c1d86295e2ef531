"""Facts that an app shows by its strings: console commands, format of the QR payload, challenge-response.

Sources: esp-rainmaker `esp_rmaker_commands.c` (commands, each a string of its own), `app_wifi.c` and `app_network.c`
(format of the payload, with security 2 it has a user name; the URL with the payload, which is printed whatever
APP_NETWORK_PROV_SHOW_QR is), `esp_rmaker_chal_resp.c` (name of the endpoint, since 1.6.5).
"""

from __future__ import annotations

from dataclasses import dataclass

from rmfab.product.vocabulary import Security

_RAINMAKER = b"esp_rmaker_core\0"
_SHOWN = {
    "get_node_id": b"get-node-id\0",
    "sign_data": b"sign-data\0",
    "prints_qr": b"https://rainmaker.espressif.com/qrcode.html",
    "challenge_response": b"ch_resp\0",
}
_QR_FORMATS = {b'"username":"%s"': Security.SRP6A, b'{"ver":"%s","name":"%s"': Security.X25519}


@dataclass(frozen=True)
class AppStrings:
    """What the strings of an app show; None if they do not show it, as in an app that is not RainMaker's."""

    get_node_id: bool | None = None
    sign_data: bool | None = None
    prints_qr: bool | None = None
    challenge_response: bool | None = None
    security: Security | None = None

    @classmethod
    def find(cls, app: bytes) -> AppStrings:
        """Return what the strings in the image *app* show."""
        security = next((security for text, security in _QR_FORMATS.items() if text in app), None)
        if _RAINMAKER not in app:
            return cls(security=security)
        return cls(**{name: text in app for name, text in _SHOWN.items()}, security=security)
