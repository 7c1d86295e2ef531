"""A bench of virtual boards in one process: each has a port and a control socket, which stands in for the fixture."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import secrets
from collections.abc import Coroutine, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

from rmfab.errors import InputError, cannot_listen
from rmfab.listening import LOOPBACK
from rmfab.virtual.bench.board import Board
from rmfab.virtual.bench.mqtt_port import MqttPort
from rmfab.virtual.bench.ota_update import UpdateRefused, update
from rmfab.virtual.bench.ports import Port, make_port
from rmfab.virtual.bench.provisioning_http import ProvisioningPort
from rmfab.virtual.control import CONTROL_COMMANDS
from rmfab.virtual.faults import FaultCall
from rmfab.virtual.firmware.ota_job import OtaJob
from rmfab.virtual.firmware.rollback import word_of_state
from rmfab.virtual.network import AccessPoint
from rmfab.virtual.spec import BoardSpec, Strap

_SWAP_SECONDS = 1.5
_COMMANDS = " | ".join(command.form for command in CONTROL_COMMANDS)


class Place:
    """One position on the bench: a port, the board in it, and the control socket."""

    def __init__(self, spec: BoardSpec, folder: Path) -> None:
        self._numbers = spec.numbers
        self.port: Port = make_port(spec.link, folder / f"{spec.chip.value}-{spec.index}", spec.numbers.port)
        self.provisioning = ProvisioningPort(spec.numbers.provisioning)
        self.control = ""
        self._there = not spec.unplugged
        self._swap_timer: asyncio.TimerHandle | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes = {network.ssid: network.routes for network in spec.networks}
        self.board = self._seat(spec)

    async def open(self) -> None:
        """Open its sockets and power the board, unless it is not plugged in. Raise StationError if a port is in use."""
        with _listening(self._numbers.control):
            self._server = await asyncio.start_server(self._converse, LOOPBACK, self._numbers.control)
        self.control = f"{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}"
        with _listening(self._numbers.provisioning):
            self.provisioning.open()
        with _listening(self._numbers.port):
            await self.port.open()
        if self._there:
            self.board.power(True)
        else:
            self._unplug()

    def close(self) -> None:
        """Close all sockets and power the board off."""
        self.port.close()
        self.board.power(False)
        self.provisioning.close()
        self.board.flash.sync()
        if self._server is not None:
            self._server.close()

    @property
    def line(self) -> dict[str, str]:
        """What a host needs: chip, MAC, URL, provisioning URL, control address, flash file."""
        spec = self.board.spec
        mac = spec.base_mac.hex(":")
        flash = "" if spec.flash_file is None else str(spec.flash_file)
        return {
            "chip": spec.chip.value,
            "mac": mac,
            "url": self.port.url,
            "provisioning": self.provisioning.url,
            "control": self.control,
            "flash": flash,
        }

    def _seat(self, spec: BoardSpec) -> Board:
        board = Board(spec, asyncio.get_running_loop(), self._vanish)
        self.port.attach(board)
        self.provisioning.attach(board)
        self.mqtt = MqttPort(board.carry_on)
        board.mqtt = self.mqtt
        board.on_update = lambda job: self._spawn(self._obey_cloud(board, job))
        return board

    def _unplug(self) -> None:
        self._there = False
        self.port.vanish()

    def _vanish(self, swap: bool) -> None:
        """Unplug the board after the command that it executes at this moment; plug in a different one if *swap*."""
        loop = asyncio.get_running_loop()
        loop.call_soon(self._unplug)
        if swap:
            self._swap_timer = loop.call_later(_SWAP_SECONDS, self._come_back_as_another)

    def _come_back_as_another(self) -> None:
        self._spawn(self._put_in_another(()))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _put_in_another(self, faults: tuple[FaultCall, ...]) -> None:
        if self._swap_timer is not None:  # one swap is enough, if the operator was faster
            self._swap_timer.cancel()
            self._swap_timer = None
        self.board.power(False)
        self.board = self._seat(self.board.spec.swapped(faults))
        await self._come_back()

    async def _come_back(self) -> None:
        if not self._there:
            await self.port.open()
            self._there = True
        self.board.power(False)
        self.board.power(True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                while line := await _line(reader):
                    writer.write((await self.obey(line.decode(errors="replace").split()) + "\n").encode())
                    await writer.drain()
                if line is None:
                    writer.write(b"error: a control command is at most 64 KiB long\n")
        finally:
            writer.close()

    async def obey(self, words: Sequence[str]) -> str:
        """Execute a control command; return `ok`, the state as JSON, or `error: …`."""
        match list(words):
            case ["restart"]:
                self.board.restart()
            case ["strap", ("download" | "run") as strap]:
                self.board.strap = Strap(strap)
            case ["power", ("on" | "off") as power]:
                self.board.power(power == "on")
            case ["vanish"]:
                self._unplug()
            case ["return"]:
                await self._come_back()
            case ["swap", *names]:
                return await self._swap(names)
            case ["fault", name]:
                return self._give_fault(name)
            case ["network", *network]:
                return self._hear(network)
            case ["ota", url, *ca_file]:
                return await self._update(url, " ".join(ca_file))
            case ["state"]:
                return json.dumps(self._state)
            case _:
                return f"error: {_COMMANDS}"
        return "ok"

    @property
    def _state(self) -> dict[str, object]:
        board, firmware = self.board, self.board.firmware
        counts = {"commands": board.commands, "restarts": board.restarts}
        slot = None if firmware is None else firmware.slot.label
        ota = None if firmware is None else word_of_state(firmware)
        doing = {"mode": board.mode.value, "serving": board.service is not None, "slot": slot, "ota": ota}
        return {**self.line, "plugged": self._there, **doing, "mqtt": self.mqtt.state, **counts}

    async def _update(self, url: str, ca_file: str) -> str:
        """Update as if the cloud had asked for it; over https trust *ca_file*, or this machine's authorities."""
        if ca_file and not Path(ca_file).is_file():
            return f"error: {ca_file} is not a file"
        roots = Path(ca_file).read_text("ascii", "ignore") if ca_file else None
        try:
            await update(self.board, OtaJob(secrets.token_urlsafe(16), url), roots)
        except UpdateRefused as refusal:
            return f"error: {' '.join(str(refusal).split())}"
        return "ok"

    async def _obey_cloud(self, board: Board, job: OtaJob) -> None:
        """Run the update that the board's cloud has asked for; the board reports how it ends."""
        with contextlib.suppress(UpdateRefused):
            await update(board, job, None if board.firmware is None else board.firmware.roots)

    def _hear(self, words: Sequence[str]) -> str:
        """Parse `none`, or SSID RSSI [PASSWORD], which adds a network or changes the one with that name."""
        heard: tuple[AccessPoint, ...] = ()
        if list(words) != ["none"]:
            if not 2 <= len(words) <= 3:
                return f"error: {_COMMANDS}"
            try:
                network = AccessPoint(words[0], int(words[1]), password="".join(words[2:]))
            except ValueError as error:
                return f"error: {error}"
            network = replace(network, routes=self._routes.get(network.ssid, ()))
            heard = (*(n for n in self.board.spec.networks if n.ssid != network.ssid), network)
        self.board.hear(heard)
        return "ok"

    def _give_fault(self, name: str) -> str:
        """Add a fault, or remove all with `none`."""
        try:
            call = None if name == "none" else FaultCall.parse(name)
        except InputError as error:
            return f"error: {error}"
        if call is not None and call.fault.is_inborn:
            return f"error: a board has {name} from its start: use `swap {name}`, or serve it with --fault {name}"
        self.board.change_faults(() if call is None else (*self.board.spec.faults, call))
        return "ok"

    async def _swap(self, names: Sequence[str]) -> str:
        """Put a different board, with these faults, into the port."""
        try:
            faults = tuple(FaultCall.parse(name) for name in names)
        except InputError as error:
            return f"error: {error}"
        await self._put_in_another(faults)
        return "ok"


class Bench:
    """All boards of one process."""

    def __init__(self, specs: Sequence[BoardSpec], folder: Path) -> None:
        self._specs = specs
        self._folder = folder
        self.places: list[Place] = []

    async def __aenter__(self) -> Self:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            for spec in self._specs:
                place = Place(spec, self._folder)
                self.places.append(place)
                await place.open()
        except BaseException:  # of a bench that does not come about, no board stays
            self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        for place in self.places:
            place.close()


@contextlib.contextmanager
def _listening(number: int) -> Iterator[None]:
    """Turn the OSError of a TCP port that was asked for into a StationError that names it."""
    try:
        yield
    except OSError as error:
        raise cannot_listen(LOOPBACK, number, os.strerror(error.errno or errno.EADDRINUSE).lower()) from None


async def _line(reader: asyncio.StreamReader) -> bytes | None:
    """Return the next line, empty at the end, None if it is longer than the reader's limit (64 KiB)."""
    try:
        return await reader.readline()
    except ValueError:
        return None
