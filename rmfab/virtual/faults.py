"""What can be wrong with a virtual board, by stable names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, unique
from typing import Self

from rmfab.errors import InputError


@unique
class BoardFault(Enum):
    """A fault and, in one line, what it does. Two of them take a number: `kill-at=N`, `stall-at=N`."""

    DROP_BYTES = "drop-bytes", "loses bytes that the host sends, once, in the middle of a write"
    VANISH = "vanish", "the port goes away in mid-write and stays away until the control command `return`"
    VANISH_AND_SWAP = "vanish-and-swap", "the port goes away in mid-write and comes back as another, blank board"
    BROWNOUT = "brownout", "the supply sags when the app starts: brownout detector, reset, and again"
    PANIC = "panic", "the app panics after its start, again and again"
    SILENT = "silent", "prints nothing after a restart"
    NO_SYNC = "no-sync", "enters download mode but never answers there"
    WRONG_CHIP = "wrong-chip", "is another chip than the one asked for"
    SMALL_FLASH = "small-flash", "has a flash of 2 MB"
    SECURE_BOOT = "secure-boot", "has secure boot burnt in, for a key that nobody has"
    FLASH_ENCRYPTION = "flash-encryption", "has flash encryption burnt in"
    SECURE_DOWNLOAD = "secure-download", "is in secure download mode"
    OLD_REVISION = "old-revision", "is revision v0.0 of the chip"
    STALE_NVS = "stale-nvs", "its blank flash carries NVS pages of another identity where nvs and fctry lie"
    OTHER_IDENTITY = "other-identity", "its console names another board's node id"
    BAD_FLASH = "bad-flash", "one bit of its flash reads 0 whatever is written"
    WRONG_KEY = "wrong-key", "signs with a key that is not the one of its certificate"
    WRONG_POP = "wrong-pop", "its PoP is another one than `random` in its flash gives, and so is its sec2 verifier"
    WRONG_VERIFIER = "wrong-verifier", "checks PoPs against a sec2 verifier of another PoP"
    PLAIN_SECURITY = "plain-security", "its firmware offers nothing but security 0"
    OTHER_COOKIE = "other-cookie", "hands out session cookies that it does not know again"
    STALLED_SESSION = "stalled-session", "accepts the handshake of a provisioning session and never answers it"
    SHORT_REPLY = "short-reply", "closes the connection in the middle of each provisioning reply"
    KILL_AT = "kill-at", "kills the process named by --kill-pid when the N-th command arrives"
    STALL_AT = "stall-at", "answers nothing from the N-th command on"

    summary: str

    def __new__(cls, value: str, summary: str) -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.summary = summary
        return member

    @property
    def takes_number(self) -> bool:
        """Whether the fault needs `=N`."""
        return self in (BoardFault.KILL_AT, BoardFault.STALL_AT)


_CALL = re.compile(r"(?P<name>[a-z-]+)(=(?P<number>\d+))?(@(?P<index>\d+))?")


@dataclass(frozen=True)
class FaultCall:
    """A fault as it is asked for: `NAME`, `NAME=N`, either with `@INDEX` for one of several boards (from 0)."""

    fault: BoardFault
    number: int = 0
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> FaultCall:
        """Reads the form above. Raises InputError, which lists the names."""
        match = _CALL.fullmatch(text)
        names = ", ".join(fault.value for fault in BoardFault)
        fault = None if match is None else next((f for f in BoardFault if f.value == match["name"]), None)
        if match is None or fault is None:
            raise InputError(f'"{text}" is no fault of a virtual board', hint=f"one of {names}", cause="fault")
        if fault.takes_number != bool(match["number"] and int(match["number"])):
            need = f"{fault.value}=N with N from 1 on" if fault.takes_number else f"{fault.value} without a number"
            raise InputError(f'"{text}" is no fault of a virtual board', hint=need, cause="fault")
        index = None if match["index"] is None else int(match["index"])
        return cls(fault, int(match["number"] or 0), index)

    def hits(self, index: int) -> bool:
        """Whether the board number *index* has this fault."""
        return self.index is None or self.index == index

    def __str__(self) -> str:
        number = f"={self.number}" if self.fault.takes_number else ""
        return f"{self.fault.value}{number}" + ("" if self.index is None else f"@{self.index}")
