"""The hands of the operator on a line that runs."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from rmfab.errors import InputError, printable
from rmfab.identity.qr import parse_payload
from rmfab.language.speech import marked
from rmfab.line.ending import Aborted
from rmfab.operations.reprint_label import LabelReprinter
from rmfab.operations.run_line import LineRun
from rmfab.operations.terminal import Terminal
from rmfab.workspace.workspace import Workspace

_COLOUR = re.compile(r"\\x1b\[[0-9;]*m|\\r$")
"""The colours and carriage returns of ESP-IDF's log, as the log file has them."""
_TAIL_BYTES, _TAIL_LINES = 64 << 10, 400


class LineHands:
    """The hands of the operator on a line that runs."""

    def __init__(self, run: LineRun, workspace: Workspace, terminal: Terminal) -> None:
        self._run = run
        self._badge = workspace.badge
        self._reprinter = LabelReprinter(workspace, run.floor.job, terminal, self._keep_going)
        self._reprints: dict[str, threading.Thread] = {}
        self._names: dict[str, str] = {}

    def acknowledge(self, slot: str) -> None:
        """See `Hands`."""
        self._run.floor.starts.acknowledge(slot)

    def start(self, slot: str) -> None:
        """See `Hands`."""
        self._run.floor.starts.start(slot)

    def abort(self, slot: str) -> bool:
        """See `Hands`."""
        return self._run.floor.starts.abort(slot)

    def unlock(self, slot: str) -> bool:
        """See `Hands`."""
        book = self._run.floor.job.slots
        named = next(one for one in self._run.slots if one.name == slot)
        return book is not None and book.unlock(named, "unlocked at the operator's screen", self._badge.name)

    def reprint(self, slot: str, serial: str) -> str | None:
        """See `Hands`. A label that is being printed is not printed once more."""
        if not self._reprinter.has_printer:
            return marked("no [printer] in station.toml: use `rmfab label {serial} -o FILE`")
        if serial in self._reprints and self._reprints[serial].is_alive():
            return marked("{serial}: its label is being printed already")
        name = f"reprint {serial}"
        self._reprints[serial] = threading.Thread(
            target=self._reprinter.reprint, args=(serial, slot), name=name, daemon=True
        )
        self._reprints[serial].start()
        return None

    def _keep_going(self) -> None:
        """Raise Aborted once the line is stopped."""
        if self._run.floor.stopped:
            raise Aborted

    def close(self) -> None:
        """Wait for the labels that are being printed; those that wait for the printer are given up."""
        for reprint in self._reprints.values():
            reprint.join()

    @property
    def printer(self) -> str:
        """See `Hands`."""
        labels = self._run.floor.job.labels
        if labels is None or labels.queue is None:
            return ""
        return marked("ok") if labels.queue.ready else marked("not ready")

    def finish(self) -> None:
        """See `Hands`."""
        self._run.floor.finish()

    def stop(self) -> None:
        """See `Hands`."""
        self._run.stop()

    def unit_of(self, payload: str) -> str | None:
        """See `Hands`."""
        try:
            return self._names.get(parse_payload(payload).name)
        except InputError:
            return None

    def learn(self, serial: str) -> None:
        """See `Hands`."""
        identity = self._run.floor.job.ledger.identity_by_serial(serial)
        if identity is not None:
            self._names[identity.record.service_name] = serial

    def enter(self, operator: str) -> str | None:
        """See `Hands`."""
        try:
            self._badge.pass_to(operator)
        except InputError as error:
            return error.what
        return None

    def console(self, log: str | None) -> tuple[str, ...]:
        """See `Hands`."""
        return console_tail(log)


def console_tail(log: str | None) -> tuple[str, ...]:
    """Return the last lines of the file *log*; none if there is none."""
    if log is None:
        return ()
    try:
        with Path(log).open("rb") as file:
            file.seek(max(0, Path(log).stat().st_size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ()
    lines = (printable(_COLOUR.sub("", line)).rstrip() for line in text.splitlines()[-_TAIL_LINES:])
    return tuple(line for line in lines if line)
