"""Work in a process of its own, for a tenth of the units and for all: its memory must not grow with them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

GROWTH = 30.0
"""Megabytes that the process may need more for ten times the units."""


def most_memory() -> float:
    """Return the most memory that this process had, in MB. `ru_maxrss` would count that of its parent, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def in_process(module: str, *words: object) -> tuple[float, float, float]:
    """Run `python -m MODULE WORDS`, which prints seconds, seconds of CPU and `most_memory`; return these."""
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    seconds, cpu, memory = map(float, done.stdout.split())
    return seconds, cpu, memory


def is_flat(small: float, large: float) -> bool:
    """Print by how much memory grew from a tenth of the units to all, in MB; return whether that is little enough."""
    print(f"memory grows by {large - small:.0f} MB (target {GROWTH:.0f} MB)")
    return large - small <= GROWTH


def judge(units: int, measure: Callable[[int], tuple[float, float, float, float]]) -> int:
    """Measure a tenth of *units* and all of them, and print what that takes; return 1 if the memory is not flat.

    *measure* returns seconds, seconds of CPU, memory in MB, and the floor in seconds of CPU.
    """
    found = []
    for count in (units // 10, units):
        seconds, cpu, memory, floor = measure(count)
        print(
            f"{count:7} units: {seconds:5.1f} s, {cpu:5.1f} s of CPU ({1e6 * cpu / count:.0f} us each), "
            f"floor {floor:5.1f} s of CPU: {cpu / floor:.1f}x, {memory:.0f} MB"
        )
        found.append(memory)
    return 0 if is_flat(*found) else 1
