"""A virtual board: one chip, its flash, its straps, and how it handles the bytes on its UART."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from enum import Enum, unique
from functools import partial

from rmfab.virtual.bench.mqtt_port import MqttPort
from rmfab.virtual.chip import rom_loader, slip, stub_loader
from rmfab.virtual.chip.command import Effect, Op, Reaction
from rmfab.virtual.chip.efuse import efuse_words
from rmfab.virtual.chip.flash import Flash
from rmfab.virtual.chip.registers import Registers
from rmfab.virtual.chip.reset_circuit import ResetCircuit
from rmfab.virtual.chip.rom_loader import RomLoader
from rmfab.virtual.chip.stub_loader import Stub
from rmfab.virtual.chip.uart import ROM_BAUD, Timeline, Uart
from rmfab.virtual.faults import BoardFault, FaultCall
from rmfab.virtual.firmware.bootloader import boot, download_banner
from rmfab.virtual.firmware.mqtt import MqttFailure, MqttPublish, MqttSubscribe
from rmfab.virtual.firmware.ota_job import OtaJob
from rmfab.virtual.firmware.panic import panic
from rmfab.virtual.firmware.rainmaker import leave_stale_identity
from rmfab.virtual.firmware.running import RunningFirmware
from rmfab.virtual.firmware.script import (
    Alarm,
    Answer,
    Burn,
    Console,
    Dial,
    Enter,
    Listen,
    NetworkStep,
    Pause,
    Reset,
    ResetReason,
    Script,
    Serve,
    Service,
    Step,
    Update,
)
from rmfab.virtual.network import AccessPoint
from rmfab.virtual.spec import BoardSpec, PortKind, Strap

_FAULT_AT_DATA = 3
_WATCHDOG_SECONDS = 0.05
_LEAST_WAIT = 0.0005
_BAUD_SECONDS = (
    0.01  # from the reply to CHANGE_BAUD until the new rate; source: the stub of esptool 4, `stub_flasher.c`
)
_AFTER_DEATH_SECONDS = 0.3
_DATA = (Op.FLASH_DATA, Op.DEFL_DATA)
_WRITE_LIMITS = (Op.FLASH_BEGIN, Op.DEFL_BEGIN, Op.FLASH_END, Op.DEFL_END)


@unique
class Mode(Enum):
    """The current activity of the chip."""

    OFF = "off"
    HELD = "held in reset"
    DOWNLOAD = "download"
    RUNNING = "running"
    CRASHED = "crashed"


class Board:
    """One board on one serial line. `power(True)` starts it.

    *on_vanish* is called when the port should disappear, with whether a different board should replace this one.
    Without *mqtt* its firmware reaches no broker; *at_end* is called when the firmware ends.
    """

    def __init__(
        self,
        spec: BoardSpec,
        timeline: Timeline,
        on_vanish: Callable[[bool], None] = lambda _swap: None,
    ) -> None:
        self._efuses = None if spec.flash_file is None else spec.flash_file.with_suffix(".efuses")
        self.spec = spec if self._efuses is None else replace(spec, burnt=spec.security.kept(self._efuses))
        self.model = spec.model
        self.flash = Flash(spec.real_flash_size, spec.flash_file)
        self.uart = Uart(timeline, spec.paced, spec.bridge)
        self.uart.cable = self._cable
        self.circuit = ResetCircuit(timeline, self._hold, self._released)
        self.strap = spec.boot_strap
        self.mode = Mode.OFF
        self.commands = 0
        self.restarts = 0
        self._paced = spec.paced is not None
        self._timeline = timeline
        self._on_vanish = on_vanish
        self._fixed = self._burnt_words()
        self._latched = self.strap
        self._decoder = slip.Decoder(rom_loader.FRAME_LIMIT)
        self._loader: RomLoader | Stub | None = None
        self._registers = self._fresh_registers()
        self._frames: deque[bytes | slip.BrokenFrame] = deque()
        self._busy_until = 0.0
        self._life = 0
        self._answer: Callable[[bytes], Iterator[Step]] | None = None
        self._heard = True
        self.service: Service | None = None
        self.firmware: RunningFirmware | None = None
        self.on_service: Callable[[bool], None] = lambda _serving: None
        self.mqtt: MqttPort | None = None
        self.at_end: set[Callable[[], None]] = set()
        self.on_update: Callable[[OtaJob], None] = lambda _job: None
        self._data_commands = 0
        self._blocks = 0  # of the current write
        self._spent: set[BoardFault] = set()
        self.uart.to_board = self.receive
        self.change_faults(self.spec.faults)
        if spec.has(BoardFault.STALE_NVS):
            leave_stale_identity(self.flash)

    # Actions of a host, a fixture or an operator.

    def change_faults(self, faults: tuple[FaultCall, ...]) -> None:
        """Replace the faults of the board from now on."""
        self.spec = replace(self.spec, faults=faults)
        self.flash.flawed = self.spec.has(BoardFault.BAD_FLASH)

    def power(self, on: bool) -> None:
        """Switch the supply on or off."""
        if not on:
            self._stop(Mode.OFF)
        elif self.mode is Mode.OFF:
            self._start(ResetReason.POWER_ON, self._strapped())

    def restart(self) -> None:
        """Pulse EN as a fixture does; without power nothing happens."""
        if self.mode is not Mode.OFF:
            self._start(ResetReason.POWER_ON, self._strapped())

    def receive(self, data: bytes, at: float) -> None:
        """Process bytes that reached the chip's UART at time *at*."""
        if self.mode is Mode.RUNNING and self._answer is not None and self._heard:
            for _ in range(data.count(b"\n") or data.count(b"\r")):
                self._count_command()
            if not self._stalled:
                self._play(self._answer(data))
        elif self.mode is Mode.DOWNLOAD:
            for frame in self._decoder.feed(self._thinned(data)):
                self._take_frame(frame)
            self._pump(at)

    def provision(self, endpoint: str, request: bytes) -> Answer:
        """Pass a request to the provisioning service and run its steps; no reply means a closed connection."""
        if self.service is None:
            return Answer(None, iter(()))
        answer = self.service.answer(endpoint, request)
        self._play(answer.steps)
        if self.spec.has(BoardFault.LATE_PANIC) and endpoint == "ch_resp" and self.firmware is not None:
            self._play(panic(self.model, self.firmware.descriptor))
            return replace(answer, after=answer.after + _AFTER_DEATH_SECONDS)
        return answer

    def note_request(self) -> bool:
        """Count a request to the provisioning service as a command; return whether it should be answered."""
        self._count_command()
        return not self._stalled

    def carry_on(self, steps: Iterator[Step]) -> None:
        """Run steps of the firmware that something outside the chip caused."""
        self._play(steps)

    def hear(self, networks: tuple[AccessPoint, ...]) -> None:
        """Change the Wi-Fi networks around the board."""
        self.spec = replace(self.spec, networks=networks)
        if self.firmware is not None:
            self.firmware.networks = networks
        if self.mqtt is not None:
            self.mqtt.follow_route()

    # Straps and resets.

    def _strapped(self) -> Strap:
        return Strap.DOWNLOAD if self.circuit.boot_pin_low else self.strap

    def _hold(self) -> None:
        if self.mode is not Mode.OFF:
            self._stop(Mode.HELD)

    def _released(self, _boot_pin_low: bool) -> None:
        if self.mode is Mode.HELD:
            self._start(ResetReason.POWER_ON, self._strapped())

    def _stop(self, mode: Mode) -> None:
        self._life += 1
        self._frames.clear()
        self._busy_until = 0.0
        self._loader = None
        self._blocks = 0
        self._leave()
        self.uart.drop_output()
        self.mode = mode

    def _start(self, reason: ResetReason, strap: Strap) -> None:
        self._stop(Mode.DOWNLOAD if strap is Strap.DOWNLOAD else Mode.RUNNING)
        self._latched = strap
        self.restarts += 1
        self._take(Console(heard=True, baud=ROM_BAUD))
        self.uart.autobaud = strap is Strap.DOWNLOAD
        self._registers = self._fresh_registers()
        self._decoder = slip.Decoder(rom_loader.FRAME_LIMIT)
        if strap is Strap.DOWNLOAD:
            self._loader = RomLoader(
                self.model, self.flash, self._registers, self.spec.security, self.spec.chip_revision
            )
            self._play(download_banner(self.model, reason, disabled=self._locked))
        else:
            self._play(boot(self.spec, self.flash, reason))

    def _burnt_words(self) -> dict[int, int]:
        return efuse_words(self.model, self.spec.base_mac, self.spec.chip_revision, self.spec.security)

    def _fresh_registers(self) -> Registers:
        return Registers(self.model, self.flash, self._fixed, lambda: self.uart.chip_baud, self._watchdog_armed)

    def _watchdog_armed(self) -> None:
        self._later(_WATCHDOG_SECONDS, lambda: self._start(ResetReason.RTC_WATCHDOG, self._strapped()))

    # Running firmware.

    def _play(self, script: Script) -> None:
        """Run *script* until it pauses, resets or ends."""
        for step in script:
            if isinstance(step, str):
                if self._heard and not self.spec.has(BoardFault.SILENT):
                    self.uart.from_board(step.encode(), self._timeline.time())
            elif isinstance(step, Pause):
                self._after_output(partial(self._later, step.seconds, partial(self._play, script)))
                return
            elif isinstance(step, Reset):
                self._reset(step.reason, self._latched)
                return
            else:
                self._take(step)

    def _take(self, step: Listen | Serve | Enter | Alarm | Burn | Console | NetworkStep) -> None:
        match step:
            case Listen(answer):
                self._answer = answer
            case Serve(service):
                self._serve(service)
            case Enter(firmware):
                self.firmware = firmware
            case Console(heard, baud):
                self._heard = heard
                self.uart.chip_baud = baud if heard else ROM_BAUD
                if self.spec.link is PortKind.SOCKET:  # a raw port carries no baud rate
                    self.uart.host_baud = self.uart.chip_baud
            case Burn(security):
                self.spec = replace(self.spec, burnt=security)
                self._fixed = self._burnt_words()
                if self._efuses is not None:
                    security.keep(self._efuses)
            case Alarm(seconds, steps):
                self._later(seconds, lambda: self._play(steps))
            case _:
                self._use_network(step)

    def _use_network(self, step: NetworkStep) -> None:
        match step:
            case Update(job):
                self.on_update(job)
            case Dial(client) if self.mqtt is None:
                self._play(client.ended(MqttFailure.NO_LIBRARY))
            case Dial(client) if self.mqtt is not None:
                self.mqtt.dial(client)
            case MqttPublish() | MqttSubscribe() if self.mqtt is not None:
                self.mqtt.give(step)

    def _leave(self) -> None:
        """End whatever the firmware does."""
        self._answer = None
        self.firmware = None
        self._serve(None)
        if self.mqtt is not None:
            self.mqtt.hang_up()
        for end in self.at_end:
            end()

    def _serve(self, service: Service | None) -> None:
        self.service = service
        self.on_service(service is not None)

    def _after_output(self, callback: Callable[[], None]) -> None:
        """Call *callback* when all output is sent, unless the chip is reset or loses its power before that."""
        self.uart.after_output(partial(self._if_alive, self._life, callback))

    def _reset(self, reason: ResetReason, strap: Strap) -> None:
        """Reset the chip from inside; it waits for the UART before that."""
        self._leave()
        self._frames.clear()
        self._after_output(lambda: self._start(reason, strap))

    def _later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call *callback* unless the chip is reset or loses its power before that."""
        self._timeline.call_at(self._timeline.time() + seconds, self._if_alive, self._life, callback)

    def _if_alive(self, life: int, callback: Callable[[], None]) -> None:
        if life == self._life:
            callback()

    # The loader.

    @property
    def _locked(self) -> bool:
        """Whether the ROM's loader is disabled."""
        return self.spec.security.no_download

    @property
    def _deaf(self) -> bool:
        """Whether requests get no answer."""
        return self._locked or self._stalled or self.spec.has(BoardFault.NO_SYNC)

    def _take_frame(self, frame: bytes | slip.BrokenFrame) -> None:
        """Keep a frame for the loader. The stub takes one frame ahead of the one that it works on; a third is lost.

        Between the end of a frame and the moment the stub takes it, nothing is received, so two frames in a row are one
        too many. Source: esp-flasher-stub `slip.c`, `transport.c`, `frame_buffer.c`.
        """
        if self._paced and isinstance(self._loader, Stub) and self._frames:
            return
        self._frames.append(frame)

    def _pump(self, at: float) -> None:
        while self._frames and self._loader is not None:
            start = max(at, self._busy_until)
            if self._paced and start > self._timeline.time() + _LEAST_WAIT:
                self._later(start - self._timeline.time(), lambda start=start: self._pump(start))  # type: ignore[misc]
                return
            self._execute(self._frames.popleft(), start)

    def _execute(self, frame: bytes | slip.BrokenFrame, start: float) -> None:
        self._count_command()
        self._count_data(frame)
        if self._loader is None or self._deaf or self.mode is not Mode.DOWNLOAD:
            return
        reaction = self._loader.handle(frame)
        self.uart.autobaud = self.uart.autobaud and not reaction.replies
        sending = start + reaction.before if self._paced else start
        output = b"".join(map(slip.encode, reaction.replies)) + reaction.text.encode()
        if output:
            self.uart.from_board(output, sending)
        self._busy_until = sending + reaction.after if self._paced else 0.0
        if reaction.effect is not None:
            self._apply(reaction, sending)

    def _apply(self, reaction: Reaction, at: float) -> None:
        match reaction.effect:
            case Effect.BAUD:
                self._change_baud(max(reaction.value, 1))
            case Effect.STUB:
                self._run_stub(at)
            case Effect.CRASH:
                self._stop_answering()
            case Effect.RUN:
                self._stop_answering()
                self.mode = Mode.RUNNING
            case Effect.RESTART:
                self._reset(ResetReason.SOFTWARE, self._latched)

    def _change_baud(self, baud: int) -> None:
        if self._paced:
            self._later(_BAUD_SECONDS, partial(setattr, self.uart, "chip_baud", baud))
        else:
            self.uart.chip_baud = baud

    def _run_stub(self, at: float) -> None:
        self._decoder = slip.Decoder(stub_loader.FRAME_LIMIT)
        self._loader = Stub(self.model, self.flash, self._registers, self.spec.security, self.spec.chip_revision)
        self.uart.from_board(slip.encode(stub_loader.GREETING), at)

    def _stop_answering(self) -> None:
        self._frames.clear()
        self._loader = None
        self._serve(None)
        self.mode = Mode.CRASHED

    # Faults of the serial line.

    def _cable(self) -> int:
        """Return the highest rate at which the cable carries long messages."""
        limits = [self.spec.number(BoardFault.BAD_CABLE)]
        if self._blocks >= _FAULT_AT_DATA:
            limits.append(self.spec.number(BoardFault.WORN_CABLE))
        return min((limit for limit in limits if limit), default=1 << 30)

    def _thinned(self, data: bytes) -> bytes:
        """Return *data* without the bytes that the fault `drop-bytes` loses."""
        if not self._due(BoardFault.DROP_BYTES) or len(data) < 256:
            return data
        self._spent.add(BoardFault.DROP_BYTES)
        return data[:100] + data[116:]

    def _count_data(self, frame: bytes | slip.BrokenFrame) -> None:
        op = frame[1] if isinstance(frame, bytes) and len(frame) > 1 else None
        self._data_commands += op in _DATA
        self._blocks = 0 if op in _WRITE_LIMITS else self._blocks + (op in _DATA)
        for fault in (BoardFault.VANISH, BoardFault.VANISH_AND_SWAP):
            if self._due(fault):
                self._spent.add(fault)
                self._stop_answering()
                self._on_vanish(fault is BoardFault.VANISH_AND_SWAP)

    def _due(self, fault: BoardFault) -> bool:
        return self.spec.has(fault) and fault not in self._spent and self._data_commands >= _FAULT_AT_DATA

    def _count_command(self) -> None:
        """Count a loader request or console line; kill the process of `kill-at` when its command arrives."""
        self.commands += 1
        due = self.spec.has(BoardFault.KILL_AT) and self.commands == self.spec.number(BoardFault.KILL_AT)
        if due and self.spec.kill_pid is not None:
            os.kill(self.spec.kill_pid, signal.SIGKILL)

    @property
    def _stalled(self) -> bool:
        return self.spec.has(BoardFault.STALL_AT) and self.commands >= self.spec.number(BoardFault.STALL_AT)
