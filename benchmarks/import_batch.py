"""The import of a batch in the folder of an admin CLI, against reading it and checking each key, in a plain loop.

    python -m benchmarks import_batch [--units N]

Floor: read the CSV and each image; load certificate and key, verify the CA's signature, sign with the key and verify
that. The import runs in a process of its own, whose memory is measured for a tenth of the units too.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from benchmarks.flat_memory import in_process, judge, most_memory
from benchmarks.workspaces import run, with_batch
from rmfab.operations.advance import completed
from rmfab.operations.import_batch import ImportRequest, import_batch
from rmfab.workspace.workspace import open_workspace

_SIZE = "0x4000"
"""Of each image: the smallest that most products use, since 100,000 of them are on the disk at once."""


def main(argv: list[str] | None = None) -> int:
    """Print times, the ratio to the floor and memory; return 1 if the memory is not flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100_000, help="units in the batch (100000)")
    parser.add_argument("--import", dest="folder", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.folder:
        print(*imported(options.folder), most_memory())
        return 0
    return judge(options.units, _measure)


def _measure(units: int) -> tuple[float, float, float, float]:
    """Import a batch of *units*; return what that takes, see `judge`."""
    with tempfile.TemporaryDirectory() as folder:
        floor = raw(make_source(Path(folder), units))
        return *in_process("benchmarks.import_batch", "--import", folder), floor


def make_source(folder: Path, units: int) -> Path:
    """Make a batch as the admin CLI leaves it, with registration file and CA, and a workspace `new` to import it."""
    old, source = with_batch(folder, units, size=_SIZE), folder / "Mfg-000001"
    run("-C", old, "build", "big", "-o", source)
    (source / "csv").rename(source / "common")
    run("-C", old, "export", "rainmaker", "big", "-o", folder / "node_certs.csv")
    with (source / "common" / "node_certs.csv").open("wb") as registered:
        for number, part in enumerate(sorted(folder.glob("node_certs*.csv"))):
            lines = part.read_bytes().partition(b"\n")
            registered.write(lines[2] if number else b"".join(lines))
    (old / "ca" / "ca.crt").rename(source / "common" / "ca.crt")
    run("init", folder / "new", "--name", "lamp", "--mqtt-host", "mqtt.example.org")
    return source


def imported(folder: Path) -> tuple[float, float]:
    """Import the source in *folder*; return the seconds, and those of CPU."""
    began, cpu = time.perf_counter(), time.process_time()
    request = ImportRequest(folder / "Mfg-000001", "old")
    completed(import_batch(open_workspace(folder / "new"), request))
    return time.perf_counter() - began, time.process_time() - cpu


def raw(source: Path) -> float:
    """Return the seconds of CPU that the floor takes."""
    began = time.process_time()
    authority = x509.load_pem_x509_certificate((source / "common" / "ca.crt").read_bytes())
    with (source / "common" / "values.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            (source / "bin" / f"{row['serial']}.bin").read_bytes()
            certificate = x509.load_pem_x509_certificate(bytes.fromhex(row["client_cert"]))
            certificate.verify_directly_issued_by(authority)
            key, public = load_pem_private_key(bytes.fromhex(row["client_key"]), None), certificate.public_key()
            if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(public, ec.EllipticCurvePublicKey):
                raise TypeError("the benchmark makes ECDSA keys")
            public.verify(key.sign(b"", ec.ECDSA(hashes.SHA256())), b"", ec.ECDSA(hashes.SHA256()))
    return time.process_time() - began


if __name__ == "__main__":
    sys.exit(main())
