"""Writers of a shelf as processes: `killed` ends one before each of its steps on the disk, `crowd` starts several.

python -m tests.ota.writers killed BASE FOLDER     FOLDER/0, /1 … : copies of the shelf BASE, each left by a writer
                                                   that was killed one step later; the last one completed
python -m tests.ota.writers crowd SHELF COUNT      COUNT concurrent writers, each with a different project
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from itertools import count
from pathlib import Path
from typing import NoReturn

from rmfab.ota.shelf import publish
from tests.ota.conftest import a_release

NEXT = a_release("1.1.0", 2)
ENVELOPE = b'{"another":"envelope"}'
STEPS = ("open", "os.link", "os.rename", "os.remove", "os.mkdir", "os.chmod", "fcntl.flock", "os.scandir", "os.listdir")


def killed(base: Path, folder: Path) -> None:
    """Kill a writer before each step. The first argument may not exist: then the shelf is created."""
    for number in count():
        shelf = folder / str(number)
        if base.exists():
            shutil.copytree(base, shelf)
        child = os.fork()
        if child == 0:
            _die_at(number)
            _publish_and_end(shelf, "1.1.0", "lamp")
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code != -signal.SIGKILL:
            sys.exit(code)


def crowd(shelf: Path, writers: int) -> None:
    """Start writers that wait until a common pipe closes, and then publish at the same time."""
    gate, opener = os.pipe()
    children = []
    for number in range(writers):
        children.append(os.fork())
        if children[-1] == 0:
            os.close(opener)
            os.read(gate, 1)
            _publish_and_end(shelf, "1.0.0", f"lamp{number}")
    os.close(opener)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    sys.exit(max(codes, key=abs))


def _publish_and_end(shelf: Path, version: str, project: str) -> NoReturn:
    code = 1
    try:
        release = NEXT if project == "lamp" else a_release(version, 1, project=project)
        publish(shelf, release, ENVELOPE, "stable")
        code = 0
    finally:
        os._exit(code)


def _die_at(step: int) -> None:
    """Kill this process silently just before the step with this number."""
    left = [step]

    def watch(event: str, _: object) -> None:
        if event in STEPS:
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1

    sys.addaudithook(watch)


if __name__ == "__main__":
    if sys.argv[1] == "killed":
        killed(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        crowd(Path(sys.argv[2]), int(sys.argv[3]))
