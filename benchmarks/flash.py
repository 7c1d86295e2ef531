"""Flashing paced virtual boards: one against the bytes on the wire, many against one, a second run against the first.

The boards run in their own process and take the time of a UART and a NOR flash: ten bit times per byte at the
negotiated rate, 0.2 s per 64 KB erase of dirty flash, 0.5 ms per page. The measured time is that of `rmfab flash`: from
opening the port, through detect, claim, write and readback, to the restart.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from rmfab.board.esp.loader import SlotLink
from rmfab.board.restart import Auto
from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.ledger.events import Outcome
from rmfab.line.events import UnitEnded
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
from rmfab.virtual.bench.serving import serve
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.virtual.spec import BoardSpec
from rmfab.workspace.create import create_workspace
from rmfab.workspace.workspace import Workspace, now

APP_SIZE = 1_750_000


@dataclass(frozen=True)
class Measured:
    """One run: seconds for all boards, and CPU seconds of this process per board."""

    wall: float
    cpu: float


def main(argv: list[str] | None = None) -> int:
    """Print the table; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--many", type=int, nargs="*", default=[8, 16], help="numbers of boards at once (8 16)")
    options = parser.parse_args(argv)
    missed = 0
    with tempfile.TemporaryDirectory(prefix="rmfab-bench-") as folder:
        workspace, firmware = make_line(Path(folder) / "ws")
        sent = sum(region.compressed for region in firmware.regions)
        print(f"{sent:,} compressed bytes per board")
        floor = sent * 10 / 921600
        one, again = flash(workspace, firmware, 1, 921600)
        missed |= report("one board, 921600 baud", one, floor, "the wire", 1.15)
        missed |= report("the same board again", again, one.wall, "the first run", 0.10)
        alone, _ = flash(workspace, firmware, 1, 460800)
        missed |= report("one board, 460800 baud", alone, sent * 10 / 460800, "the wire", 1.15)
        for count in options.many:
            many, _ = flash(workspace, firmware, count, 460800)
            missed |= report(
                f"{count} at once, 460800 baud", many, alone.wall, "one board", 1.10 if count <= 8 else 1.25
            )
    return missed


def make_line(root: Path) -> tuple[Workspace, PreparedRelease]:
    """Return a workspace with a CA and enough identities, and a release of more than 1 MB compressed."""
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
    completed(generate(workspace, GenerateRequest(100, "bench", jobs=1), Unattended()))
    release = open_release(make_build_folder(root / "build", FirmwareRecipe(Chip.ESP32C3, app_size=APP_SIZE)))
    return workspace, PreparedRelease(Accepted(release))


_boards = iter(range(1000))


def flash(workspace: Workspace, firmware: PreparedRelease, count: int, baud: int) -> tuple[Measured, Measured]:
    """Flash *count* blank boards at once, twice."""
    specs = [BoardSpec(chip=Chip.ESP32C3, index=next(_boards), paced=0) for _ in range(count)]
    with serve(specs) as boards:
        slots = tuple(Slot(f"b{n}", SlotLink(board.url, baud, Auto())) for n, board in enumerate(boards))
        return run(workspace, firmware, slots), run(workspace, firmware, slots)


def run(workspace: Workspace, firmware: PreparedRelease, slots: tuple[Slot, ...]) -> Measured:
    """Run one pass of `rmfab flash` over *slots*."""
    job = Job(
        product=workspace.product,
        firmware=firmware,
        opening=LedgerOpening(lambda: workspace.ledger),
        open_identity=workspace.open_identity,
        station="bench",
        steps=FLASH_STEPS,
        logs=workspace.logs_folder,
        now=now,
        challenge=str,
        vouched=lambda: None,
        air=Air(Radio(), workspace.root / "no-wifi"),
    )
    began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    ended = [event for event in Floor(job, slots).events() if isinstance(event, UnitEnded)]
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    bad = [unit for unit in ended if unit.outcome is not Outcome.PASS]
    if bad:
        raise SystemExit(f"benchmark failed: {bad[0].slot} {bad[0].reason}")
    used = after.ru_utime + after.ru_stime - cpu.ru_utime - cpu.ru_stime
    return Measured(wall, used / len(slots))


def report(what: str, measured: Measured, floor: float, of: str, target: float) -> int:
    """Print one row; return 1 if the target is missed."""
    ratio = measured.wall / floor
    print(
        f"{what:<26} {measured.wall:7.2f} s  {ratio:5.2f}x {of} ({floor:.2f} s; target {target}x)  "
        f"{measured.cpu:.2f} CPU s per board",
        flush=True,
    )
    return int(ratio > target)


if __name__ == "__main__":
    sys.exit(main())
