"""`rmfab build`: a batch as files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rmfab.identity.identity import Identity
    from rmfab.workspace import Workspace


@click.command("build")
@click.argument("batch")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Where to.")
@click.option("--force", is_flag=True, help="Replace files of other content.")
def command(batch: str, output: Path, force: bool) -> None:
    """Write BATCH as bin/SERIAL.bin, and csv/config.csv with csv/values.csv from which `nvs generate` makes the same.

    The files hold every secret of the units in the clear: 0600 in 0700 folders. The line does not need them.

    \b
    rmfab build lamp-0001 -o out
    rmfab nvs generate out/csv/config.csv out/csv/values.csv node 0x6000 --fileid serial --outdir again
    """
    from rmfab.commands import terminal
    from rmfab.workspace import open_workspace

    write_files(open_workspace(terminal.folder()), batch, output, force=force)


def write_files(workspace: Workspace, batch: str, output: Path, *, force: bool) -> None:
    """Writes the images and CSVs of *batch* into *output*. Raises InputError where a file of other content is there."""
    from rmfab.commands import terminal
    from rmfab.files import make_folder, output_file, write_file
    from rmfab.identity.mass_mfg_csv import config_csv, values_csv
    from rmfab.identity.pack_batch import pack_images
    from rmfab.ledger.states import State

    size = workspace.ledger.batch(batch).size
    workspace.check_policy(batch)
    packed = 0
    make_folder(output, secret=True)
    images, sheets = make_folder(output / "bin", secret=True), make_folder(output / "csv", secret=True)
    bound = (one for one in workspace.ledger.identities(batch) if one.state is not State.VOID)
    opened = (workspace.open_identity(one) for one in bound)
    packing = pack_images(opened, size, workspace.product)
    with terminal.progress(f"batch {batch}", size) as advance, closing(packing):

        def pack() -> Iterator[Identity]:
            nonlocal packed
            for packed, (identity, image) in enumerate(packing, 1):
                write_file(images / f"{identity.serial}.bin", image, secret=True, force=force, sync=False)
                advance(packed)
                yield identity

        write_file(sheets / "config.csv", config_csv(workspace.product), secret=True, force=force)
        with output_file(sheets / "values.csv", secret=True, force=force) as stream:
            for line in values_csv(pack(), workspace.product):
                stream.write(line)
    terminal.say(f"{terminal.counted(packed, 'factory image')} in {images}; keep them as you would keep keys")
    if packed < size:
        terminal.say(f"{terminal.counted(size - packed, 'identity', 'identities')} of the batch void, and left out")
