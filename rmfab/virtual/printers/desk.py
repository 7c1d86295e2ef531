"""One virtual printer behind any port: what its clients and its operator do to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from rmfab.errors import InputError
from rmfab.files import make_folder
from rmfab.virtual.printers.faults import PrinterTrouble, PrinterTroubleCall, printer_trouble
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
                self.mechanism.fix(printer_trouble(name))
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
