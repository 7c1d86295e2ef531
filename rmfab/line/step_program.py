"""The programs of this host that do a product's own steps: run without a shell, without our secrets, and never longer.

A program gets its own process group, which is killed when it has ended. All that it prints is read, and the end of it
kept. It may be slow, noisy, mute or stuck: none of it stops the line.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import StationError
from rmfab.signals import SLICE_SECONDS

PLACEHOLDERS = ("serial", "mac", "slot", "port", "log")
_PLACEHOLDER = re.compile(r"\{(" + "|".join(PLACEHOLDERS) + r")\}")
_KEPT_BYTES = 64 * 1024
_READ_BYTES = 64 * 1024
_TERM_SECONDS = 2.0
_KEPT_ENVIRONMENT = ("PATH", "HOME", "TZ", "TMPDIR", "SYSTEMROOT", "PATHEXT", "TEMP", "TMP")
"""What a program sees of our environment: no variable that may be or name a secret."""


@dataclass(frozen=True)
class StepCommand:
    """The command of a step on this host: *argv* with placeholders, run in *folder*."""

    argv: tuple[str, ...]
    folder: Path

    @property
    def uses_log(self) -> bool:
        """Whether it wants the console log."""
        return any("{log}" in word for word in self.argv)

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """Return the arguments with *values* in place of the placeholders; what a value contains stays as it is."""
        return [_PLACEHOLDER.sub(lambda found: values.get(found[1], ""), word) for word in self.argv]


@dataclass(frozen=True)
class ProgramEnd:
    """How a program ended: its exit *code* (negative: the signal), and the ends of what it printed."""

    code: int
    output: str
    errors: str


class _Tail:
    """The end of what a program prints."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, data: bytes) -> None:
        self._data += data
        if len(self._data) > 2 * _KEPT_BYTES:
            del self._data[:-_KEPT_BYTES]

    @property
    def text(self) -> str:
        return bytes(self._data[-_KEPT_BYTES:]).decode("utf-8", "replace")


def run_step_program(
    command: StepCommand, values: Mapping[str, str], seconds: float, keep_going: Callable[[], None]
) -> ProgramEnd:
    """Run *command* for at most *seconds*. Raise StationError if it cannot be started or takes longer.

    *keep_going* is called meanwhile, and raises to end it.
    """
    argv = command.filled(values)
    deadline = time.monotonic() + seconds
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=command.folder,
            env=clean_environment(os.environ),
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        hint = "check [step.NAME] command in station.toml"
        raise StationError(
            f"the program does not start: {why}", where=argv[0], hint=hint, cause="step-command"
        ) from error
    tails = _Tail(), _Tail()
    try:
        _read_until_exit(process, tails, deadline, keep_going)
    except BaseException:
        _terminate(process)
        raise
    finally:
        _kill_group(process)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
    return ProgramEnd(process.returncode, tails[0].text, tails[1].text)


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what a program sees of *environment*."""
    kept = {name: environment[name] for name in _KEPT_ENVIRONMENT if name in environment}
    return {"PATH": os.defpath, "LANG": "C.UTF-8", **kept}


def _read_until_exit(
    process: subprocess.Popen[bytes], tails: Sequence[_Tail], deadline: float, keep_going: Callable[[], None]
) -> None:
    """Read both outputs until the program has exited, even if a child of it keeps them open."""
    with selectors.DefaultSelector() as selector:
        for pipe, tail in zip((process.stdout, process.stderr), tails, strict=True):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                selector.register(pipe, selectors.EVENT_READ, tail)
        while not _has_exited(process):
            keep_going()
            left = deadline - time.monotonic()
            if left <= 0:
                raise StationError(
                    "the program did not end in time",
                    where=str(process.args[0] if isinstance(process.args, list) else process.args),
                    hint="check what it waits for; [[step]] timeout in product.toml is its limit",
                    cause="step-command",
                )
            _read(selector, min(left, SLICE_SECONDS))
        while _read(selector, 0.0):
            if time.monotonic() >= deadline:
                break


def _read(selector: selectors.BaseSelector, seconds: float) -> bool:
    """Read what is there within *seconds*; return whether anything was."""
    if not selector.get_map():
        time.sleep(min(seconds, SLICE_SECONDS))
        return False
    read = False
    for key, _ in selector.select(seconds):
        data = None
        with contextlib.suppress(BlockingIOError):
            data = os.read(key.fd, _READ_BYTES)
        if data:
            key.data.add(data)
            read = True
        elif data is not None:
            selector.unregister(key.fileobj)
    return read


def _has_exited(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the program has exited. It is not reaped, so that no other process can get the group's number."""
    if sys.platform == "win32":
        return process.poll() is not None
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Ask the program to end, for a moment."""
    if sys.platform == "win32":
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _TERM_SECONDS
    while time.monotonic() < deadline and not _has_exited(process):
        time.sleep(0.02)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and everything that it has started, unless that left its group."""
    if sys.platform == "win32":
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
