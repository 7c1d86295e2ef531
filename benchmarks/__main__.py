"""`python -m benchmarks [NAME [OPTIONS]]`: run all benchmarks, or one; exit code 1 if a target is missed."""

from __future__ import annotations

import compileall
import importlib
import sys
from pathlib import Path

import rmfab

NAMES = (
    "startup",
    "generate",
    "nvs_generate",
    "labels",
    "printing",
    "flash",
    "claims",
    "merge",
    "export",
    "import_batch",
    "cloud_check",
    "handshakes",
    "release",
    "screen",
)


def main(argv: list[str]) -> int:
    """Run the named benchmark with its options, or all with their defaults."""
    if argv and argv[0] not in NAMES:
        print(f"benchmarks: {argv[0]} is not one of {', '.join(NAMES)}", file=sys.stderr)
        return 2
    compileall.compile_dir(str(Path(rmfab.__file__).parent), quiet=1)  # as an installation does
    missed = 0
    for name in argv[:1] or NAMES:
        print(f"== {name}", flush=True)
        missed |= importlib.import_module(f"benchmarks.{name}").main(argv[1:])
    return missed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
