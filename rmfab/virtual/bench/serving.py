"""Virtual boards in a process of their own: `serve` starts it, a `BoardHandle` is what a host sees of a board."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rmfab.errors import StationError
from rmfab.files import make_folder
from rmfab.product.vocabulary import Chip
from rmfab.signals import undisturbed
from rmfab.virtual.faults import FaultCall
from rmfab.virtual.network import AccessPoint
from rmfab.virtual.spec import BoardSpec, PortKind, Strap

_START_SECONDS = 20.0
_END_SECONDS = 5.0
_CONTROL_SECONDS = 10.0
_UPDATE_SECONDS = 120.0


@dataclass(frozen=True)
class BoardHandle:
    """A board that is being served. *mac* is written 24:0a:c4:…, *address* is `host:port` of its control socket.

    *provisioning_url* is where its firmware answers protocomm over HTTP, while it runs and is not provisioned.
    """

    chip: Chip
    mac: str
    url: str
    address: str
    flash_file: Path | None = None
    provisioning_url: str = ""

    def control(self, command: str) -> str:
        """Sends one control command and returns its answer. Raises StationError where it is refused."""
        host, _, number = self.address.rpartition(":")
        seconds = _UPDATE_SECONDS if command.startswith("ota ") else _CONTROL_SECONDS
        with socket.create_connection((host, int(number)), timeout=seconds) as connection:
            connection.sendall(command.encode() + b"\n")
            answer = connection.makefile().readline().strip()
        if not answer or answer.startswith("error: "):
            raise StationError(f'the virtual board refuses "{command}": {answer}', where=self.url, cause="control")
        return answer

    def state(self) -> dict[str, Any]:
        """Mode, whether it serves provisioning, running slot and its update's state, commands and restarts so far, MAC
        and addresses. `slot` and `ota` are None while no app runs."""
        state: dict[str, Any] = json.loads(self.control("state"))
        return state


@contextmanager
def serve(specs: Sequence[BoardSpec], *, state: Path | None = None) -> Iterator[list[BoardHandle]]:
    """Runs boards in a child process until the block ends; it dies with this process whatever happens.

    With *state* the flash of each board is kept in that folder. Raises StationError where they do not come up.
    """
    command = [sys.executable, "-m", "rmfab.virtual"]
    with undisturbed():  # ^C on the terminal is ours; the child ends when its stdin does
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=_environment())
    if child.stdin is None or child.stdout is None:
        raise AssertionError("both are pipes")
    try:
        request = {"state": None if state is None else str(state), "boards": [spec_to_json(spec) for spec in specs]}
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
        yield [_handle(child.stdout.readline()) for _ in specs]
    finally:
        with contextlib.suppress(OSError):
            child.stdin.close()
        try:
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


def run(
    specs: Sequence[BoardSpec],
    announce: Callable[[Mapping[str, str]], None],
    *,
    state: Path | None = None,
    with_parent: bool = False,
) -> None:
    """Serves boards in this process until SIGINT or SIGTERM; *with_parent* until stdin is closed.

    *announce* is called once a board with chip, mac, url, provisioning, control and flash. Raises StationError where a
    port cannot be opened or a flash file cannot be kept.
    """
    with contextlib.ExitStack() as stack:
        folder = state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rmfab-boards-")))
        if state is not None:
            stack.enter_context(_alone(state))
            specs = [_kept(spec, state) for spec in specs]
        try:
            asyncio.run(_run(specs, folder, announce, with_parent))
        except OSError as error:
            raise StationError(f"cannot serve virtual boards: {error}", cause="virtual-boards") from error


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Holds *state* against a second process. Raises StationError where one is there already."""
    make_folder(state, secret=True)
    if os.name != "posix":
        yield
        return
    import fcntl

    with (state / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StationError(
                "other virtual boards are served from this folder", where=str(state), cause="virtual-boards"
            ) from None
        yield


async def _run(
    specs: Sequence[BoardSpec], folder: Path, announce: Callable[[Mapping[str, str]], None], with_parent: bool
) -> None:
    from rmfab.virtual.bench.place import Bench

    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):
            ignored = with_parent and number == signal.SIGINT
            loop.add_signal_handler(number, (lambda: None) if ignored else done.set)
    if with_parent:
        threading.Thread(target=_wait_for_parent, args=(loop, done), daemon=True).start()
    async with Bench(specs, folder) as bench:
        for place in bench.places:
            announce(place.line)
        await done.wait()


def _wait_for_parent(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    """Ends with the process that holds the other end of stdin. A thread, because Windows can wait in no other way."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop is closed already
        loop.call_soon_threadsafe(done.set)


def _kept(spec: BoardSpec, state: Path) -> BoardSpec:
    if spec.flash_file is not None:
        return spec
    return replace(spec, flash_file=state / f"{spec.chip.value}-{spec.index}.bin")


def _handle(line: bytes) -> BoardHandle:
    if not line:
        raise StationError("the virtual boards did not come up", cause="virtual-boards")
    told = json.loads(line)
    flash = Path(told["flash"]) if told.get("flash") else None
    return BoardHandle(Chip(told["chip"]), told["mac"], told["url"], told["control"], flash, told["provisioning"])


def _environment() -> dict[str, str]:
    """The child must find this very rmfab, also where it runs from a checkout."""
    package = str(Path(__file__).parents[2])
    path = os.environ.get("PYTHONPATH")
    return dict(os.environ) | {"PYTHONPATH": f"{package}{os.pathsep}{path}" if path else package}


def spec_to_json(spec: BoardSpec) -> dict[str, object]:
    """A spec as plain JSON values."""
    return {
        "chip": spec.chip.value,
        "index": spec.index,
        "mac": None if spec.mac is None else spec.mac.hex(),
        "flash_size": spec.flash_size,
        "flash_file": None if spec.flash_file is None else str(spec.flash_file),
        "revision": spec.revision,
        "link": spec.link.value,
        "strap": None if spec.strap is None else spec.strap.value,
        "paced": spec.paced,
        "faults": [str(call) for call in spec.faults],
        "kill_pid": spec.kill_pid,
        "networks": [network.to_json() for network in spec.networks],
        "secure_boot_digests": list(spec.secure_boot_digests),
    }


def spec_from_json(values: Mapping[str, Any]) -> BoardSpec:
    """The inverse of `spec_to_json`."""
    return BoardSpec(
        chip=Chip(values["chip"]),
        index=values["index"],
        mac=None if values["mac"] is None else bytes.fromhex(values["mac"]),
        flash_size=values["flash_size"],
        flash_file=None if values["flash_file"] is None else Path(values["flash_file"]),
        revision=values["revision"],
        link=PortKind(values["link"]),
        strap=None if values["strap"] is None else Strap(values["strap"]),
        paced=values["paced"],
        faults=tuple(map(FaultCall.parse, values["faults"])),
        kill_pid=values["kill_pid"],
        networks=tuple(map(AccessPoint.from_json, values["networks"])),
        secure_boot_digests=tuple(values["secure_boot_digests"]),
    )
