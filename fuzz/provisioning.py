"""Any bytes from a unit end in a value or in rmfab's own error: messages, HTTP responses, whole conversations.

    python -m fuzz.provisioning fuzz/corpus/provisioning -max_total_time=60

The first byte of an input selects the reader of the rest.
"""

from __future__ import annotations

import contextlib

from fuzz.harness import Reader, fuzz, read_one
from rmfab.errors import RmfabError
from rmfab.provisioning import challenge, handshakes, wifi_messages
from rmfab.provisioning.capabilities import parse_capabilities
from rmfab.provisioning.http import read_reply
from rmfab.provisioning.session import open_session
from rmfab.secret import Secret

_MOST_ANSWERS = 32


class Echo:
    """A unit that answers with pieces of the input: two bytes of length, then the answer."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._answers = 0

    def exchange(self, endpoint: str, data: bytes) -> bytes:
        """Return the next piece; an empty one once the input is used up."""
        self._answers += 1
        if self._answers > _MOST_ANSWERS:
            raise AssertionError(f"endless requests to {endpoint}")
        size = int.from_bytes(self._data[:2], "big")
        answer, self._data = self._data[2 : 2 + size], self._data[2 + size :]
        return answer

    def close(self) -> None:
        """Do nothing."""


def conversation(data: bytes) -> None:
    """Open a session and ask every question, with the input as answers."""
    session = open_session(Echo(data), None, Secret("abcd1234"), "wifiprov", lambda size: bytes(range(1, size + 1)))
    for ask in (lambda: session.challenge(b"nonce"), session.scan, session.apply, session.status):
        with contextlib.suppress(RmfabError):
            ask()


def http_answer(data: bytes) -> None:
    """Read one HTTP response, in pieces of the requested size, at most 100 bytes each."""
    rest = bytearray(data)

    def receive(size: int) -> bytes:
        taken = bytes(rest[: min(size, 100)])
        del rest[: len(taken)]
        return taken

    with contextlib.suppress(EOFError):
        read_reply(receive)


READERS: tuple[Reader, ...] = (
    parse_capabilities,
    handshakes.read_plain_welcome,
    handshakes.read_x25519_key,
    handshakes.read_x25519_proof,
    handshakes.read_srp6a_key,
    handshakes.read_srp6a_proof,
    wifi_messages.read_scan_started,
    wifi_messages.read_scan_status,
    wifi_messages.read_scan_result,
    wifi_messages.read_config_set,
    wifi_messages.read_config_applied,
    wifi_messages.read_config_status,
    challenge.read_signature,
)

TARGETS: tuple[Reader, ...] = (conversation, http_answer, *READERS)


def one_input(data: bytes) -> None:
    """Read one input."""
    read_one(TARGETS, data)


if __name__ == "__main__":
    fuzz(one_input)
