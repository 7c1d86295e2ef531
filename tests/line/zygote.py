"""Many `rmfab` processes at low cost: a process that has imported everything forks one per command line.

The children are real processes, with a pid that is known before they start, so that a board can kill them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from tests.patience import PATIENCE
from tests.quick_keys import make_keys_quick

ROOT = Path(__file__).parents[2]


class Zygote:
    """A process that forks waiting children; `go` gives one its command line, `wait` returns how it ended.

    *preload*: a library that is loaded in front of all others (`tests.crash.faults`).
    """

    def __init__(self, preload: Path | None = None) -> None:
        self.counts = preload is not None
        """Whether a child counts what it does to files, so that a fault may happen at one of these."""
        self._more = {} if preload is None else {"LD_PRELOAD": str(preload)}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.line.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=dict(os.environ) | {"PYTHONPATH": str(ROOT)} | self._more,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE)
        self._process.stdout.close()

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def spawn(self) -> int:
        """Fork a child that waits. Return its pid."""
        return int(self._ask(do="spawn"))

    def go(
        self,
        pid: int,
        argv: list[str],
        out: Path,
        die: tuple[str, str, int] | None = None,
        *,
        fault: tuple[int, int] | None = None,
        clock: float = 0.0,
        patience: float | None = None,
    ) -> None:
        """Have the child run `rmfab` *argv*, with its stdout and stderr in *out*.

        *die* kills it at a given moment: ("claim" or "record", "before" or "after", the n-th call from 1 on). *fault*:
        one of `tests.crash.faults`, and the number of a change of a file; how many there were is then in `OUT.seen`.
        *clock*: seconds by which the workspace's clock is wrong. *patience*: seconds for which it waits for a ledger.
        """
        self._ask(do="go", pid=pid, argv=argv, out=str(out), die=die, fault=fault, clock=clock, patience=patience)

    def runs(self, pid: int) -> bool:
        """Return whether the child has not ended yet; `wait` returns how it did."""
        return bool(self._ask(do="look", pid=pid))

    def wait(self, pid: int) -> int:
        """Return the exit code; if negative, the signal that ended the child."""
        return int(self._ask(do="wait", pid=pid))


def _kill_at(method: str, when: str, number: int) -> None:
    """Kill this process before or after the *number*-th call of a method of the ledger."""
    from rmfab.ledger.store import Ledger

    original = getattr(Ledger, method)
    calls = 0

    def replacement(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*args, **options)
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(Ledger, method, replacement)


def _live(reader: int) -> None:
    """Run the child: wait for its command line, run it, exit."""
    with os.fdopen(reader) as stream:
        text = stream.readline()
    if not text:
        os._exit(0)
    request = json.loads(text)
    out = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    if request["die"] is not None:
        _kill_at(*request["die"])
    from rmfab.cli import main

    if request["clock"]:
        _shift_clock(request["clock"])
    if request["patience"] is not None:
        _be_patient(request["patience"])
    if request["fault"] is not None:
        from tests.crash.faults import Fault, arm, seen

        arm(Fault(request["fault"][0]), request["fault"][1])
    code = main(request["argv"])
    sys.stdout.flush()
    if request["fault"] is not None:
        number = seen()
        arm(Fault.COUNT, 0)
        Path(f"{request['out']}.seen").write_text(str(number))
    os._exit(code)


def _shift_clock(seconds: float) -> None:
    """Let the clock of every workspace that this process opens be wrong by *seconds*."""
    from rmfab.workspace import workspace

    right = workspace.now
    workspace.now = lambda: right() + timedelta(seconds=seconds)


def _be_patient(seconds: float) -> None:
    """Let every ledger that this process opens wait so long for locks and its server."""
    from rmfab.ledger.store import Ledger

    defaults = Ledger.open.__func__.__kwdefaults__  # type: ignore[attr-defined]
    assert "patience" in defaults
    defaults["patience"] = seconds


def preload() -> None:
    """Import what commands import when they run, and make keys as quick as in the tests themselves."""
    import rmfab.identity.make_identities
    import rmfab.ledger.sql.postgres
    import rmfab.ledger.store
    import rmfab.line.floor
    import rmfab.operations.run_line
    import rmfab.release.bundle
    import rmfab.release.preflight  # noqa: F401
    from rmfab.board.esp.door import esptool

    esptool()
    make_keys_quick()


def serve() -> None:
    """Run the zygote: import, then fork on request."""
    preload()
    writers: dict[int, int] = {}
    for line in sys.stdin:
        request = json.loads(line)
        answer: Any = None
        if request["do"] == "spawn":
            reader, writer = os.pipe()
            answer = os.fork()
            if answer == 0:
                for other in (writer, *writers.values()):
                    os.close(other)
                _live(reader)
            os.close(reader)
            writers[answer] = writer
        elif request["do"] == "go":
            os.write(writers[request["pid"]], line.encode())
        elif request["do"] == "look":
            answer = os.waitid(os.P_PID, request["pid"], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        else:
            _, status = os.waitpid(request["pid"], 0)
            answer = os.waitstatus_to_exitcode(status)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
