"""Checks of credentials on a broker, against TLS handshakes by openssl with one unit's certificate on the same broker.

    python -m benchmarks cloud_check [--units N] [--seconds S]

The broker is mosquitto with mutual TLS 1.2, which does as much work for both. A check without a witness opens two
connections for each unit, and speaks MQTT on them; `openssl s_time` opens one after the other and says nothing.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.workspaces import with_batch
from rmfab.operations.check_cloud import CheckRequest, CheckSummary, check_cloud
from rmfab.operations.select_cloud_units import cloud_unit
from rmfab.operations.serve_cloud import BrokerRequest, ServedBroker, serve_broker
from rmfab.workspace.workspace import Workspace, open_workspace

RATIO = 1.5
_CONNECTIONS = 2


def main(argv: list[str] | None = None) -> int:
    """Print connections per second of both; return 1 if ours take more than `RATIO` times as long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=500, help="units to check (500)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of openssl's handshakes (5)")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        workspace = open_workspace(with_batch(Path(folder), options.units))
        with serve_broker(workspace, BrokerRequest(tcp_port=0)) as served:
            before = handshakes(workspace, served, options.seconds)
            ours = checks(workspace, served)
            floor = (before + handshakes(workspace, served, options.seconds)) / 2
    print(
        f"openssl s_time {floor:.0f} connections/s; {options.units} units checked at {ours:.0f} connections/s "
        f"({ours / _CONNECTIONS:.0f} units/s): {floor / ours:.2f}x (target {RATIO}x)"
    )
    return int(floor / ours > RATIO)


def handshakes(workspace: Workspace, served: ServedBroker, seconds: int) -> float:
    """Return how many connections `openssl s_time` opens in a second, with the credentials of the first unit."""
    unit = cloud_unit(workspace, next(workspace.ledger.identities("big")))
    pair = workspace.root / "pair.pem"
    pair.touch(0o600)
    pair.write_bytes(unit.pair.certificate + unit.pair.key.reveal())
    command = [
        "openssl",
        "s_time",
        "-connect",
        f"{served.host}:{served.port}",
        "-new",
        "-tls1_2",
        "-time",
        str(seconds),
    ]
    files = ["-cert", str(pair), "-key", str(pair), "-CAfile", str(served.folder.ca)]
    said = subprocess.run([*command, *files], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(\d+) connections in (\d+) real seconds", said)
    if not found:
        raise RuntimeError(said)
    return int(found[-1][0]) / int(found[-1][1])


def checks(workspace: Workspace, served: ServedBroker) -> float:
    """Return how many connections our check of all units opens in a second."""
    request = CheckRequest(("big",), served.host, served.port, ca=served.folder.ca)
    began = time.perf_counter()
    (summary,) = [event for event in check_cloud(workspace, request) if isinstance(event, CheckSummary)]
    seconds = time.perf_counter() - began
    if summary.failed or summary.errors or summary.aborted:
        raise RuntimeError(str(summary))
    return _CONNECTIONS * summary.passed / seconds


if __name__ == "__main__":
    sys.exit(main())
