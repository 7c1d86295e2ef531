"""Start-up: `rmfab --help` against the same Click group with empty commands, each in its own process, in turns."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

TARGET = 1.2

EMPTY = """
import click
group = click.Group("rmfab", params=[click.Option(["-C", "folder"]), click.Option(["-q", "--quiet"], is_flag=True)])
for name in {names!r}:
    group.add_command(click.Command(name, help="nothing"))
group.main(["--help"], prog_name="rmfab", standalone_mode=False)
"""


def main(argv: list[str] | None = None) -> int:
    """Print both times and their ratio; return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(argv)
    from rmfab.cli import COMMANDS

    empty = [sys.executable, "-c", EMPTY.format(names=tuple(COMMANDS))]
    ours = [sys.executable, "-m", "rmfab", "--help"]
    timed(empty), timed(ours)
    pairs = [(timed(empty), timed(ours)) for _ in range(options.rounds)]
    floor, mine = (statistics.median(times) for times in zip(*pairs, strict=True))
    print(f"the same group, empty commands  {floor * 1e3:7.1f} ms")
    print(f"rmfab --help                    {mine * 1e3:7.1f} ms")
    print(f"ratio                           {mine / floor:7.2f}x (target {TARGET}x)")
    return 0 if mine / floor <= TARGET else 1


def timed(argv: list[str]) -> float:
    """Return the seconds that the command takes."""
    began = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
