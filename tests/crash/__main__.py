"""`./dev bench --crash`: kill commands at random moments, and report what did not hold."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.crash.harness import Harness, report


def main(argv: list[str] | None = None) -> int:
    """Run the harness; return 1 if a fault was found."""
    parser = argparse.ArgumentParser(prog="./dev bench --crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="processes to kill (500)")
    parser.add_argument("--seed", type=int, help="repeat a run, until a command ends differently (default: random)")
    parser.add_argument("--seconds", type=float, default=1e9, help="end after so many seconds (no limit)")
    parser.add_argument("--folder", type=Path, help="an empty folder for the worlds (a temporary one)")
    options = parser.parse_args(argv)
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    folder = options.folder or Path(tempfile.mkdtemp(prefix="rmfab-crash-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["RMFAB_STATE"] = str(folder / "state")
    _say(f"seed {seed}, {options.kills} kills, in {folder}")
    code = report(Harness(folder, seed, options.kills, options.seconds, _say).run(), seed, _say)
    if code == 0 and options.folder is None:
        shutil.rmtree(folder)
    return code


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
