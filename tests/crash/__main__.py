"""`./dev bench --crash`: kill commands and servers at random moments, then let many processes claim at once."""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.crash.harness import KINDS, Harness, report


def main(argv: list[str] | None = None) -> int:
    """Run the harness, then the crowds; return 1 if a fault was found."""
    parser = argparse.ArgumentParser(prog="./dev bench --crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=500, help="processes to kill, or faults of their server (500)")
    parser.add_argument(
        "--worlds", choices=[*KINDS, "both"], default="both", help="with the ledger in a file, on a server (both)"
    )
    parser.add_argument(
        "--claims", type=int, default=200, help="claims of each of 16 processes on a file, of 64 on a server (200)"
    )
    parser.add_argument("--seed", type=int, help="repeat a run, until a command ends differently (default: random)")
    parser.add_argument("--seconds", type=float, default=1e9, help="end the kills after so many seconds (no limit)")
    parser.add_argument("--folder", type=Path, help="an empty folder for the worlds (a temporary one)")
    options = parser.parse_args(argv)
    seed = secrets.randbelow(1 << 31) if options.seed is None else options.seed
    folder = options.folder or Path(tempfile.mkdtemp(prefix="rmfab-crash-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["RMFAB_STATE"] = str(folder / "state")
    kinds = KINDS if options.worlds == "both" else (options.worlds,)
    _say(f"seed {seed}, {options.kills} kills, in {folder}")
    code = report(Harness(folder, seed, options.kills, options.seconds, _say, kinds).run(), seed, _say)
    for kind in kinds if options.claims and code == 0 else ():
        began = time.monotonic()
        done = _CROWDS[kind](folder, options.claims)
        _say(f"{done}: {time.monotonic() - began:.0f} s, no fault")
    if code == 0 and options.folder is None:
        shutil.rmtree(folder)
    return code


def _crowd_on_file(folder: Path, claims: int) -> str:
    from tests.crash.crowd import Crowd

    crowd = Crowd(folder / "crowd.db", folder, 16, claims)
    crowd.make()
    crowd.claim(kills=True)
    crowd.judge(kills=True)
    return f"16 processes with {claims} claims each on a file, half of them killed and repeated"


def _crowd_on_server(folder: Path, claims: int) -> str:
    from tests.crash.crowd import Crowd, terminating
    from tests.postgres import running_server

    with running_server(durable=True) as server:
        server.execute("CREATE DATABASE crowd TEMPLATE template0")
        crowd = Crowd(server.url("crowd"), folder, 64, claims)
        crowd.make()
        with terminating(server, "crowd", pause=0.1) as ended:
            crowd.claim(kills=False)
        crowd.judge(kills=False)
    return f"64 stations with {claims} claims each on a server, which ended {len(ended)} connections"


_CROWDS = {"file": _crowd_on_file, "server": _crowd_on_server}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
