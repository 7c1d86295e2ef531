"""The faults that a virtual board can have, by stable name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, unique
from typing import Self

from rmfab.errors import InputError, one_line
from rmfab.virtual.named_fault import named_fault


@unique
class BoardFault(Enum):
    """A fault and its one-line summary. Some take a number, such as `kill-at=N` or `just-in-time[=N]`."""

    DROP_BYTES = "drop-bytes", "loses some of the host's bytes once, in the middle of a write"
    VANISH = "vanish", "the port disappears during a write and stays away until the control command `return`"
    VANISH_AND_SWAP = "vanish-and-swap", "the port disappears during a write and comes back as a different, blank board"
    BROWNOUT = "brownout", "the supply sags each time the app starts: the brownout detector resets the chip"
    PANIC = "panic", "the app panics after every start"
    SILENT = "silent", "prints nothing after a restart"
    NO_SYNC = "no-sync", "enters download mode but never answers there"
    WRONG_CHIP = "wrong-chip", "is a different chip from the one requested"
    SMALL_FLASH = "small-flash", "has a flash of 2 MB"
    SECURE_BOOT = "secure-boot", "has secure boot burned in, for a key that no one has"
    FLASH_ENCRYPTION = "flash-encryption", "has flash encryption burned in"
    SECURE_DOWNLOAD = "secure-download", "is in secure download mode"
    OLD_REVISION = "old-revision", "is revision v0.0 of the chip"
    STALE_NVS = "stale-nvs", "its blank flash contains NVS pages of a different identity at the usual places"
    OTHER_IDENTITY = "other-identity", "its console prints a different board's node id"
    BAD_FLASH = "bad-flash", "one bit of its flash always reads 0"
    WRONG_KEY = "wrong-key", "signs with a key that does not match its certificate"
    WRONG_POP = "wrong-pop", "its PoP and its sec2 verifier do not match `random` in its flash"
    WRONG_VERIFIER = "wrong-verifier", "checks the PoP against the sec2 verifier of a different PoP"
    PLAIN_SECURITY = "plain-security", "its firmware offers only security 0"
    OTHER_COOKIE = "other-cookie", "sets session cookies that it does not accept afterwards"
    SLOW_FLASH = "slow-flash", "its flash is not ready for the ROM's first start; the watchdog starts it again"
    LATE_PANIC = "late-panic", "the app panics after its last answer to a provisioning session"
    STALLED_SESSION = "stalled-session", "accepts the handshake of a provisioning session and never answers it"
    SHORT_REPLY = "short-reply", "closes the connection halfway through each provisioning reply"
    LIES_CONNECTED = "lies-connected", "reports that it has joined a network at once, without network, address or state"
    IMPOSSIBLE_RSSI = "impossible-rssi", "its Wi-Fi scan reports every network at +127 dBm"
    JUST_IN_TIME = "just-in-time", "sends each provisioning answer N seconds late (without a number: 9)"
    WRONG_HOST = "wrong-host", "connects to a broker with a name that is not in its flash, and that nobody has"
    EARLY_CLOCK = "early-clock", "checks certificates against its clock, which is at 1970: none is valid yet"
    OTHER_PROJECT = "other-project", "its node config names a different project"
    MUTE_ONLINE = "mute-online", "connects to its broker and publishes nothing"
    IGNORES_PARAMS = "ignores-params", "receives parameters from its cloud and does not change them"
    LOSES_PARAM = "loses-param", "does not receive the first parameter from its cloud, as if it had just reconnected"
    NO_OTA_STATUS = "no-ota-status", "updates itself without reporting any status"
    ROLLS_BACK = "rolls-back", "the first start after an update fails its diagnostics, and the update is rolled back"
    BAD_CABLE = "bad-cable", "above N baud, its cable damages long messages in both directions"
    WORN_CABLE = "worn-cable", "the same, but only from the third block of a write on"
    KILL_AT = "kill-at", "kills the process of --kill-pid when the N-th command arrives"
    STALL_AT = "stall-at", "stops answering at the N-th command"

    summary: str

    def __new__(cls, value: str, summary: str) -> Self:
        member = object.__new__(cls)
        member._value_ = value
        member.summary = summary
        return member

    @property
    def takes_number(self) -> bool:
        """Whether the fault takes `=N`."""
        return self in _NUMBERED

    @property
    def is_inborn(self) -> bool:
        """Whether a board has the fault from its start or never: it is in the chip, or in its first flash."""
        return self in (
            BoardFault.WRONG_CHIP,
            BoardFault.SMALL_FLASH,
            BoardFault.SECURE_BOOT,
            BoardFault.FLASH_ENCRYPTION,
            BoardFault.SECURE_DOWNLOAD,
            BoardFault.OLD_REVISION,
            BoardFault.STALE_NVS,
        )

    @property
    def default_number(self) -> int:
        """The N of a fault without a number; 0 if it needs one."""
        return 9 if self is BoardFault.JUST_IN_TIME else 0


_NUMBERED = (
    BoardFault.KILL_AT,
    BoardFault.STALL_AT,
    BoardFault.JUST_IN_TIME,
    BoardFault.BAD_CABLE,
    BoardFault.WORN_CABLE,
)
_CALL = re.compile(r"(?P<name>[a-z-]+)(=(?P<number>[0-9]{1,9}))?(@(?P<index>[0-9]{1,9}))?")


@dataclass(frozen=True)
class FaultCall:
    """A requested fault: `NAME` or `NAME=N`, either with `@INDEX` (from 0) for one of several boards."""

    fault: BoardFault
    number: int = 0
    index: int | None = None

    @classmethod
    def parse(cls, text: str) -> FaultCall:
        """Parse the form above. Raise InputError if *text* is not a fault."""
        match = _CALL.fullmatch(text)
        name = match["name"] if match is not None else re.split("[=@]", text)[0]
        fault = named_fault(BoardFault, name)
        number = int(match["number"]) if match and match["number"] else fault.default_number
        if match is None or fault.takes_number != bool(number):
            number_too = "=N with N from 1 to 999999999" if fault.takes_number else " without a number"
            hint = f"use {fault.value}{number_too}" + (f"; {fault.value}@2 is for the third board" if not match else "")
            raise InputError(f'"{one_line(text)}" is not a form of the fault {fault.value}', hint=hint, cause="fault")
        index = None if match["index"] is None else int(match["index"])
        return cls(fault, number, index)

    def hits(self, index: int) -> bool:
        """Whether the board with the number *index* has this fault."""
        return self.index is None or self.index == index

    def __str__(self) -> str:
        number = f"={self.number}" if self.fault.takes_number else ""
        return f"{self.fault.value}{number}" + ("" if self.index is None else f"@{self.index}")
