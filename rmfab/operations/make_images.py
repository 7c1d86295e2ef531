"""Make NVS images from CSVs: one per row of a mass_mfg values file, or one of the CSV of a single device."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import write_file
from rmfab.nvs.device_csv import read_device_csv
from rmfab.nvs.grammar import parse_config, read_values
from rmfab.nvs.mass_mfg import MassMfgRequest, Numbering, generate
from rmfab.nvs.packing import judge_size, pack
from rmfab.nvs.spreadsheet import SpreadsheetWarning
from rmfab.nvs.table import Entry, PageVersion
from rmfab.operations.advance import Advance
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.terminal import UNATTENDED, Terminal
from rmfab.product.size import parse_size

_SECRETS = "the secrets of units"


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
    for name in ("bin", "csv"):
        folder = request.outdir / name
        warn_of_git(terminal, _SECRETS, folder / f"{request.prefix}-1.{name}", shown=folder)
    yield done


@dataclass(frozen=True)
class PackRequest:
    """One *image* of *size* (as text), from the *csv* of a single device: key,type,encoding,value.

    *allow_files*: folders of `file` rows besides that of *csv*.
    """

    csv: Path
    image: Path
    size: str
    version: PageVersion = PageVersion.V2
    force: bool = False
    allow_files: tuple[Path, ...] = ()


def pack_image(request: PackRequest, terminal: Terminal = UNATTENDED) -> int:
    """Pack the image and return the number of its entries. Raise InputError (ComplaintsError) if the CSV is wrong."""
    size = parse_size(request.size)
    judge_size(size)
    items = read_device_csv(request.csv, request.allow_files)
    try:
        image = pack(items, size, request.version)
    except InputError as error:
        raise InputError(error.what, where=str(request.csv), hint=error.hint, cause=error.cause) from None
    write_file(request.image, image, secret=True, force=request.force)
    warn_of_git(terminal, _SECRETS, request.image)
    return sum(isinstance(item, Entry) for item in items)
