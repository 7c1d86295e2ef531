"""Any bytes on a unit's console end in a verdict that every view can show.

    python -m fuzz.console fuzz/corpus/console -max_total_time=60

The first byte of an input selects the reader of the rest: a console, the same with the slow live view, or the fields of
the line's events. A console goes the way of the step `boot`: lines, boot log, judges, endings, events, views, log file.
Two boots of one unit are separated by `ANOTHER_BOOT`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from fuzz.harness import Reader, fuzz, judge_shown, read_one, shown
from rmfab.board.bootlog import BootLog
from rmfab.board.symptoms import CLAIMING, NO_CREDENTIALS
from rmfab.board.unit_console import UnitConsole
from rmfab.commands.line_view import JsonView, LiveView, PlainView, View
from rmfab.errors import RmfabError, printable
from rmfab.identity.identity import Identity, service_name
from rmfab.ledger.events import Outcome
from rmfab.line import boot_judge
from rmfab.line.ending import Ending, judge_error
from rmfab.line.events import LineEvent, Message, Step, StepEnded, StepProgress, StepStarted, Summary, UnitEnded
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.release.build_folder import read_build_folder
from rmfab.release.release import Release
from rmfab.secret import Secret, redact
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe

ANOTHER_BOOT = b"\n\xf0\n"
QR = '{"ver":"v1","name":"PROV_0a1b2c","username":"wifiprov","pop":"00000000","transport":"ble"}'
_RANDOM = Secret(bytes(61) + b"\x0a\x1b\x2c")
IDENTITY = Identity("FUZZ-1", None, None, None, _RANDOM, None, None, service_name("PROV", _RANDOM))
_OWN_SEQUENCES = re.compile(r"\x1b\[(?:[0-9;]{0,20}m|2K|[0-9]{0,3}A|\?25[lh])|\r")
"""What the live view itself sends to a terminal (rich: colours, cursor, erased lines)."""


@functools.cache
def release() -> Release:
    """Return the release that consoles are compared with."""
    with tempfile.TemporaryDirectory() as folder:
        return read_build_folder(make_build_folder(Path(folder), FirmwareRecipe(Chip.ESP32C3, app_size=128 * 1024)))


class NoMore(Exception):
    """Everything that the unit printed has been read."""


class Piped:
    """A port from which *data* is read once."""

    port = "fuzz"
    timeout: float | None = None

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._read = 0

    @property
    def in_waiting(self) -> int:
        """How many bytes wait: at most 1000 at a time."""
        return min(len(self._data) - self._read, 1000)

    def read(self, size: int = 1) -> bytes:
        """Return the next bytes. Raise NoMore if there are none."""
        if self._read == len(self._data):
            raise NoMore
        piece = self._data[self._read : self._read + size]
        self._read += len(piece)
        return piece


def boot(data: bytes) -> None:
    """Read the consoles of two boots, judge them, and print what was found."""
    show(_found(data))


def boot_live(data: bytes) -> None:
    """Do the same on a terminal."""
    show_live(_found(data))


def _found(data: bytes) -> list[LineEvent]:
    endings: list[Ending] = []
    logs = [_heard(one, endings) for one in data.split(ANOTHER_BOOT)[:2]]
    _judged(endings, lambda: boot_judge.judge_same_reading(logs[0], logs[-1]))
    marginal = boot_judge.judge_marginal(logs[0])
    if marginal is not None:
        endings.append(Ending(Outcome.MARGINAL, marginal.cause, marginal.reason))
    return list(_events(endings))


def _heard(data: bytes, endings: list[Ending]) -> BootLog:
    console = UnitConsole(Piped(data + b"\n"), "fuzz", lambda: None)  # type: ignore[arg-type]
    log = BootLog(frozenset({CLAIMING, NO_CREDENTIALS}) if data[:1] == b"C" else frozenset())
    console.follow(log.feed)
    with contextlib.suppress(NoMore):
        for line in console.lines(3600.0):
            if len(line) > len(data):
                raise AssertionError("a line is longer than what was received")
    for judge in (
        lambda: boot_judge.judge_boot(log, release()),
        lambda: boot_judge.judge_boot(log, None),
        lambda: boot_judge.judge_identity(log, "Abc", Secret(QR), Credentials.CERTIFICATE),
        lambda: boot_judge.judge_identity(log, None, Secret(QR), Credentials.CLOUD_CLAIM),
        lambda: boot_judge.judge_unprovisioned(log, IDENTITY),
    ):
        _judged(endings, judge)
    judge_shown(printable(redact(console.text, IDENTITY.pop)))
    return log


def _judged(endings: list[Ending], judge: Callable[[], object]) -> None:
    try:
        judge()
    except RmfabError as error:
        endings.append(judge_error(error))


def _events(endings: list[Ending]) -> Iterator[LineEvent]:
    origin = ("2026-01-01T00:00:00Z", "fuzz", "A1", None, None)
    for ending in endings:
        yield StepEnded(*origin, Step.BOOT, ending.outcome, ending.cause, ending.reason, 1.0, ending.measurements)
        yield UnitEnded(*origin, ending.outcome, ending.cause, ending.reason, 1.0, None)
        yield Message(*origin, "warning", ending.reason or "")


def events(data: bytes) -> None:
    """Show events whose texts, names of slots included, are pieces of the input."""
    serial, slot, reason, key, *_ = (*data.decode("utf-8", "surrogateescape").split("\n", 3), "", "", "", "")
    origin = ("2026-01-01T00:00:00Z", "fuzz", slot, serial or None, None)
    found: list[LineEvent] = [
        StepStarted(*origin, Step.BOOT),
        StepProgress(*origin, Step.BOOT, len(data), len(data) // 2),
        StepEnded(*origin, Step.BOOT, Outcome.FAIL, "panic", reason, 1.0, {key: reason, "list": [serial]}),
        Message(*origin, "info", reason),
        UnitEnded(*origin, Outcome.FAIL, "panic", reason, 1.0, key),
    ]
    show(found)
    show_live(found)


class Screen(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        """Say that this is a terminal."""
        return True


def show(found: list[LineEvent]) -> None:
    """Show events as lines and as JSON. Raise AssertionError if a terminal would act on what is printed."""
    for make in (PlainView, JsonView):
        with shown():
            _show(make(), found)


def show_live(found: list[LineEvent]) -> None:
    """Show events on a terminal. Raise AssertionError if it gets more than colours and the cursor of the live view."""
    screen = Screen()
    with contextlib.redirect_stdout(screen), contextlib.redirect_stderr(screen):
        _show(LiveView(("A1",)), found)
    judge_shown(_OWN_SEQUENCES.sub("", screen.getvalue()))


def _show(view: View, found: list[LineEvent]) -> None:
    try:
        for event in found:
            view.show(event)
    finally:
        view.close(Summary())


TARGETS: tuple[Reader, ...] = (boot, boot_live, events)


def one_input(data: bytes) -> None:
    """Read one input."""
    read_one(TARGETS, data)


if __name__ == "__main__":
    fuzz(one_input)
