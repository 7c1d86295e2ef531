"""What a security scheme of protocomm is to the endpoints, how a handler fails, and security 0.

Source: ESP-IDF `components/protocomm` (protocomm.c, security0.c), `session.proto`, `sec0.proto`.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Protocol

from rmfab.virtual.firmware.protocomm.wire import Fields, put, scalar

_PAYLOADS = 10  # SessionData: sec0 is field 10, sec1 11, sec2 12


@unique
class SchemeEvent(IntEnum):
    """PROTOCOMM_SECURITY_SESSION_EVENT; the number is what the console prints."""

    SETUP_OK = 0
    INVALID_PARAMETERS = 1
    MISMATCH = 2


class SchemeFailure(Exception):
    """A handler fails: the connection is closed without an answer. *tag* and *text* are what the console says."""

    def __init__(self, tag: str, text: str, event: SchemeEvent | None = None) -> None:
        super().__init__(text)
        self.tag = tag
        self.text = text
        self.event = event


class DeviceScheme(Protocol):
    """One of the three. It holds one session at a time."""

    version: int
    patch: int

    @property
    def established(self) -> bool:
        """Whether the handshake of this session is done."""

    def open(self) -> None:
        """A new session begins; the one before it is forgotten."""

    def shake(self, payload: Fields) -> bytes:
        """Answers a handshake message (SecNPayload, decoded) with one. Raises Failure or WireError."""

    def decrypt(self, data: bytes) -> bytes:
        """What a request says. Raises Failure."""

    def encrypt(self, data: bytes) -> bytes:
        """An answer as it goes out. Raises Failure."""


class PlainScheme:
    """Security 0: nothing is secret, and no session is asked for."""

    version = 0
    patch = 0
    established = False

    def open(self) -> None:
        """Nothing to forget."""

    def shake(self, payload: Fields) -> bytes:  # noqa: ARG002 (the firmware does not look at it either)
        """S0SessionResp with status Success, whatever was asked."""
        return scalar(1, 1) + put(21, b"")

    def decrypt(self, data: bytes) -> bytes:
        """*data* itself."""
        return data

    def encrypt(self, data: bytes) -> bytes:
        """*data* itself."""
        return data


def payload_field(version: int) -> int:
    """The field of SessionData that carries the messages of this scheme."""
    return _PAYLOADS + version
