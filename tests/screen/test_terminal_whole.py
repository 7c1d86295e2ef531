"""The terminal after the screen, on a pseudo-terminal: whole again after its end, ^C, signals, a bug and SIGKILL."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rmfab.virtual import BoardHandle
from tests.line.floor import Factory, serve, spec
from tests.patience import PATIENCE
from tests.terminal import environment, words

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="no pseudo-terminals here")]

F10 = b"\x1b[21~"
ENTERED = b"\x1b[?1049h"
LEFT = b"\x1b[?1049l"
"""The start and the end of the alternate screen (xterm, ctlseqs)."""
SHOWN = b"\x1b[?25h"
"""The cursor is shown."""
WRAPS = b"\x1b[?7h"
"""Lines that are longer than the terminal is wide go on in the next row (DECAWM)."""


class Window:
    """A terminal of 80x24 that rmfab runs in; *modes* are those it had before."""

    def __init__(self, argv: list[str], cwd: Path, **more: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.terminal = slave
        self.modes = termios.tcgetattr(slave)
        self.raw = b""
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
            for number in range(3):
                os.dup2(slave, number)
            os.chdir(cwd)
            os.execve(argv[0], argv, environment(TERM="xterm-256color", LC_ALL="C.UTF-8", **more))

    def read(self, until: Callable[[bytes], bool]) -> None:
        """Read until what was read satisfies *until*."""
        deadline = time.monotonic() + PATIENCE
        while not until(self.raw):
            assert time.monotonic() < deadline, self.raw[-2000:]
            if select.select([self.master], [], [], 0.1)[0]:
                self.raw += os.read(self.master, 65536)

    def wait(self) -> int:
        """Wait for the end of the process; return its exit code."""
        deadline = time.monotonic() + PATIENCE
        while (ended := os.waitpid(self.pid, os.WNOHANG)) == (0, 0):
            assert time.monotonic() < deadline, self.raw[-2000:]
            if select.select([self.master], [], [], 0.1)[0]:
                self.raw += os.read(self.master, 65536)
        return os.waitstatus_to_exitcode(ended[1])

    def drain(self) -> None:
        """Read what is there."""
        while select.select([self.master], [], [], 0.3)[0]:
            self.raw += os.read(self.master, 65536)

    @property
    def whole(self) -> bool:
        """Whether the terminal has its modes again, its main screen, its cursor, and breaks long lines."""
        left, shown = self.raw.rfind(LEFT), self.raw.rfind(SHOWN)
        entered, hidden = self.raw.rfind(ENTERED), self.raw.rfind(b"\x1b[?25l")
        wraps, cuts = self.raw.rfind(WRAPS), self.raw.rfind(b"\x1b[?7l")
        modes = termios.tcgetattr(self.terminal) == self.modes
        return modes and left > entered and shown > hidden and wraps >= cuts

    def close(self) -> None:
        """Close both ends."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)
        os.close(self.terminal)


def screen(board: BoardHandle) -> list[str]:
    """Return the command line of the screen with one board."""
    return words("run", "--screen", "--release", "build", "--port", board.url, "--unit-url", board.provisioning_url)


@pytest.fixture
def window(factory: Factory) -> Iterator[Window]:
    """A window with the screen, on which a unit has passed."""
    with serve([spec()]) as (board,):
        argv = screen(board)
        window = Window(argv, factory.root)
        try:
            window.read(lambda raw: b"PASS 1" in raw)
            yield window
        finally:
            window.close()


def test_the_end(window: Window) -> None:
    """F10 ends with the totals on the main screen, and exit code 0 if all passed."""
    os.write(window.master, F10)
    assert window.wait() == 0
    window.drain()
    assert window.whole
    assert b"units: 1 in" in window.raw.rsplit(LEFT, 1)[1]


def test_ctrl_c(window: Window) -> None:
    """^C ends as F10 does."""
    os.write(window.master, b"\x03")
    assert window.wait() == 0
    window.drain()
    assert window.whole


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal(window: Window, number: signal.Signals) -> None:
    """A signal stops the line, and ends the screen with exit code 130."""
    os.kill(window.pid, number)
    assert window.wait() == 130
    window.drain()
    assert window.whole


def test_stopped_and_continued(window: Window) -> None:
    """A screen that was stopped takes the terminal again, obeys its keys, and leaves the terminal as it found it."""
    for _ in range(2):
        os.kill(window.pid, signal.SIGSTOP)
        os.waitpid(window.pid, os.WUNTRACED)
        termios.tcsetattr(window.terminal, termios.TCSANOW, window.modes)  # as a shell does
        before = window.raw.count(ENTERED)
        os.kill(window.pid, signal.SIGCONT)
        window.read(lambda raw, before=before: raw.count(ENTERED) > before)
    os.write(window.master, F10)
    assert window.wait() == 0
    window.drain()
    assert window.whole


def test_sigkill(window: Window) -> None:
    """After SIGKILL the guard of the terminal sets it right."""
    os.kill(window.pid, signal.SIGKILL)
    assert window.wait() == -signal.SIGKILL
    window.read(lambda raw: b"the screen was killed" in raw)
    window.drain()
    assert window.whole


def test_a_bug(factory: Factory, tmp_path: Path) -> None:
    """A bug of the screen ends with exit code 70 and the name of a log file, on a terminal that is whole."""
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\n"
        "def break_it():\n"
        "    import time, sys\n"
        "    while 'rmfab.screen.app' not in sys.modules or not hasattr(sys.modules['rmfab.screen.app'], 'LineApp'):\n"
        "        time.sleep(0.01)\n"
        "    def broken(self, panel, now):\n"
        "        raise ZeroDivisionError('a bug')\n"
        "    sys.modules['rmfab.screen.desk'].Desk.rows = broken\n"
        "threading.Thread(target=break_it, daemon=True).start()\n"
    )
    with serve([spec()]) as (board,):
        argv = screen(board)
        path = f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"
        window = Window(argv, factory.root, PYTHONPATH=path, TMPDIR=str(tmp_path))
        try:
            assert window.wait() == 70
            window.drain()
            assert window.whole
            assert b"a bug in rmfab" in window.raw
            assert b"Traceback" not in window.raw
        finally:
            window.close()


def test_nothing_else_writes(factory: Factory, tmp_path: Path) -> None:
    """What libraries, threads and children print while the screen is there goes to its log file."""
    (tmp_path / "sitecustomize.py").write_text(
        "import threading\n"
        "def speak():\n"
        "    import os, sys, time\n"
        "    while 'rmfab.screen.app' not in sys.modules:\n"
        "        time.sleep(0.01)\n"
        "    while os.isatty(2):\n"
        "        time.sleep(0.01)\n"
        "    os.system('echo from a child; echo from a child >&2')\n"
        "    raise RuntimeError('from a thread')\n"
        "threading.Thread(target=speak, daemon=True).start()\n"
    )
    log = factory.root / "logs" / "screen.log"
    with serve([spec()]) as (board,):
        argv = screen(board)
        path = f"{tmp_path}{os.pathsep}{Path(__file__).parents[2]}"
        window = Window(argv, factory.root, PYTHONPATH=path)
        try:
            window.read(lambda _: log.is_file() and "from a thread" in log.read_text())
            os.write(window.master, F10)
            window.wait()
            assert log.read_text().count("from a child") >= 2
            assert b"from a" not in window.raw
            assert log.stat().st_mode & 0o777 == 0o600
        finally:
            window.close()


def test_no_terminal(factory: Factory) -> None:
    """Without a terminal, and with --json, the screen is refused before anything is opened."""
    said = factory.do("run", "--screen")
    assert said.code == 2
    assert "exclude each other" in said.words
