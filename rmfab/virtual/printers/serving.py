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
from typing import Any

from rmfab.errors import StationError, cannot_listen
from rmfab.listening import bound_to, free_port
from rmfab.virtual.printers.desk import PrinterDesk
from rmfab.virtual.printers.faults import PrinterTrouble, PrinterTroubleCall
from rmfab.virtual.printers.spec import VirtualPrinterSpec

_READ = 1 << 14
_LONGEST_COMMAND = 4096


class _TcpServer:
    """A listening port with a thread that accepts."""

    def __init__(self, host: str, port: int) -> None:
        self._bound, self.port = host, port
        self._open: set[socket.socket] = set()
        self._listen()

    def _listen(self) -> None:
        self._listener = _listening(self._bound, self.port)
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
    """The raw port of a printer; while the printer is off, nobody listens, and no client gets its number."""

    def __init__(self, desk: PrinterDesk, host: str, port: int) -> None:
        self._desk = desk
        super().__init__(host, port or free_port(host))
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
    family, place = bound_to(host, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(8)
    except OSError as error:
        listener.close()
        raise cannot_listen(host, port, error.strerror or str(error)) from None
    return listener
