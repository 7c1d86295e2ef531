"""The folders that `esp-rainmaker-cli claim` keeps: one per board, with its image and the files that it was made of.

    USER/MAC/   node_info.csv  node.info  node.crt  node.key  endpoint.info  mqtt_cred_host.info  random.info  MAC.bin

The board was flashed when it was claimed. Source: esp-rainmaker-cli, rmaker_tools/rmaker_claim/claim.py
(`save_claim_data`, `set_csv_file_data`, `gen_nvs_partition_bin`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rmfab.errors import InputError
from rmfab.exchange.found_unit import FoundUnit, SourceKind, entries_digest
from rmfab.exchange.source_files import SourceFiles, files_digest, inside
from rmfab.exchange.source_index import differing, read_sound_image
from rmfab.nvs.device_csv import read_device_csv
from rmfab.nvs.table import Entry

LIST = "node_info.csv"
_DEEPEST = 3
_OTHER_IMAGES = frozenset({"esp_secure_cert.bin"})


class ClaimSource:
    """The claimed boards in *folders*, of which each has a node_info.csv."""

    kind = SourceKind.CLAIMED
    authority: Path | None = None
    flashed = True
    has_serials = False

    def __init__(self, folders: list[Path]) -> None:
        self._folders = folders
        self.sha256 = self._digest()

    def _digest(self) -> str:
        return files_digest(inside(folder, LIST) for folder in self._folders)

    def prepare(self) -> Iterator[int]:
        """Yield nothing: each image is read with its unit."""
        return iter(())

    def units(self) -> Iterator[FoundUnit | InputError]:
        """Yield the unit of each folder."""
        if self._digest() != self.sha256:
            raise InputError("a file changed while it was in use", where=str(self._folders[0].parent))
        for folder in self._folders:
            where = str(folder / LIST)
            try:
                yield self._unit(folder)
            except InputError as error:
                first = error.complaints[0]
                yield InputError(first.what, where=first.where or where, hint=first.hint, cause=first.cause)

    def unused_images(self) -> int:
        """Return 0: the only image of a folder belongs to its unit."""
        return 0

    def close(self) -> None:
        """Do nothing: nothing was kept."""

    def _unit(self, folder: Path) -> FoundUnit:
        """Return the unit of *folder*. Raise InputError for a bad file, or if the image says otherwise."""
        items = read_device_csv(inside(folder, LIST), files=SourceFiles(folder))
        entries = tuple(item for item in items if isinstance(item, Entry))
        names = sorted(path.name for path in folder.glob("*.bin") if path.name not in _OTHER_IMAGES)
        if len(names) != 1:
            found = ", ".join(names[:4]) or "none"
            raise InputError(f"a claimed board has one image, MAC.bin; found: {found}", cause="import-image")
        image = read_sound_image(inside(folder, names[0]))
        if entries_digest(image.entries) != entries_digest(entries):
            raise InputError(
                f"the image {names[0]} and {LIST} differ in {differing(image, entries)}",
                hint="find out which of the two is right: the board was flashed with the image",
                cause="import-image",
            )
        return FoundUnit(str(folder / LIST), None, entries)


def claim_folders(folder: Path) -> list[Path]:
    """Return *folder* and the folders in it, at most three levels below, that contain a node_info.csv; sorted."""
    found = []
    for place, below, files in os.walk(folder, followlinks=False):
        if LIST in files:
            found.append(Path(place))
        if len(Path(place).relative_to(folder).parts) >= _DEEPEST:
            below.clear()
    return sorted(found)
