"""The export of a batch for RainMaker, against Python's sqlite3 and ssl alone, which check nothing.

    python -m benchmarks export [--units N]

Floor: read node id and certificate of each row, and write it as PEM, hashed. The export runs in a process of its own,
whose memory is measured for a tenth of the units too.
"""

from __future__ import annotations

import argparse
import hashlib
import sqlite3
import ssl
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.flat_memory import in_process, judge, most_memory
from benchmarks.workspaces import with_batch
from rmfab.cloud.registration_files import ExportForm
from rmfab.operations.advance import completed
from rmfab.operations.export_units import ExportUnitsRequest, export_units
from rmfab.workspace.workspace import open_workspace


def main(argv: list[str] | None = None) -> int:
    """Print times, the ratio to the floor and memory; return 1 if the memory is not flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100_000, help="units in the batch (100000)")
    parser.add_argument("--export", type=Path, metavar="WORKSPACE", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.export:
        print(*export(options.export), most_memory())
        return 0
    return judge(options.units, _measure)


def _measure(units: int) -> tuple[float, float, float, float]:
    """Export a batch of *units*; return what that takes, see `judge`."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = with_batch(Path(folder), units)
        floor = raw(workspace)
        return *in_process("benchmarks.export", "--export", workspace), floor


def export(folder: Path) -> tuple[float, float]:
    """Export the batch of the workspace in *folder*; return the seconds, and those of CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    request = ExportUnitsRequest(("big",), ExportForm.RAINMAKER, folder.parent / "node_certs.csv")
    completed(export_units(open_workspace(folder), request))
    return time.perf_counter() - began, time.process_time() - cpu


def raw(folder: Path) -> float:
    """Return the seconds of CPU that the floor takes."""
    began, digest = time.process_time(), hashlib.sha256()
    connection = sqlite3.connect(folder / "ledger.db")
    with (folder / "raw.csv").open("wb") as stream:
        for name, der in connection.execute("SELECT node_id, certificate FROM identity ORDER BY position"):
            row = f'{name},"{ssl.DER_cert_to_PEM_cert(der)}"\n'.encode()
            digest.update(row)
            stream.write(row)
    connection.close()
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
