"""NVS images in files: make them from mass_mfg CSVs, and read them as firmware does."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.nvs.grammar import parse_config, read_values
from rmfab.nvs.mass_mfg import MassMfgRequest, Numbering, generate
from rmfab.nvs.reader import Image, read_image
from rmfab.nvs.spreadsheet import SpreadsheetWarning
from rmfab.nvs.table import PageVersion
from rmfab.operations.advance import Advance
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.product.size import parse_size


@dataclass(frozen=True)
class ImagesRequest:
    """One image per row of *values*, with the keys of *config*, in *outdir*; see `MassMfgRequest`.

    *size* is the partition size as text, such as `0x6000` or `24576`. *allow_files*: folders of `file` rows besides
    that of *values*.
    """

    config: Path
    values: Path
    prefix: str
    size: str
    outdir: Path
    version: PageVersion = PageVersion.V2
    numbering: Numbering | None = None
    fileid: str | None = None
    force: bool = False
    allow_files: tuple[Path, ...] = ()


def make_images(request: ImagesRequest, terminal: Terminal = UNATTENDED) -> Generator[Advance | int, None, None]:
    """Make the images and their CSVs; yield the progress, and last the number of images.

    Raise InputError (ComplaintsError) before anything is written if a row is wrong, StationError if a worker process
    dies.
    """
    size = parse_size(request.size)
    values = read_values(parse_config(request.config), request.values)
    order = MassMfgRequest(
        values,
        request.prefix,
        size,
        request.outdir,
        request.version,
        request.numbering,
        request.fileid,
        request.force,
        request.allow_files,
    )
    done = 0
    for progress in generate(order):
        if isinstance(progress, SpreadsheetWarning):
            terminal.warn(progress.text, progress.hint)
            continue
        done = progress.done
        yield Advance(done, progress.total or 0, progress.stage.value)
    yield done


def read_image_file(path: Path) -> Image:
    """Read the image in *path*, with all findings. Raise InputError if it is not an NVS image."""
    try:
        return read_image(read_input(path, "NVS image"))
    except InputError as error:
        raise InputError(error.what, where=str(path), hint=error.hint, cause=error.cause) from None
