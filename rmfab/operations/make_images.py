"""NVS images in files: made from mass_mfg CSVs, and read as firmware reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.nvs.grammar import parse_config, read_values
from rmfab.nvs.mass_mfg import MassMfgRequest, Numbering, generate, parse_size
from rmfab.nvs.reader import Image, read_image
from rmfab.nvs.table import PageVersion
from rmfab.operations.advance import Advance


@dataclass(frozen=True)
class ImagesRequest:
    """An image for each row of *values*, with the keys of *config*, into *outdir*; as in `MassMfgRequest`.

    *size* is that of the partition as people write it, `0x6000` or `24576`.
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


def make_images(request: ImagesRequest) -> Iterator[Advance | int]:
    """Makes the images and their CSVs; yields how far it is, and last how many there are.

    Raises InputError (ComplaintsError) before anything is written where a row is wrong, StationError where a worker
    process dies.
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
    )
    done = 0
    for progress in generate(order):
        done = progress.done
        yield Advance(done, progress.total or 0, progress.stage.value)
    yield done


def read_image_file(path: Path) -> Image:
    """The image in *path*, with every finding. Raises InputError where it is no NVS image."""
    try:
        return read_image(read_input(path, "NVS image"))
    except InputError as error:
        raise InputError(error.what, where=str(path), hint=error.hint, cause=error.cause) from None
