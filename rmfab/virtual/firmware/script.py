"""The steps of firmware over time: print, pause, reset, read the console, serve, use MQTT, set an alarm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, unique
from typing import Protocol

from rmfab.virtual.chip.efuse import EfuseSecurity
from rmfab.virtual.firmware.mqtt import MqttFailure, MqttPublish, MqttSettings, MqttSubscribe
from rmfab.virtual.firmware.ota_job import OtaJob
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.network import Route


@unique
class ResetReason(Enum):
    """Why the chip was reset: the number that the ROM prints, and its text on the ESP32 and on newer chips.

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
    """The chip restarts in the mode of the last sampled straps."""

    reason: ResetReason


@dataclass(frozen=True)
class Listen:
    """From now on *answer* receives the console input and returns the steps that it causes."""

    answer: Callable[[bytes], Iterator[Step]]


@dataclass(frozen=True)
class Answer:
    """The answer of a service to a request.

    *reply* is None if the connection is closed without one; *steps* are what the request causes; *after* is the time
    until the reply in seconds.
    """

    reply: bytes | None
    steps: Iterator[Step]
    after: float = 0.0


class Service(Protocol):
    """Endpoints that answer requests, in one session at a time."""

    def has(self, endpoint: str) -> bool:
        """Whether this endpoint exists."""

    def open_session(self) -> None:
        """Open a new session and close the previous one."""

    def answer(self, endpoint: str, request: bytes) -> Answer:
        """Handle a request."""


@dataclass(frozen=True)
class Serve:
    """From now on *service* answers requests; None stops that."""

    service: Service | None


@dataclass(frozen=True)
class Enter:
    """From now on *firmware* runs, until the chip is reset."""

    firmware: RunningFirmware


@dataclass(frozen=True)
class Alarm:
    """*steps* are run after *seconds*, in parallel with everything else; a reset cancels them."""

    seconds: float
    steps: Iterator[Step]


class MqttClient(Protocol):
    """A client of a broker; each method returns its reaction."""

    settings: MqttSettings

    @property
    def route(self) -> Route | None:
        """Where the broker is now; None if its name cannot be resolved."""

    def connected(self) -> Iterator[Step]:
        """The broker has accepted the connection."""

    def ended(self, failure: MqttFailure) -> Iterator[Step]:
        """There is no connection, or no longer."""

    def received(self, path: str, payload: bytes) -> Iterator[Step]:
        """A message has arrived."""

    def acknowledged(self, message: MqttPublish) -> Iterator[Step]:
        """The broker has received *message*."""


@dataclass(frozen=True)
class Dial:
    """Connect *client* to its broker; a reset ends the connection."""

    client: MqttClient


@dataclass(frozen=True)
class Update:
    """Download the image of *job* into the free slot, put it in force, and restart."""

    job: OtaJob


@dataclass(frozen=True)
class Burn:
    """The eFuses are burned to *security*, permanently."""

    security: EfuseSecurity


@dataclass(frozen=True)
class Console:
    """From now on the console is on UART0 (*heard*) at *baud*, or elsewhere: UART0 carries nothing then."""

    heard: bool
    baud: int


NetworkStep = Dial | MqttPublish | MqttSubscribe | Update
Step = str | Pause | Reset | Listen | Serve | Enter | Alarm | Burn | Console | NetworkStep
Script = Iterator[Step]
