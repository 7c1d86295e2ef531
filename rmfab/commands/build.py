"""`rmfab build`: write a batch as files."""

from __future__ import annotations

from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import FILE


@click.command("build", cls=Leaf)
@click.argument("batch")
@click.option("-o", "--output", type=FILE, required=True, metavar="DIR", help="The folder to write to.")
@click.option("--force", is_flag=True, help="Replace existing files.")
def command(batch: str, output: Path, force: bool) -> None:
    """Write the factory images and mass_mfg CSVs of BATCH.

    Images are bin/SERIAL.bin; `rmfab nvs generate` makes the same ones from csv/config.csv and csv/values.csv. The
    files contain all secrets of the units in plain text (0600 in 0700 folders). The line does not need them.

    \b
    rmfab build lamp-0001 -o out
    rmfab nvs generate out/csv/config.csv out/csv/values.csv node 0x6000 \\
        --fileid serial --outdir again
    """
    from rmfab.operations.build_files import BuildFilesRequest, build_files

    workspace, request = terminal.workspace(), BuildFilesRequest(batch, output, force)
    built = terminal.followed(f"batch {batch}", build_files(workspace, request, terminal.TERMINAL))
    terminal.show({"folder": str(output), "images": built.images, "void": built.void}, None)
