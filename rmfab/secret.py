"""Secrets that cannot be printed by accident, and redaction of console text.

A `Secret` prints as `Secret(...)` everywhere; `reveal()` is the only way to its value, and easy to grep for.
`redact` removes the PoP and Wi-Fi credentials that firmware prints from console text.
"""

from __future__ import annotations

import re
from typing import Generic, NoReturn, TypeVar

REDACTED = "<redacted>"

T = TypeVar("T", bytes, str)


class Secret(Generic[T]):
    """A `bytes` or `str` value that stays out of `repr`, logs and pickles, and compares in constant time."""

    __slots__ = ("_value",)
    _value: T

    def __init__(self, value: T) -> None:
        self._value = value

    def reveal(self) -> T:
        """Return the value. Grep for this name to audit where secrets are unwrapped."""
        return self._value

    def __eq__(self, other: object) -> bool:
        """Compare in constant time; a Secret equals only a Secret with the same type of value."""
        if not isinstance(other, Secret) or type(self._value) is not type(other._value):
            return NotImplemented
        import hmac  # slow to import: it loads OpenSSL, and most commands compare no secrets

        return hmac.compare_digest(_octets(self._value), _octets(other._value))

    def __hash__(self) -> int:
        return hash((type(self), self._value))

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; seal it instead")


def _octets(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


# What stock RainMaker firmware prints (app_network.c: QR payload and URL; app_wifi_internal.c: received credentials).
# The end of a value may be missing, because a console log can be cut off anywhere.
_TELLTALES = (
    re.compile(r'("pop"\s*:\s*")[^"\r\n]*("|(?=[\r\n]|\Z))'),
    re.compile(r"(%22pop%22%3A%22)(?:(?!%22)[^\r\n])*(%22|(?=[\r\n]|\Z))"),
    re.compile(r"(\bNP:[^|\s]{0,149}\|)[^|\s]*(\||(?=\s|\Z))"),
    re.compile(r"(\b(?:Password|Passphrase|PoP)[ \t]*:[ \t]*)\S.*?()(?=\x1b|\r|\n|$)", re.IGNORECASE),
)


def redact(text: str, *known: Secret[str]) -> str:
    """Return *text* without the *known* secrets and without any PoP or password that firmware prints."""
    for secret in known:
        value = secret.reveal()
        if value:
            text = re.sub(re.escape(value), REDACTED, text, flags=re.IGNORECASE)
    for pattern in _TELLTALES:
        text = pattern.sub(rf"\g<1>{REDACTED}\g<2>", text)
    return text
