"""A virtual printer that clients can reach: a raw TCP port or a device file, and a control port beside it.

One client at a time: others are closed at once, as most printers do. Half a label stays in the printer when its client
goes away.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from rmfab.errors import InputError, StationError, cannot_listen
from rmfab.files import make_folder
from rmfab.virtual.printers.faults import PrinterTrouble, PrinterTroubleCall
from rmfab.virtual.printers.mechanism import Mechanism
from rmfab.virtual.printers.ql import QlReader
from rmfab.virtual.printers.spec import PrinterKind, VirtualPrinterSpec
from rmfab.virtual.printers.tspl import TsplReader
from rmfab.virtual.printers.zpl import ZplReader

_READERS: dict[PrinterKind, Callable[[Mechanism, Callable[[bytes], None]], PrinterReader]] = {
    PrinterKind.ZPL: ZplReader,
    PrinterKind.QL: QlReader,
    PrinterKind.TSPL: TsplReader,
}
_LABEL_MARKS = (b"^GF", b"BITMAP ", b"\x1biz")
_JUNK = b"\x02\xff\x00,,,\x03\r\n\x80 C" * 5
_READ = 1 << 14
_LONGEST_COMMAND = 4096
_COMMANDS = "commands: fault NAME[=N]|none | fix [NAME] | take | vanish | return | state"


class PrinterReader(Protocol):
    """What reads the language of a printer."""

    def feed(self, data: bytes) -> None:
        """Read *data*."""


class PrinterDesk:
    """One virtual printer behind any port: what its clients and its operator do to it.

    *powered* is called when it is switched on or off.
    """

    def __init__(self, spec: VirtualPrinterSpec, folder: Path) -> None:
        self.mechanism = Mechanism(spec, make_folder(folder, secret=True))
        self.there = True
        self.powered: Callable[[bool], None] = lambda _: None
        self._send: Callable[[bytes], None] | None = None
        self._start()

    def _start(self) -> None:
        self._reader = _READERS[self.mechanism.spec.kind](self.mechanism, self._reply)

    def connect(self, send: Callable[[bytes], None]) -> bool:
        """Let a client in; return False if there is one already."""
        if self._send is not None or self.mechanism.has(PrinterTrouble.SECOND_CLIENT):
            return False
        self._send = send
        return True

    def disconnect(self) -> None:
        """Let the client go."""
        self._send = None

    def feed(self, data: bytes) -> bool:
        """Read *data*; return False if the printer loses power meanwhile."""
        self.mechanism.wait_while(PrinterTrouble.BUFFER_FULL)
        if self.mechanism.has(PrinterTrouble.VANISH) and any(mark in data for mark in _LABEL_MARKS):
            self.vanish()
            return False
        self._reader.feed(data)
        return True

    def vanish(self) -> None:
        """Switch it off: what it has not printed is lost."""
        self.mechanism.cancel()
        self.there = False
        self.powered(False)

    def _reply(self, data: bytes) -> None:
        send = self._send
        if send is None or self.mechanism.has(PrinterTrouble.NO_ANSWER):
            return
        with suppress(OSError):
            send(_JUNK if self.mechanism.has(PrinterTrouble.GARBAGE) else data)

    def obey(self, words: list[str]) -> str:
        """Execute a control command; return `ok`, the state as JSON, or `error: …`."""
        try:
            return self._obey(words)
        except InputError as error:
            return f"error: {error}"

    def _obey(self, words: list[str]) -> str:
        match words:
            case ["fault", "none"]:
                self.mechanism.fix()
            case ["fault", name]:
                self.mechanism.give(PrinterTroubleCall.parse(name))
            case ["fix"]:
                self.mechanism.fix()
                self.mechanism.take_label()
                self._come_back()
            case ["fix", name]:
                self.mechanism.fix(PrinterTrouble.named(name))
                self._come_back()
            case ["take"]:
                self.mechanism.take_label()
            case ["vanish"]:
                self.vanish()
            case ["return"]:
                self.mechanism.fix(PrinterTrouble.VANISH)
                self._come_back()
            case ["state"]:
                return json.dumps(self._state)
            case _:
                return f"error: {_COMMANDS}"
        return "ok"

    def _come_back(self) -> None:
        if not self.there and not self.mechanism.has(PrinterTrouble.VANISH):
            self._start()
            self.there = True
            self.powered(True)

    @property
    def _state(self) -> dict[str, object]:
        machine = self.mechanism
        width, height = machine.media
        return {
            "on": self.there,
            "faults": sorted(one.value for one in machine.troubles),
            "media": [width, height],
            "waiting": len(machine.queue) + (machine.current is not None),
            "label_waits": machine.label_waits,
            "labels": [str(path) for path in machine.labels],
        }


class _TcpServer:
    """A listening port with a thread that accepts."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self._open: set[socket.socket] = set()
        self._listen()

    def _listen(self) -> None:
        self._listener = _listening(self.host, self.port)
        self.host, self.port = self._listener.getsockname()[:2]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Stop listening, and end all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def serve(self, connection: socket.socket) -> None:
        """Talk to one client."""
        raise NotImplementedError

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            self.serve(connection)
        self._open.discard(connection)


class _RawPort(_TcpServer):
    """The raw port of a printer; while the printer is off, nobody listens."""

    def __init__(self, desk: PrinterDesk, host: str, port: int) -> None:
        self._desk = desk
        super().__init__(host, port)
        desk.powered = lambda on: self._listen() if on else self.close()

    def serve(self, connection: socket.socket) -> None:
        """Read what a client sends, until it closes."""
        self._desk.mechanism.wait_while(PrinterTrouble.WAITING_CLIENT)
        if not self._desk.connect(connection.sendall):
            return
        try:
            while (data := connection.recv(_READ)) and self._desk.feed(data):
                pass
        finally:
            self._desk.disconnect()


class _ControlPort(_TcpServer):
    """The control port: one command per line, one line of answer."""

    def __init__(self, desk: PrinterDesk) -> None:
        self._desk = desk
        super().__init__("127.0.0.1", 0)

    def serve(self, connection: socket.socket) -> None:
        """Obey each line."""
        with connection.makefile("rb") as lines:
            while line := lines.readline(_LONGEST_COMMAND):
                answer = self._desk.obey(line.decode(errors="replace").split())
                connection.sendall(answer.encode() + b"\n")


class PrinterHandle:
    """A served printer: its *address* for station.toml, its *folder* of labels, and its *control* address."""

    def __init__(self, desk: PrinterDesk, address: str, control: str, folder: Path) -> None:
        self._desk = desk
        self.address = address
        self.control_address = control
        self.folder = folder

    @property
    def labels(self) -> list[Path]:
        """The pictures of the labels that came out, oldest first."""
        return list(self._desk.mechanism.labels)

    def tell(self, came_out: Callable[[Path], None]) -> None:
        """Call *came_out* with each label from now on."""
        self._desk.mechanism.came_out = came_out

    def control(self, command: str) -> str:
        """Execute a control command and return its answer. Raise StationError if it is rejected."""
        answer = self._desk.obey(command.split())
        if answer.startswith("error: "):
            raise StationError(f'the virtual printer rejected "{command}": {answer}', cause="control")
        return answer

    def state(self) -> dict[str, Any]:
        """Return the state of the printer."""
        state: dict[str, Any] = json.loads(self.control("state"))
        return state


@contextmanager
def serve_printer(
    spec: VirtualPrinterSpec,
    folder: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    device: Path | None = None,
    troubles: tuple[PrinterTroubleCall, ...] = (),
) -> Iterator[PrinterHandle]:
    """Serve a printer in threads until the block ends; port 0 selects a free one, *device* a device file instead.

    Raise StationError if it cannot listen there.
    """
    with ExitStack() as stack:
        desk = PrinterDesk(spec, folder)
        stack.callback(desk.mechanism.end)
        for call in troubles:
            desk.mechanism.give(call)
        control = _ControlPort(desk)
        stack.callback(control.close)
        if device is None:
            raw = _RawPort(desk, host, port)
            stack.callback(raw.close)
            place = f"tcp://{f'[{raw.host}]' if ':' in raw.host else raw.host}:{raw.port}"
        else:
            from rmfab.virtual.printers.device_port import DevicePort

            stack.callback(DevicePort(desk, device).close)
            place = f"usb://{device.absolute()}"
        yield PrinterHandle(desk, f"{spec.kind}+{place}", f"{control.host}:{control.port}", folder)


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(8)
    except OSError as error:
        raise cannot_listen(host, port, error.strerror or str(error)) from None
    return listener
