"""A long day: many units over 16 slots, with random faults, on virtual boards; then the ledger must balance.

Each round puts a new board into every slot, three of ten with a fault, and runs `rmfab run` over all slots. A unit that
did not pass gets a second run, and is then set aside. At the end, every event is in the ledger once, every board has at
most one identity, a healthy board has passed and a bad one has not, and the process has not grown.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.flash import FAST, load, make_workspace, release_of, resident, run_line
from rmfab.board.esp.loader import SlotLink
from rmfab.board.restart import Auto
from rmfab.errors import StationError
from rmfab.ledger.events import Outcome
from rmfab.line.events import UnitEnded
from rmfab.line.job import RUN_STEPS, PreparedRelease
from rmfab.line.station import Slot
from rmfab.product.vocabulary import Chip
from rmfab.virtual.bench.serving import BoardHandle, serve
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.virtual.spec import BoardSpec
from rmfab.workspace.workspace import Workspace

_FAULTY = 0.3
# of boards that must not pass
_BAD = (
    "brownout", "panic", "silent", "no-sync", "wrong-chip", "small-flash", "secure-boot", "flash-encryption",
    "secure-download", "old-revision", "other-identity", "bad-flash", "wrong-key", "wrong-pop", "wrong-verifier",
    "plain-security", "late-panic", "stall-at=20", "stall-at=45", "stall-at=55",
)  # fmt: skip
# of boards that must pass, at the second run at the latest
_CURED = ("drop-bytes", "stale-nvs", "slow-flash", "worn-cable=460800", "vanish")
_GROWTH = 1.15
_SETTLED = 0.25  # of the rounds, after which the process must not grow any more


@dataclass
class Tally:
    """What the soak has seen: verdicts of visits, and of boards; complaints about wrong ones."""

    visits: Counter[str] = field(default_factory=Counter)
    boards: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def main(argv: list[str] | None = None) -> int:
    """Run the soak and print what it saw; return 1 if something does not balance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=2000, help="boards in all (2000)")
    parser.add_argument("--slots", type=int, default=16, help="slots (16)")
    parser.add_argument("--seed", type=int, default=1, help="of the random faults (1)")
    options = parser.parse_args(argv)
    rounds = max(1, options.units // options.slots)
    with tempfile.TemporaryDirectory(prefix="rmfab-soak-") as folder:
        root = Path(folder)
        os.environ["RMFAB_STATE"] = str(root / "state")
        workspace = make_workspace(root / "ws", rounds * options.slots)
        firmware = release_of(make_build_folder(root / "build", FirmwareRecipe(Chip.ESP32C3, app_size=128 * 1024)))
        began, tally = time.perf_counter(), Tally()
        sizes = soak(workspace, firmware, random.Random(options.seed), rounds, options.slots, tally)
        print(f"{rounds * options.slots} boards in {time.perf_counter() - began:.0f} s, load {load()}")
        print(f"visits {dict(tally.visits)}, boards {dict(tally.boards)}")
        return judge(workspace, tally, sizes)


def soak(
    workspace: Workspace, firmware: PreparedRelease, draw: random.Random, rounds: int, slots: int, tally: Tally
) -> list[int]:
    """Run all rounds, and return the memory of this process after each."""
    sizes = []
    with serve([BoardSpec(Chip.ESP32C3, index) for index in range(slots)]) as boards:
        places = tuple(
            Slot(f"S{number}", SlotLink(board.url, FAST, Auto()), board.provisioning_url)
            for number, board in enumerate(boards)
        )
        for number in range(rounds):
            faults = [_fault(draw) for _ in boards]
            _insert(boards, faults)
            _work(workspace, firmware, places, boards, faults, tally)
            sizes.append(resident())
            if number % 10 == 9:
                print(f"  round {number + 1} of {rounds}: {dict(tally.boards)}, {sizes[-1] >> 20} MB", flush=True)
    return sizes


def _fault(draw: random.Random) -> str | None:
    return draw.choice(_BAD + _CURED) if draw.random() < _FAULTY else None


def _insert(boards: Iterable[BoardHandle], faults: Iterable[str | None]) -> None:
    for board, fault in zip(boards, faults, strict=True):
        board.control("swap" if fault is None else f"swap {fault}")


def _work(
    workspace: Workspace,
    firmware: PreparedRelease,
    places: tuple[Slot, ...],
    boards: list[BoardHandle],
    faults: list[str | None],
    tally: Tally,
) -> None:
    """Run all slots, those that did not pass a second time, and compare the verdicts with the faults."""
    verdicts: dict[str, UnitEnded] = {}
    for slots in (places, None):
        again = slots or tuple(place for place in places if verdicts[place.name].outcome is not Outcome.PASS)
        if not again:
            break
        for board, fault in zip(boards, faults, strict=True):
            if fault == "vanish" and slots is None:
                with suppress(StationError):
                    board.control("return")
        for ended in run_line(workspace, firmware, again, RUN_STEPS):
            verdicts[ended.slot] = ended
            tally.visits[ended.outcome.value] += 1
    for place, fault in zip(places, faults, strict=True):
        ended = verdicts[place.name]
        tally.boards[ended.outcome.value] += 1
        if (ended.outcome is Outcome.PASS) != (fault is None or fault in _CURED):
            tally.wrong.append(f"{fault or 'healthy'}: {ended.outcome} {ended.reason}")


def judge(workspace: Workspace, tally: Tally, sizes: list[int]) -> int:
    """Print what does not balance; return 1 if anything does not."""
    ledger = workspace.ledger
    wrong = [*tally.wrong, *(str(problem) for problem in ledger.check())]
    identities = [one for batch in ledger.batches() for one in ledger.identities(batch.name)]
    macs = Counter(one.mac for one in identities if one.mac is not None)
    states = Counter(one.state.value for one in identities)
    wrong += [f"{mac} has {count} identities" for mac, count in macs.items() if count > 1]
    passed = tally.boards[Outcome.PASS.value]
    if states["verified"] != passed:
        wrong.append(f"{passed} boards passed, but {states['verified']} units are verified")
    free = ledger.free(workspace.product.name)
    if free + len(macs) != len(identities):
        wrong.append(f"{free} free and {len(macs)} given identities, but {len(identities)} in all")
    visits = sum(tally.visits.values())
    units = _verdicts(workspace)
    if units != visits:
        wrong.append(f"{visits} visits, but {units} verdicts in the ledger")
    settled = sizes[int(len(sizes) * _SETTLED)]
    if sizes[-1] > _GROWTH * settled:
        wrong.append(f"the process grew from {settled >> 20} to {sizes[-1] >> 20} MB")
    print(f"ledger: {dict(states)}, {units} verdicts; memory {settled >> 20} to {sizes[-1] >> 20} MB")
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print("\n".join(wrong) or f"everything balances; at most {largest} MB")
    return int(bool(wrong))


def _verdicts(workspace: Workspace) -> int:
    """Return how many verdicts the ledger's file contains, asked without rmfab."""
    with closing(sqlite3.connect(workspace.root / "ledger.db")) as database:
        return int(database.execute("SELECT count(*) FROM event WHERE kind = 'unit'").fetchone()[0])


if __name__ == "__main__":
    sys.exit(main())
