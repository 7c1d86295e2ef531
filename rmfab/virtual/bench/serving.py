"""Virtual boards in a child process: `serve` starts it, and a `BoardHandle` is the host's view of a board."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rmfab.errors import StationError
from rmfab.files import make_folder
from rmfab.listening import LOOPBACK, free_ports
from rmfab.product.vocabulary import Chip
from rmfab.signals import undisturbed
from rmfab.virtual.bench.kept_boards import KeptBoard, keep_boards, read_boards
from rmfab.virtual.chip.bridge import BridgeKind
from rmfab.virtual.control import ask
from rmfab.virtual.faults import FaultCall
from rmfab.virtual.network import AccessPoint
from rmfab.virtual.spec import BoardNumbers, BoardSpec, PortKind, Strap

_END_SECONDS = 30.0
_MOST_BY_SELECT = 128
_CONTROL_SECONDS = 60.0
_UPDATE_SECONDS = 120.0


@dataclass(frozen=True)
class BoardHandle:
    """A served board.

    *mac* is written as 24:0a:c4:…, *address* is `host:port` of its control socket. At *provisioning_url* its firmware
    serves protocomm over HTTP while it runs and is not provisioned.
    """

    chip: Chip
    mac: str
    url: str
    address: str
    flash_file: Path | None = None
    provisioning_url: str = ""

    def control(self, command: str) -> str:
        """Send one control command and return its answer. Raise StationError if the board rejects it."""
        answer = ask(self.address, command, _UPDATE_SECONDS if command.startswith("ota ") else _CONTROL_SECONDS)
        if not answer or answer.startswith("error: "):
            raise StationError(f'the virtual board rejected "{command}": {answer}', where=self.url, cause="control")
        return answer

    def state(self) -> dict[str, Any]:
        """Return the state of the board.

        It contains the mode, whether provisioning is served, the running slot and its update's state (`slot` and `ota`,
        None while no app runs), commands and restarts so far, MAC and addresses.
        """
        state: dict[str, Any] = json.loads(self.control("state"))
        return state


@contextmanager
def serve(specs: Sequence[BoardSpec], *, state: Path | None = None) -> Iterator[list[BoardHandle]]:
    """Run boards in a child process until the block ends; the child ends with this process in any case.

    With *state*, that folder keeps the flash and the TCP ports of each board. Raise StationError if they do not start.
    """
    child = start_child(_environment())
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


def start_child(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the process in which `serve` runs boards, with a pipe as its stdin and one as its stdout."""
    command = [sys.executable, "-m", "rmfab.virtual"]
    with undisturbed():  # ^C on the terminal is for this process; the child ends when its stdin closes
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)


def run(
    specs: Sequence[BoardSpec],
    announce: Callable[[Mapping[str, str]], None],
    *,
    state: Path | None = None,
    renumber: bool = False,
    with_parent: bool = False,
) -> None:
    """Serve boards in this process until SIGINT or SIGTERM, or with *with_parent* until stdin closes.

    *announce* is called once per board with chip, mac, url, provisioning, control and flash. In the folder *state*,
    boards have the flash and the TCP ports that they had before; with *renumber*, new ports. Raise StationError if a
    port cannot be opened or a flash file cannot be kept, InputError if the file with the ports is damaged.
    """
    with contextlib.ExitStack() as stack:
        folder = state or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rmfab-boards-")))
        if state is not None:
            stack.enter_context(_alone(state))
            known = read_boards(state)
            kept = {} if renumber else known
            specs = [_kept(spec, state, kept.get(index)) for index, spec in enumerate(specs)]
            specs = _numbered(specs, [board.numbers for board in known.values()])
        try:
            with asyncio.Runner(loop_factory=partial(_loop, specs)) as runner:
                runner.run(_run(specs, folder, announce, state is not None, with_parent))
        except OSError as error:
            raise StationError(f"cannot serve virtual boards: {error}", cause="virtual-boards") from error


def _loop(specs: Sequence[BoardSpec]) -> asyncio.AbstractEventLoop:
    """Return an event loop; for paced boards one whose timers are not rounded up to milliseconds, as epoll's are.

    select(2) takes no file numbers above 1023, and a board has about four.
    """
    if sys.platform == "win32" or len(specs) > _MOST_BY_SELECT or all(spec.paced is None for spec in specs):
        return asyncio.new_event_loop()
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    """Lock *state* against a second process. Raise StationError if it is locked already."""
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
                "a different process serves virtual boards from this folder", where=str(state), cause="virtual-boards"
            ) from None
        yield


async def _run(
    specs: Sequence[BoardSpec],
    folder: Path,
    announce: Callable[[Mapping[str, str]], None],
    keep: bool,
    with_parent: bool,
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
        if keep:
            keep_boards(folder, [place.line for place in bench.places])
        for place in bench.places:
            announce(place.line)
        await done.wait()


def _wait_for_parent(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    """Set *done* when the process at the other end of stdin ends.

    It is a thread because Windows has no other way to wait for a pipe.
    """
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    with contextlib.suppress(RuntimeError):  # the loop is already closed
        loop.call_soon_threadsafe(done.set)


def _kept(spec: BoardSpec, state: Path, known: KeptBoard | None) -> BoardSpec:
    """Return *spec* with its flash in *state*, and with the TCP ports of the board *known* where it names none."""
    flash = spec.flash_file or state / f"{spec.chip.value}-{spec.index}.bin"
    numbers = spec.numbers if known is None else spec.numbers.completed_by(known.numbers)
    return replace(spec, flash_file=flash, numbers=numbers)


def _numbered(specs: Sequence[BoardSpec], before: Iterable[BoardNumbers]) -> list[BoardSpec]:
    """Return *specs* with TCP ports that will be free when they are served again; new ones are not in *before*."""
    rows = [astuple(spec.numbers) for spec in specs]
    given = {number for row in (*map(astuple, before), *rows) for number in row}
    free = iter(free_ports(LOOPBACK, sum(row.count(0) for row in rows), given))
    return [
        replace(spec, numbers=BoardNumbers(*(number or next(free) for number in row)))
        for spec, row in zip(specs, rows, strict=True)
    ]


def _handle(line: bytes) -> BoardHandle:
    if not line:
        raise StationError("the virtual boards did not start", cause="virtual-boards")
    told = json.loads(line)
    flash = Path(told["flash"]) if told.get("flash") else None
    return BoardHandle(Chip(told["chip"]), told["mac"], told["url"], told["control"], flash, told["provisioning"])


def _environment() -> dict[str, str]:
    """Return the environment in which the child imports this very rmfab, even from a checkout."""
    package = str(Path(__file__).parents[2])
    path = os.environ.get("PYTHONPATH")
    return dict(os.environ) | {"PYTHONPATH": f"{package}{os.pathsep}{path}" if path else package}


def spec_to_json(spec: BoardSpec) -> dict[str, object]:
    """Return a spec as plain JSON values."""
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
        "bridge": None if spec.bridge is None else spec.bridge.value,
        "numbers": asdict(spec.numbers),
        "unplugged": spec.unplugged,
    }


def spec_from_json(values: Mapping[str, Any]) -> BoardSpec:
    """Return the spec that `spec_to_json` wrote."""
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
        bridge=None if values["bridge"] is None else BridgeKind(values["bridge"]),
        numbers=BoardNumbers(**values["numbers"]),
        unplugged=values["unplugged"],
    )
