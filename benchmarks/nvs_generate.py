"""`rmfab nvs generate` against a peer: mfg_gen.py if RMFAB_MFG_GEN names it, else the generator, called once per row.

    python benchmarks/nvs_generate.py [ROWS]

Prints one table row: the number of rows, rmfab's and the peer's time in milliseconds per row, and the ratio. Both make
the same csv/ and bin/ files in the same run; the bytes are compared.
"""

from __future__ import annotations

import contextlib
import csv
import filecmp
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run both and print the row; return 1 if the bytes differ."""
    arguments = sys.argv[1:] if argv is None else argv
    rows = int(arguments[0]) if arguments else 10_000
    with tempfile.TemporaryDirectory(prefix="rmfab-bench-") as name:
        folder = Path(name)
        config, values = _inputs(folder, rows)
        ours = _seconds(lambda: _ours(config, values, folder / "ours"))
        peer_name, peer = _peer()
        theirs = _seconds(lambda: peer(config, values, folder / "theirs"))
        same = _same(folder / "ours", folder / "theirs", rows)
    print("| what | rows | rmfab, ms per row | peer, ms per row | peer | ratio | bytes |")
    print("|---|---|---|---|---|---|---|")
    verdict = "equal" if same else "DIFFER"
    print(
        f"| nvs generate | {rows} | {ours / rows * 1e3:.3f} | {theirs / rows * 1e3:.3f} | {peer_name} "
        f"| {theirs / ours:.1f}x | {verdict} |"
    )
    return 0 if same else 1


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


def _ours(config: Path, values: Path, outdir: Path) -> None:
    from rmfab.nvs import mass_mfg
    from rmfab.nvs.grammar import parse_config, read_values

    order = mass_mfg.MassMfgRequest(read_values(parse_config(config), values), "unit", SIZE, outdir)
    for _ in mass_mfg.generate(order):
        pass


def _peer() -> tuple[str, Callable[[Path, Path, Path], None]]:
    script = os.environ.get("RMFAB_MFG_GEN")
    if not script:
        return "generator, in-process", _generator

    def run(config: Path, values: Path, outdir: Path) -> None:
        outdir.mkdir()
        command = [
            sys.executable,
            script,
            "generate",
            str(config),
            str(values),
            "unit",
            hex(SIZE),
            "--outdir",
            str(outdir),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return "mfg_gen.py", run


def _generator(config: Path, values: Path, outdir: Path) -> None:
    """Call the generator's own `generate` once per row, on intermediate CSVs written as simply as possible."""
    from esp_idf_nvs_partition_gen import nvs_partition_gen

    outdir.mkdir()
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


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _same(ours: Path, theirs: Path, rows: int) -> bool:
    names = [f"{kind}/unit-{number}.{kind}" for kind in ("bin", "csv") for number in range(1, rows + 1)]
    _, different, missing = filecmp.cmpfiles(ours, theirs, names, shallow=False)
    return not different and not missing


if __name__ == "__main__":
    sys.exit(main())
