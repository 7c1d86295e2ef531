"""The child process of `rmfab.virtual.serve`: one line of JSON on stdin says what to serve; it ends when stdin does."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from rmfab.virtual.bench.serving import run, spec_from_json


def _announce(line: Mapping[str, str]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Serves what the first line asks for."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:  # unbuffered: what follows is waited for, not read
        first = stdin.readline()
    if not first:
        return
    request = json.loads(first)
    state = None if request["state"] is None else Path(request["state"])
    run([spec_from_json(values) for values in request["boards"]], _announce, state=state, with_parent=True)


if __name__ == "__main__":
    main()
