"""A batch as files: factory images, and the mass_mfg CSVs from which `nvs generate` makes the same images."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import FolderWriter, make_folder, output_file, sweep, write_file
from rmfab.identity.identity import Identity
from rmfab.identity.mass_mfg_csv import config_csv, values_csv
from rmfab.identity.pack_batch import pack_images
from rmfab.ledger.records import LedgerIdentity
from rmfab.operations.advance import Advance
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.workspace.workspace import Workspace


@dataclass(frozen=True)
class BuildFilesRequest:
    """The files of *batch* in the folder *output*; *force* replaces existing files with different content."""

    batch: str
    output: Path
    force: bool = False


@dataclass(frozen=True)
class BuiltFiles:
    """The number of *images* in the folder *bin*, and of identities that have none: *void* ones, and *unnamed* ones,
    which get their serial with their board."""

    bin: Path
    images: int
    void: int
    unnamed: int = 0


def build_files(
    workspace: Workspace, request: BuildFilesRequest, terminal: Terminal = UNATTENDED
) -> Generator[Advance | BuiltFiles, None, None]:
    """Write the images and CSVs; yield the progress, and last what was built.

    The files contain all secrets in plain text; they are 0600 in 0700 folders. Raise InputError if a file already
    exists with different content, or if no identity has a serial yet.
    """
    size = workspace.ledger.batch(request.batch).size
    workspace.check_policy(request.batch)
    unnamed = _unnamed(workspace, request.batch)
    make_folder(request.output, secret=True)
    images, sheets = (make_folder(request.output / name, secret=True) for name in ("bin", "csv"))
    sweep(images)
    write_file(sheets / "config.csv", config_csv(workspace.product), secret=True, force=request.force)
    bound = (one for one in workspace.ledger.identities(request.batch) if _has_image(one))
    opened = (workspace.open_identity(one) for one in bound)
    with closing(pack_images(opened, size, workspace.product)) as packing:
        packed = _Written(images, request.force, packing)
        with output_file(sheets / "values.csv", secret=True, force=request.force) as stream:
            for line in values_csv(packed.identities(), workspace.product):
                stream.write(line)
                yield Advance(packed.count, size)
    void = size - packed.count - unnamed
    warn_of_git(terminal, "private keys and PoPs", sheets / "values.csv", packed.example, shown=request.output)
    terminal.say(f"{counted(packed.count, 'factory image')} in {images}; they contain secrets, store them like keys")
    if void:
        terminal.say(
            f"skipped {counted(void, 'identity that is', 'identities that are')} void, in quarantine or handed over"
        )
    if unnamed:
        terminal.say(f"skipped {counted(unnamed, 'identity that has', 'identities that have')} no serial yet")
    yield BuiltFiles(images, packed.count, void, unnamed)


def _has_image(one: LedgerIdentity) -> bool:
    return one.state.ours and not one.unnamed


def _unnamed(workspace: Workspace, batch: str) -> int:
    """Count the identities of *batch* without a serial. Raise InputError if no other can have an image."""
    if not workspace.product.serial.late:
        return 0
    found = [one.unnamed for one in workspace.ledger.identities(batch) if one.state.ours]
    if found and all(found):
        raise InputError(
            f"no identity of {batch} has a serial yet: each gets it with its board",
            hint="build its image after `rmfab run`",
            cause="no-serial",
        )
    return sum(found)


class _Written:
    """Write the image of each identity of *packing* to the folder *images* as it is drawn, and count them."""

    def __init__(self, images: Path, force: bool, packing: Iterable[tuple[Identity, bytes]]) -> None:
        self._folder = images
        self._images = FolderWriter(images, secret=True, force=force)
        self._packing = packing
        self.count = 0

    @property
    def example(self) -> Path:
        """The path of an image."""
        return self._folder / "SERIAL.bin"

    def identities(self) -> Iterator[Identity]:
        """Yield the identities, in order, and write the image of each."""
        for identity, image in self._packing:
            self._images.write(f"{identity.serial}.bin", image)
            self.count += 1
            yield identity
