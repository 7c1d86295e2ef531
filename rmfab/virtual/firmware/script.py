"""What firmware does over time, as steps: it prints, pauses, resets, listens on its console, offers provisioning, sets
itself an alarm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, unique
from typing import Protocol

from rmfab.virtual.chip.efuse import EfuseSecurity
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.network import AccessPoint


@unique
class ResetReason(Enum):
    """Why the chip started anew: the number that the ROM prints and its words on the ESP32 and on newer chips.

    Source: ESP-IDF `components/esp_rom/<chip>/include/<chip>/rom/rtc.h`.
    """

    POWER_ON = 1, "POWERON_RESET", "POWERON"
    SOFTWARE = 3, "SW_RESET", "RTC_SW_SYS_RST"
    TIMER_WATCHDOG = 7, "TG0WDT_SYS_RESET", "TG0WDT_SYS_RST"
    CPU_SOFTWARE = 12, "SW_CPU_RESET", "RTC_SW_CPU_RST"
    BROWNOUT = 15, "RTCWDT_BROWN_OUT_RESET", "BROWNOUT_RST"
    RTC_WATCHDOG = 16, "RTCWDT_RTC_RESET", "RTCWDT_RTC_RST"

    code: int
    old_words: str
    words: str

    def __init__(self, code: int, old_words: str, words: str) -> None:
        self.code = code
        self.old_words = old_words
        self.words = words


@dataclass(frozen=True)
class Pause:
    """Nothing happens for *seconds*."""

    seconds: float


@dataclass(frozen=True)
class Reset:
    """The chip starts anew, in the mode that the straps chose last."""

    reason: ResetReason


@dataclass(frozen=True)
class Listen:
    """From here on *answer* is given what the host types and returns the steps it leads to."""

    answer: Callable[[bytes], Iterator[Step]]


@dataclass(frozen=True)
class Answer:
    """What a service makes of a request: the *reply*, None where the connection is closed without one, the *steps* it
    leads to, and how many seconds the reply takes."""

    reply: bytes | None
    steps: Iterator[Step]
    after: float = 0.0


class Service(Protocol):
    """Endpoints that answer requests, in one session at a time."""

    def has(self, endpoint: str) -> bool:
        """Whether there is such an endpoint."""

    def open_session(self) -> None:
        """A new session; the one before it is closed."""

    def hear(self, networks: tuple[AccessPoint, ...]) -> None:
        """Changes the networks around the board."""

    def answer(self, endpoint: str, request: bytes) -> Answer:
        """Handles a request."""


@dataclass(frozen=True)
class Serve:
    """From here on *service* answers requests; None ends that."""

    service: Service | None


@dataclass(frozen=True)
class Enter:
    """From here on *firmware* runs, until the chip is reset."""

    firmware: RunningFirmware


@dataclass(frozen=True)
class Alarm:
    """*steps* are taken after *seconds*, whatever else happens meanwhile; a reset calls them off."""

    seconds: float
    steps: Iterator[Step]


@dataclass(frozen=True)
class Burn:
    """The eFuses are burnt to *security*, for ever."""

    security: EfuseSecurity


Step = str | Pause | Reset | Listen | Serve | Enter | Alarm | Burn
Script = Iterator[Step]
