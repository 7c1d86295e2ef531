"""What a unit prints while a step is busy with something else: a death or restart is the reason why the step fails."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rmfab.board.bootlog import BootLog
from rmfab.board.esp.loader import SlotLink
from rmfab.board.restart import Unwired
from rmfab.errors import IntegrityError, PortError, StationError, UnitFault
from rmfab.line import listening, worker
from rmfab.line.connection import BoardConnection
from rmfab.line.ending import Aborted, Passed, Skipped
from rmfab.line.events import Step
from rmfab.line.listening import judge_meanwhile, listen
from rmfab.line.proofs import proofs_of
from rmfab.line.stages import OnSlot
from rmfab.line.station import Slot
from rmfab.product.console_pattern import ConsolePatterns
from rmfab.product.product import VerifyPolicy
from rmfab.product.vocabulary import ConsolePort, Credentials
from rmfab.release.build_config import BuildConfig
from tests.board.feed import Feed
from tests.patience import PATIENCE

LINK = SlotLink("feed", 115200, Unwired())
LAST_LINE = b"I (500) network_prov_mgr: Provisioning started with service name : PROV_0a1b2c \r\n"
PANIC = b"Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.\r\n"
RESTART = b"ESP-ROM:esp32c3-api1-20210207\r\nrst:0x7 (TG0WDT_SYS_RST),boot:0xc (SPI_FAST_FLASH_BOOT)\r\n"
STARTED = (
    b"I (1) app_init: Project name:     a\nI (1) app_init: App version:      1\n"
    b"I (1) app_init: ELF file SHA256:  0a1b2c3d4...\n"
)


class Gone(Feed):
    """A port that goes away once everything is read."""

    def read(self, size: int = 1) -> bytes:
        """Return the next bytes, or fail as an unplugged port does."""
        if not self._pieces:
            raise OSError(5, "gone")
        return super().read(size)


def visit_of(*pieces: bytes, port: type[Feed] = Feed) -> Any:
    """Return a visit whose board prints *pieces*."""
    policy = SimpleNamespace(boot_timeout=PATIENCE, settle=0.0, patterns=ConsolePatterns())
    identity = SimpleNamespace(credentials=Credentials.CERTIFICATE)
    job = SimpleNamespace(product=SimpleNamespace(verify=policy, identity=identity))
    board = BoardConnection(LINK, port(*pieces), lambda: None, 115200)  # type: ignore[arg-type]
    proofs = proofs_of(VerifyPolicy(), BuildConfig(console=ConsolePort.UART0, log_level=3), own_usb=False)
    return SimpleNamespace(job=job, board=board, proofs=proofs, silent=False, keep_going=lambda: None)


def running(*pieces: bytes, port: type[Feed] = Feed) -> Any:
    """Return a visit of a unit that has booted; then it prints *pieces*."""
    visit = visit_of(*pieces, port=port)
    visit.board.open_console()
    log = BootLog()
    for line in (STARTED + LAST_LINE).decode().splitlines():
        log.feed(line)
    log.complete()
    visit.board.follow(log)
    return visit


def worker_of() -> worker.Worker:
    """Return a worker that is not run."""
    job = SimpleNamespace(steps=(), product=SimpleNamespace(verify=VerifyPolicy()))
    return worker.Worker(job, Slot("A1", LINK), print, threading.Event())  # type: ignore[arg-type]


def raising(ending: Exception | None) -> Callable[..., Passed[OnSlot]]:
    """Return a step that ends with *ending*, or passes."""

    def take(*_: object) -> Passed[OnSlot]:
        if ending is not None:
            raise ending
        return Passed(OnSlot())

    return take


def offered(log: BootLog) -> bool:
    """Return whether the last expected line was read."""
    return log.service_name is not None


@pytest.mark.parametrize(("words", "cause"), [(PANIC, "panic"), (RESTART, "restart")])
class TestEveryStep:
    """The rule holds in the worker, for every step and every ending."""

    @pytest.mark.parametrize("step", Step)
    @pytest.mark.parametrize("ending", [None, Skipped("off"), UnitFault("no answer"), StationError("no link")])
    def test_the_death_is_the_reason(self, monkeypatch, words, cause, step, ending):
        """Whatever the step itself has noticed, the unit's death is why it fails."""
        monkeypatch.setattr(worker, "take_step", raising(ending))
        with pytest.raises(UnitFault) as caught:
            worker_of()._watched(running(words), step)
        assert caught.value.cause == cause


@pytest.mark.parametrize("ending", [IntegrityError("cloned"), Aborted()])
def test_what_is_worse(monkeypatch, ending):
    """What stops the line is not hidden by a death."""
    monkeypatch.setattr(worker, "take_step", raising(ending))
    with pytest.raises(type(ending)):
        worker_of()._watched(running(PANIC), Step.PROVISION)


def test_a_lost_port_hides_no_reason(monkeypatch):
    """If the console cannot be read any more, the step's own reason stands."""
    monkeypatch.setattr(worker, "take_step", raising(UnitFault("no answer")))
    with pytest.raises(UnitFault, match="no answer"):
        worker_of()._watched(running(port=Gone), Step.PROVISION)
    with pytest.raises(PortError):
        judge_meanwhile(running(port=Gone))


def test_a_healthy_unit():
    """A unit that prints only what units print passes, and its log grows."""
    visit = running(b"I (900) app: tick\r\n" * 3 + b"I (901) esp_mqtt: MQTT Connected\r\n")
    judge_meanwhile(visit)
    assert visit.board.log.mqtt_connected


def test_a_restarted_board_is_not_followed():
    """After a restart by the station, the lines of the next boot are not those of the last."""
    visit = running(RESTART)
    visit.board.restart()
    judge_meanwhile(visit)
    assert visit.board.log is None


class TestListen:
    """The reader of a boot."""

    @pytest.mark.parametrize(("words", "cause"), [(PANIC, "panic"), (RESTART, "restart")])
    def test_death_right_after_the_last_line(self, words, cause):
        """A death that arrives together with the last expected line is found, without any settling time."""
        visit = visit_of(STARTED + LAST_LINE + words)
        listen(visit, offered, 0.0)
        with pytest.raises(UnitFault) as caught:
            judge_meanwhile(visit)
        assert caught.value.cause == cause

    def test_the_next_start_is_waited_for(self):
        """A ROM that could not read its flash gets its second start."""
        unready = b"rst:0x1 (POWERON_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\nflash read err, 1000\nets_main.c 371 \n"
        again = b"rst:0x10 (RTCWDT_RTC_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)\nentry 0x400805e4\n"
        _, log = listen(visit_of(unready, again + STARTED + LAST_LINE), offered, 0.0)
        assert (log.symptom, log.service_name) == (None, "PROV_0a1b2c")

    def test_no_next_start(self, monkeypatch):
        """A ROM that stays where it stopped is not waited for until boot_timeout."""
        monkeypatch.setattr(listening, "_NEXT_START_SECONDS", 0.05)
        visit = visit_of(b"csum err:0xa0!=0xf5\nFalling back to built-in command interpreter.\n")
        visit.job.product.verify.boot_timeout = 3600.0
        _, log = listen(visit, offered, 0.0)
        assert (log.failed, log.symptom and log.symptom.cause) == (True, "bootloader-checksum")
