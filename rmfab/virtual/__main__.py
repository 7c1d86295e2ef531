"""The child process of `rmfab.virtual.serve`: a line of JSON on stdin specifies the boards; it ends with stdin."""

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
    """Serve the boards that the first line specifies."""
    with open(0, "rb", buffering=0, closefd=False) as stdin:  # unbuffered: `run` waits on the same stdin
        first = stdin.readline()
    if not first:
        return
    request = json.loads(first)
    state = None if request["state"] is None else Path(request["state"])
    run([spec_from_json(values) for values in request["boards"]], _announce, state=state, with_parent=True)


if __name__ == "__main__":
    main()
