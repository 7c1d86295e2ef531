"""Flashing paced virtual boards with an app like a real one: against the wire, esptool's own command, and one board.

The boards run in their own process and take the time of a UART and a NOR flash: ten bit times per byte at the
negotiated rate, 0.2 s per 64 KB erase of dirty flash, 0.5 ms per page, 0.24 s per megabyte of MD5. Rows against the
wire measure `rmfab flash` in this process, from opening the port through detect, claim, write and readback to the
restart. Rows against esptool measure its command from start to end, and beside it a board on a running line and the
command `rmfab flash`, on boards of the same kind behind a pseudo-terminal, which has no reset lines and costs esptool
less than a network port.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import token_hex

from benchmarks.real_like import make_real_like_build
from rmfab.board.esp.loader import SlotLink
from rmfab.board.restart import Auto, Unwired
from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.ledger.events import Outcome
from rmfab.line.events import Step, UnitEnded
from rmfab.line.floor import Floor
from rmfab.line.job import FLASH_STEPS, Job, PreparedRelease
from rmfab.line.ledger_opening import LedgerOpening
from rmfab.line.radio.air import Air
from rmfab.line.station import Radio, Slot
from rmfab.operations.advance import completed
from rmfab.operations.generate import GenerateRequest, generate
from rmfab.operations.terminal import Unattended
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.release.acceptance import Accepted
from rmfab.release.opening import open_release
from rmfab.release.parts import Part
from rmfab.virtual.bench.serving import BoardHandle, serve
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.virtual.chip.bridge import BridgeKind
from rmfab.virtual.spec import BoardSpec, PortKind
from rmfab.workspace.create import create_workspace
from rmfab.workspace.workspace import Workspace, now

FAST, MANY, TWICE = 921_600, 460_800, 2_000_000
ROUND = 32  # boards at once, where memory is measured
_CLIMB = 4  # 921600, 1M, 1.5M and 2M, then 3M: what a CP2102N carries
_NVS, _FCTRY, _SIZE = 0x10000, 0x3FA000, 4 << 20


@dataclass(frozen=True)
class Measured:
    """One run: seconds for all boards, and CPU seconds of this process per board."""

    wall: float
    cpu: float


def main(argv: list[str] | None = None) -> int:
    """Print the table; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=int, nargs="*", default=[16, 32], help="numbers of boards at once (16 32)")
    parser.add_argument("--memory", type=int, default=320, help="boards for the row of memory (320; 0 for none)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="rmfab-bench-") as folder:
        root = Path(folder)
        os.environ["RMFAB_STATE"] = str(root / "state")
        workspace = make_workspace(root / "ws", 200 + options.memory)
        small = release_of(make_build_folder(root / "small", FirmwareRecipe(Chip.ESP32C3, app_size=128 * 1024)))
        warm_up(workspace, small)
        build = make_real_like_build(root / "build")
        firmware = release_of(build)
        missed = against_wire(workspace, firmware, options.many)
        for what in ("blank", "dirty"):
            missed |= against_esptool(workspace, (small, firmware), build, root, what)
        missed |= memory(workspace, small, options.memory) if options.memory else 0
    return missed


def against_wire(workspace: Workspace, firmware: PreparedRelease, many: Sequence[int]) -> int:
    """Measure one board against the wire, and the others against that one."""
    sent = sum(region.compressed for region in firmware.regions)
    size = sum(region.size for region in firmware.regions)
    print(f"{size:,} bytes of firmware, {sent:,} compressed ({100 * sent / size:.1f} %); load {load()}")
    one, again = flash(workspace, firmware, 1, FAST)
    missed = report("one blank board, 921600 baud", one, sent * 10 / FAST, "the wire", 1.10)
    missed |= report("the same board again", again, one.wall, "the first run", 0.10)
    twice, _ = flash(workspace, firmware, 1, TWICE)
    missed |= report("one blank board, 2 Mbaud", twice, one.wall, "that at 921600", 0.60)
    alone, _ = flash(workspace, firmware, 1, MANY)
    missed |= report("one blank board, 460800 baud", alone, sent * 10 / MANY, "the wire", 1.10)
    for count in many:
        at_once, _ = flash(workspace, firmware, count, MANY)
        missed |= report(f"{count} at once, 460800 baud", at_once, alone.wall, "one", 1.05 if count <= 16 else 1.25)
        missed |= at_once.cpu > 0.1
    return missed


def against_esptool(
    workspace: Workspace, releases: tuple[PreparedRelease, PreparedRelease], build: Path, root: Path, what: str
) -> int:
    """Measure a board on a running line, and `rmfab flash`, against `esptool write-flash`, with *what* in the flash.

    A blank board is measured on a slot with `baud = "auto"` as well, which has climbed with the smaller release.
    """
    small, firmware = releases
    peer = Measured(_command(_esptool(build, root), root, what), 0.0)
    with _terminal(root, what) as (board,):
        line = run(workspace, firmware, (Slot("b0", SlotLink(board.url, FAST, Unwired())),))
    command = Measured(_command(_rmfab(workspace, build), root, what), 0.0)
    target = 0.83 if what == "blank" else 1.0
    missed = report(f"{what} board on a running line", line, peer.wall, "esptool's command", target)
    if what == "blank":
        climbed = _climbed(workspace, small, firmware)
        missed |= report("blank board, auto, CP2102N", climbed, peer.wall, "esptool's command", target)
    return missed | report(f"{what} board, rmfab flash", command, peer.wall, "esptool's command", 1.0)


def _climbed(workspace: Workspace, small: PreparedRelease, firmware: PreparedRelease) -> Measured:
    """Measure a blank board on a slot that has climbed to what its bridge carries, a step with each board."""
    spec = BoardSpec(Chip.ESP32C3, next(_boards), paced=0, bridge=BridgeKind.CP2102N)
    with serve([spec]) as (board,):
        slots = (Slot("auto", SlotLink(board.url, None, Auto())),)
        for _ in range(_CLIMB):
            run(workspace, small, slots)
            board.control("swap")
        return run(workspace, firmware, slots)


def _terminal(root: Path, what: str) -> AbstractContextManager[list[BoardHandle]]:
    """Serve one paced board behind a pseudo-terminal, with *what* in its flash."""
    flash_file = _flash(root, what)
    return serve([BoardSpec(Chip.ESP32C3, next(_boards), link=PortKind.PTY, paced=0, flash_file=flash_file)])


def _flash(root: Path, what: str) -> Path:
    path = root / f"flash-{next(_boards)}.bin"
    path.write_bytes(b"\xff" * _SIZE if what == "blank" else random.Random(7).randbytes(_SIZE))
    return path


def _esptool(build: Path, root: Path) -> list[str]:
    """Return esptool's command that leaves the flash as rmfab does: the release, an image in fctry, and nvs blank."""
    nvs, factory = root / "nvs.bin", root / "fctry.bin"
    nvs.write_bytes(b"\xff" * 0x6000)
    factory.write_bytes(random.Random(8).randbytes(2500).ljust(0x6000, b"\xff"))
    files = [(part.offset, path) for part, path in _parts(build)] + [(_NVS, nvs), (_FCTRY, factory)]
    words = [word for offset, path in sorted(files) for word in (hex(offset), str(path))]
    options = ["--chip", "esp32c3", "--port", "PORT", "--baud", str(FAST), "--after", "hard-reset"]
    return [sys.executable, "-m", "esptool", *options, "write-flash", *words]


def _parts(build: Path) -> Iterator[tuple[Part, Path]]:
    release = open_release(build)
    folder = build / "parts"
    folder.mkdir(exist_ok=True)
    for part in release.parts:
        path = folder / f"{part.name}.bin"
        path.write_bytes(part.data)
        yield part, path


def _rmfab(workspace: Workspace, build: Path) -> list[str]:
    options = ["--port", "PORT", "--release", str(build)]
    return [sys.executable, "-m", "rmfab", "-C", str(workspace.root), "flash", *options]


def _command(argv: list[str], root: Path, what: str) -> float:
    """Run a command on a new board, and return its seconds from start to end."""
    with _terminal(root, what) as (board,):
        argv = [word.replace("PORT", board.url) for word in argv]
        began = time.perf_counter()
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"benchmark failed: {' '.join(argv[2:4])}: {done.stdout[-800:]}{done.stderr[-800:]}")
        return time.perf_counter() - began


def memory(workspace: Workspace, firmware: PreparedRelease, boards: int) -> int:
    """Flash *boards* unpaced boards, 32 at a time; the memory after half of them and after all must be the same."""
    sizes = []
    for _ in range(max(2, boards // ROUND)):
        specs = [BoardSpec(chip=Chip.ESP32C3, index=next(_boards)) for _ in range(ROUND)]
        with serve(specs) as served:
            run(workspace, firmware, tuple(Slot(f"b{n}", SlotLink(b.url, FAST, Auto())) for n, b in enumerate(served)))
        sizes.append(resident())
    half = sizes[len(sizes) // 2 - 1]
    print(f"{f'{ROUND * len(sizes)} boards in rounds':<30} {half >> 20} MB after half, {sizes[-1] >> 20} MB after all")
    return int(sizes[-1] > 1.1 * half)


def warm_up(workspace: Workspace, firmware: PreparedRelease) -> None:
    """Flash one board that takes no time: it imports what a line imports once."""
    with serve([BoardSpec(Chip.ESP32C3, next(_boards))]) as (board,):
        run(workspace, firmware, (Slot("b0", SlotLink(board.url, FAST, Auto())),))


def release_of(build: Path) -> PreparedRelease:
    """Return the accepted release of a build folder."""
    return PreparedRelease(Accepted(open_release(build)))


def resident() -> int:
    """Return the memory of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def load() -> str:
    """Return the load of this machine."""
    return f"{os.getloadavg()[0]:.1f}"


def make_workspace(root: Path, units: int) -> Workspace:
    """Return a workspace with a CA and *units* identities."""
    workspace = create_workspace(
        root,
        chip=Chip.ESP32C3,
        name="bench",
        serial=None,
        mqtt_host="mqtt.example.com",
        credentials=Credentials.CERTIFICATE,
        force=False,
    )
    CertificateAuthority.create("bench", CaKeyKind.ECDSA_P256, now()).save(workspace.ca_folder, None)
    completed(generate(workspace, GenerateRequest(units, "bench", jobs=1), Unattended()))
    return workspace


_boards = iter(range(100_000))


def flash(workspace: Workspace, firmware: PreparedRelease, count: int, baud: int) -> tuple[Measured, Measured]:
    """Flash *count* blank boards at once, twice."""
    specs = [BoardSpec(chip=Chip.ESP32C3, index=next(_boards), paced=0) for _ in range(count)]
    with serve(specs) as boards:
        slots = tuple(Slot(f"b{n}", SlotLink(board.url, baud, Auto())) for n, board in enumerate(boards))
        return run(workspace, firmware, slots), run(workspace, firmware, slots)


def run(workspace: Workspace, firmware: PreparedRelease, slots: tuple[Slot, ...]) -> Measured:
    """Run one pass of `rmfab flash` over *slots*."""
    began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    ended = run_line(workspace, firmware, slots, FLASH_STEPS)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    bad = [unit for unit in ended if unit.outcome is not Outcome.PASS]
    if bad:
        raise SystemExit(f"benchmark failed: {bad[0].slot} {bad[0].reason}")
    used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    return Measured(wall, used / len(slots))


def run_line(
    workspace: Workspace, firmware: PreparedRelease, slots: tuple[Slot, ...], steps: tuple[Step, ...]
) -> list[UnitEnded]:
    """Run *steps* on the boards of *slots*, and return their verdicts."""
    job = Job(
        product=workspace.product,
        firmware=firmware,
        opening=LedgerOpening(lambda: workspace.ledger),
        open_identity=workspace.open_identity,
        station="bench",
        steps=steps,
        logs=workspace.logs_folder,
        now=now,
        challenge=partial(token_hex, 16),
        vouched=lambda: None,
        air=Air(Radio(), workspace.root / "no-wifi"),
    )
    return [event for event in Floor(job, slots).events() if isinstance(event, UnitEnded)]


def report(what: str, measured: Measured, floor: float, of: str, target: float) -> int:
    """Print one row; return 1 if the target is missed."""
    ratio = measured.wall / floor
    cpu = f"{measured.cpu:.2f} CPU s per board, " if measured.cpu else ""
    print(
        f"{what:<30} {measured.wall:7.2f} s  {ratio:5.2f}x {of} ({floor:.2f} s; target {target}x)  {cpu}load {load()}",
        flush=True,
    )
    return int(ratio > target)


if __name__ == "__main__":
    sys.exit(main())
