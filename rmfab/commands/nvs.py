"""`rmfab nvs`: generate NVS images from mass_mfg CSVs, show and check any NVS image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import FILE, allow_files_option
from rmfab.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable

_ENCRYPTION = (
    ("--keygen", True), ("--keyfile", False), ("--inputkey", False), ("--key-protect-hmac", True),
    ("--kp-hmac-keygen", True), ("--kp-hmac-keyfile", False), ("--kp-hmac-inputkey", False),
)  # fmt: skip
"""Options of mfg_gen.py that rmfab recognises but does not support, and whether each is a flag."""


@click.group("nvs", cls=Branch)
def command() -> None:
    """Generate, show or check NVS images."""


def _encryption_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, is_flag in reversed(_ENCRYPTION):
        names = (name, "--" + name[2:].replace("-", "_"))
        function = click.option(*dict.fromkeys(names), is_flag=is_flag, hidden=True)(function)
    return function


@command.command("generate")
@click.argument("config", type=FILE)
@click.argument("values", type=FILE)
@click.argument("prefix")
@click.argument("size")
@click.option(
    "--prefix-num",
    "--prefix_num",
    type=(int, int),
    metavar="START LEN",
    help="Append a number to the prefix, from START, with LEN digits.",
)
@click.option("--fileid", metavar="KEY", help="Column whose values end the file names (default: 1, 2, 3 …).")
@click.option("--outdir", type=FILE, default=Path(), show_default=True, help="Folder for bin/ and csv/.")
@click.option(
    "--page-version", type=click.Choice(["1", "2"]), help="NVS page format (default: 2, which supports large blobs)."
)
@click.option("--version", "former_version", type=click.Choice(["1", "2"]), hidden=True)
@allow_files_option
@click.option("--force", is_flag=True, help="Replace existing files.")
@_encryption_options
def generate(
    config: Path,
    values: Path,
    prefix: str,
    size: str,
    prefix_num: tuple[int, int] | None,
    fileid: str | None,
    outdir: Path,
    page_version: str | None,
    former_version: str | None,
    allow_files: tuple[Path, ...],
    force: bool,
    **encryption: Any,
) -> None:
    """Make an NVS image per row of VALUES, as mfg_gen.py does.

    CONFIG lists the keys and their encodings, SIZE is the partition size, such as 0x6000. Writes bin/PREFIX-ID.bin and
    csv/PREFIX-ID.csv for each row, after all rows are checked.
    """
    from rmfab.errors import InputError
    from rmfab.nvs.mass_mfg import Numbering
    from rmfab.nvs.table import PageVersion
    from rmfab.operations.make_images import ImagesRequest, make_images

    if any(encryption.values()):
        raise InputError("encrypted NVS images are not supported yet", hint="leave out the key options")
    request = ImagesRequest(
        config,
        values,
        prefix,
        size,
        outdir,
        version=PageVersion[f"V{page_version or former_version or 2}"],
        numbering=Numbering(*prefix_num) if prefix_num else None,
        fileid=fileid,
        force=force,
        allow_files=allow_files,
    )
    count = terminal.followed("images", make_images(request, terminal.TERMINAL))
    terminal.say(f"{count} images")
    terminal.show({"folder": str(outdir / "bin"), "images": count}, str(outdir / "bin"))


@command.command("show")
@click.argument("image", type=FILE)
@click.option("--reveal", is_flag=True, help="Show secrets too.")
def show(image: Path, reveal: bool) -> None:
    """Show the entries of an NVS image, as firmware reads them."""
    from rmfab.nvs import listing
    from rmfab.operations.make_images import read_image_file

    decoded = read_image_file(image)
    terminal.show(listing.document(decoded, reveal=reveal), "\n".join(listing.lines(decoded, reveal=reveal)))
    if not terminal.json_wanted():
        for finding in decoded.findings:
            click.echo(printable(f"rmfab: {finding.severity.value}: {finding}"), err=True)


@command.command("check")
@click.argument("images", type=FILE, nargs=-1, required=True)
def check(images: tuple[Path, ...]) -> None:
    """Report everything that is wrong with NVS images.

    Exits with code 5 if firmware would lose or misread data.
    """
    from rmfab.errors import IntegrityError
    from rmfab.operations.make_images import read_image_file

    checked = [(path, read_image_file(path)) for path in images]
    damaged = [path for path, decoded in checked if not decoded.sound]
    if terminal.json_wanted():
        terminal.document(
            [
                {
                    "image": str(path),
                    "sound": decoded.sound,
                    "entries": len(decoded.entries),
                    "findings": [
                        {"place": one.place, "severity": one.severity.value, "text": one.text}
                        for one in decoded.findings
                    ],
                }
                for path, decoded in checked
            ]
        )
    else:
        for path, decoded in checked:
            for finding in decoded.findings:
                place = f"{finding.place}: " if finding.place else ""
                terminal.data(f"{path}: {place}{finding.severity.value}: {finding.text}")
            if decoded.sound:
                terminal.say(f"{path}: sound, {len(decoded.entries)} entries")
    if damaged:
        raise IntegrityError(
            f"{len(damaged)} of {len(images)} images are damaged", where=str(damaged[0]), cause="nvs-damaged"
        )
