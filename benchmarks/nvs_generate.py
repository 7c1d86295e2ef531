"""`rmfab nvs generate` against mfg_gen.py, command with command: CPU time and wall time, on a tmpfs.

    python benchmarks/nvs_generate.py [ROWS …]

RMFAB_MFG_GEN names the peer, mfg_gen.py of ESP-IDF; without it, the peer is a command that calls Espressif's generator
once per row. Both make the same csv/ and bin/ files, in turns; the bytes are compared. Prints one table row per number
of rows (1,000 and 10,000): the seconds of both, the least of several runs, and the ratios. Returns 1 if a ratio misses
its target or bytes differ.
"""

from __future__ import annotations

import contextlib
import csv
import filecmp
import io
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

TARGETS = {1_000: 2.0, 10_000: 2.5}
_RUNS = {1_000: 5, 10_000: 3}
SIZE = 0x6000
CONFIG = """\
rmaker_creds,namespace,
node_id,data,binary
mqtt_host,data,binary,REPEAT
client_cert,data,hex2bin
client_key,data,hex2bin
random,data,hex2bin
sec2_salt,data,hex2bin
sec2_verifier,data,hex2bin
product,namespace,
serial,data,string
lot,data,u32
"""


class Seconds(NamedTuple):
    """What a command took."""

    wall: float
    cpu: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run both and print the rows; return 1 if a target is missed or the bytes differ."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["--peer"]:
        _generator(*map(Path, arguments[1:]))
        return 0
    print("| rows | rmfab, wall and CPU s | peer, wall and CPU s | peer | ratio of wall | of CPU | target | bytes |")
    print("|---|---|---|---|---|---|---|---|")
    return max([_compare(rows) for rows in map(int, arguments)] or [_compare(rows) for rows in TARGETS])


def _compare(rows: int) -> int:
    shared_memory = Path("/dev/shm")  # a tmpfs: what a disk does is not measured
    with tempfile.TemporaryDirectory(
        prefix="rmfab-bench-", dir=shared_memory if shared_memory.is_dir() else None
    ) as name:
        folder = Path(name)
        config, values = _inputs(folder, rows)
        peer_name, peer = _peer(config, values)
        ours, theirs = [], []
        for _ in range(_RUNS.get(rows, 3)):
            ours.append(_run(_ours(config, values), folder / "ours"))
            theirs.append(_run(peer, folder / "theirs"))
        same = _same(folder / "ours", folder / "theirs", rows)
    us, them = _least(ours), _least(theirs)
    wall, cpu, target = them.wall / us.wall, them.cpu / us.cpu, TARGETS.get(rows, 2.0)
    print(
        f"| {rows} | {us.wall:.2f} {us.cpu:.2f} | {them.wall:.2f} {them.cpu:.2f} | {peer_name} "
        f"| {wall:.1f}x | {cpu:.1f}x | {target}x | {'equal' if same else 'DIFFER'} |"
    )
    return 0 if same and min(wall, cpu) >= target else 1


def _inputs(folder: Path, rows: int) -> tuple[Path, Path]:
    config, values = folder / "config.csv", folder / "values.csv"
    config.write_text(CONFIG)
    keys = [line.split(",")[0] for line in CONFIG.splitlines() if ",namespace," not in line]
    with values.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(keys)
        for number in range(rows):
            host = "mqtt.example.com" if number == 0 else ""
            secrets = [os.urandom(size).hex() for size in (820, 240, 64, 16, 384)]
            writer.writerow([f"node{number:018d}", host, *secrets, f"LMP-{number:06d}", number])
    return config, values


def _ours(config: Path, values: Path) -> list[str]:
    rmfab = Path(sys.executable).with_name("rmfab")
    return [str(rmfab), "-q", "nvs", "generate", str(config), str(values), "unit", hex(SIZE), "--outdir"]


def _peer(config: Path, values: Path) -> tuple[str, list[str]]:
    script = os.environ.get("RMFAB_MFG_GEN")
    if not script:
        return "generator", [sys.executable, __file__, "--peer", str(config), str(values)]
    command = [sys.executable, script, "generate", str(config), str(values), "unit", hex(SIZE), "--outdir"]
    return "mfg_gen.py", command


def _run(command: list[str], outdir: Path) -> Seconds:
    """Run a command that takes the folder of its output last."""
    shutil.rmtree(outdir, ignore_errors=True)
    outdir.mkdir()
    before, start = _children(), time.perf_counter()
    subprocess.run([*command, str(outdir)], check=True, stdout=subprocess.DEVNULL)
    return Seconds(time.perf_counter() - start, _children() - before)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _least(runs: list[Seconds]) -> Seconds:
    return Seconds(min(run.wall for run in runs), min(run.cpu for run in runs))


def _generator(config: Path, values: Path, outdir: Path) -> None:
    """Call the generator's own `generate` once per row, on intermediate CSVs written as simply as possible."""
    from esp_idf_nvs_partition_gen import nvs_partition_gen

    (outdir / "csv").mkdir()
    layout = [line.split(",")[:3] for line in config.read_text().splitlines()]
    with values.open(newline="") as stream, contextlib.redirect_stdout(io.StringIO()):
        host = ""
        for number, row in enumerate(csv.DictReader(stream), start=1):
            host = row["mqtt_host"] = row["mqtt_host"] or host
            path = outdir / "csv" / f"unit-{number}.csv"
            with path.open("w", newline="") as target:
                writer = csv.writer(target)
                writer.writerow(["key", "type", "encoding", "value"])
                writer.writerows([*cells, row.get(cells[0], "")] for cells in layout)
            arguments = SimpleNamespace(
                input=str(path), output=f"bin/unit-{number}.bin", size=hex(SIZE), version=2, outdir=str(outdir)
            )
            nvs_partition_gen.generate(arguments)


def _same(ours: Path, theirs: Path, rows: int) -> bool:
    names = [f"{kind}/unit-{number}.{kind}" for kind in ("bin", "csv") for number in range(1, rows + 1)]
    _, different, missing = filecmp.cmpfiles(ours, theirs, names, shallow=False)
    return not different and not missing


if __name__ == "__main__":
    sys.exit(main())
