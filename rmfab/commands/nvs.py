"""`rmfab nvs`: make NVS images from mass_mfg CSVs, show and check any NVS image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rmfab.nvs.mass_mfg import Progress
    from rmfab.nvs.reader import Image

_PATH = click.Path(path_type=Path)


@click.group("nvs")
def command() -> None:
    """NVS images: generate from CSVs, show, check."""


@command.command("generate")
@click.argument("config", type=_PATH)
@click.argument("values", type=_PATH)
@click.argument("prefix")
@click.argument("size")
@click.option(
    "--prefix-num", "--prefix_num", type=(int, int), metavar="START LEN", help="A running number after the prefix."
)
@click.option("--fileid", metavar="KEY", help="The column that ends the file names (default: 1, 2, 3 …).")
@click.option("--outdir", type=_PATH, default=Path(), show_default=True, help="Where bin/ and csv/ are made.")
@click.option(
    "--version", type=click.Choice(["1", "2"]), default="2", show_default=True, help="Page format; 2 has large blobs."
)
@click.option("--force", is_flag=True, help="Replace files that differ.")
@click.option("--keygen", is_flag=True, hidden=True)
@click.option("--keyfile", hidden=True)
@click.option("--inputkey", hidden=True)
@click.option("--key-protect-hmac", "--key_protect_hmac", is_flag=True, hidden=True)
@click.option("--kp-hmac-keygen", "--kp_hmac_keygen", is_flag=True, hidden=True)
@click.option("--kp-hmac-keyfile", "--kp_hmac_keyfile", hidden=True)
@click.option("--kp-hmac-inputkey", "--kp_hmac_inputkey", hidden=True)
def generate(
    config: Path,
    values: Path,
    prefix: str,
    size: str,
    prefix_num: tuple[int, int] | None,
    fileid: str | None,
    outdir: Path,
    version: str,
    force: bool,
    **encryption: Any,
) -> None:
    """Make an NVS image for each row of VALUES, as mfg_gen.py does.

    CONFIG names the keys and their encodings, SIZE is the partition's, such as 0x6000. Files are bin/PREFIX-ID.bin and
    csv/PREFIX-ID.csv; all rows are checked before the first is written.
    """
    from rmfab.errors import InputError
    from rmfab.nvs import mass_mfg
    from rmfab.nvs.grammar import parse_config, read_values
    from rmfab.nvs.table import PageVersion

    if any(encryption.values()):
        raise InputError("encrypted images come with a later version of rmfab", hint="leave out the options for keys")
    order = mass_mfg.MassMfgRequest(
        read_values(parse_config(config), values),
        prefix,
        mass_mfg.parse_size(size),
        outdir,
        version=PageVersion[f"V{version}"],
        numbering=mass_mfg.Numbering(*prefix_num) if prefix_num else None,
        fileid=fileid,
        force=force,
    )
    count = _follow(mass_mfg.generate(order))
    click.echo(f"rmfab: {count} images", err=True)
    click.echo(outdir / "bin")


def _follow(run: Iterable[Progress]) -> int:
    lively = sys.stderr.isatty()
    progress = None
    for progress in run:
        if lively:
            total = f" of {progress.total}" if progress.total else ""
            click.echo(f"\rrmfab: {progress.stage.value} {progress.done}{total} ", nl=False, err=True)
    if lively:
        click.echo("\r\x1b[K", nl=False, err=True)
    return progress.done if progress else 0


@command.command("show")
@click.argument("image", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
@click.option("--reveal", is_flag=True, help="Show secrets too.")
def show(image: Path, as_json: bool, reveal: bool) -> None:
    """What an NVS image holds, as firmware reads it."""
    from rmfab.nvs import listing

    decoded = _decoded(image)
    if as_json:
        terminal.document(listing.document(decoded, reveal=reveal))
        return
    for line in listing.lines(decoded, reveal=reveal):
        click.echo(line)
    for finding in decoded.findings:
        click.echo(f"rmfab: {finding.severity.value}: {finding}", err=True)


@command.command("check")
@click.argument("images", type=_PATH, nargs=-1, required=True)
def check(images: tuple[Path, ...]) -> None:
    """Name everything that is wrong with NVS images; exit 5 where firmware would lose or confuse data."""
    from rmfab.errors import IntegrityError

    damaged = []
    for path in images:
        decoded = _decoded(path)
        for finding in decoded.findings:
            place = f"{finding.place}: " if finding.place else ""
            click.echo(f"{path}: {place}{finding.severity.value}: {finding.text}")
        if decoded.sound:
            click.echo(f"rmfab: {path}: sound, {len(decoded.entries)} entries", err=True)
        else:
            damaged.append(path)
    if damaged:
        raise IntegrityError(
            f"{len(damaged)} of {len(images)} images are damaged", where=str(damaged[0]), cause="nvs-damaged"
        )


def _decoded(path: Path) -> Image:
    from rmfab.errors import InputError
    from rmfab.files import read_input
    from rmfab.nvs.reader import read_image

    try:
        return read_image(read_input(path, "NVS image"))
    except InputError as error:
        raise InputError(error.what, where=str(path), hint=error.hint, cause=error.cause) from None
