"""The interface of protocomm's security schemes, the failure of a handler, and security 0.

Source: ESP-IDF `components/protocomm` (protocomm.c, security0.c), `session.proto`, `sec0.proto`.
"""

from __future__ import annotations

from enum import IntEnum, unique
from typing import Protocol

from rmfab.virtual.firmware.protocomm.wire import Fields, put, scalar

_PAYLOADS = 10  # in SessionData: sec0 is field 10, sec1 is 11, sec2 is 12


@unique
class SchemeEvent(IntEnum):
    """PROTOCOMM_SECURITY_SESSION_EVENT; the console prints the number."""

    SETUP_OK = 0
    INVALID_PARAMETERS = 1
    MISMATCH = 2


class SchemeFailure(Exception):
    """A handler failed: the connection is closed without a reply. The console prints *tag* and *text*."""

    def __init__(self, tag: str, text: str, event: SchemeEvent | None = None) -> None:
        super().__init__(text)
        self.tag = tag
        self.text = text
        self.event = event


class DeviceScheme(Protocol):
    """One of the three security schemes, with one session at a time."""

    version: int
    patch: int

    @property
    def established(self) -> bool:
        """Whether the handshake of this session is complete."""

    def open(self) -> None:
        """Start a new session and discard the previous one."""

    def shake(self, payload: Fields) -> bytes:
        """Answer a handshake message (SecNPayload, decoded). Raise SchemeFailure or WireError if it is not valid."""

    def decrypt(self, data: bytes) -> bytes:
        """Return the plain text of a request. Raise SchemeFailure if it cannot be decrypted."""

    def encrypt(self, data: bytes) -> bytes:
        """Return the encrypted reply. Raise SchemeFailure if there is no session."""


class PlainScheme:
    """Security 0: no encryption, and no session required."""

    version = 0
    patch = 0
    established = False

    def open(self) -> None:
        """Do nothing: there is no session."""

    def shake(self, payload: Fields) -> bytes:  # noqa: ARG002 (the firmware ignores it, too)
        """Return an S0SessionResp with status Success for any request."""
        return scalar(1, 1) + put(21, b"")

    def decrypt(self, data: bytes) -> bytes:
        """Return *data* unchanged."""
        return data

    def encrypt(self, data: bytes) -> bytes:
        """Return *data* unchanged."""
        return data


def payload_field(version: int) -> int:
    """Return the field of SessionData for the messages of this scheme."""
    return _PAYLOADS + version
