"""Finding out what kind of batch a folder contains."""

from __future__ import annotations

from pathlib import Path

from rmfab.errors import InputError
from rmfab.exchange.claim_source import ClaimSource, claim_folders
from rmfab.exchange.found_unit import BatchSource, SourceKind
from rmfab.exchange.mass_mfg_source import MassMfgSource, SheetPaths
from rmfab.exchange.source_files import inside
from rmfab.files import is_there

CONFIG, VALUES, REGISTRATION, AUTHORITY, IMAGES = "config.csv", "values.csv", "node_certs.csv", "ca.crt", "bin"
_LOOKED_FOR = (
    "looked for: common/config.csv and common/values.csv (rainmaker admin CLI); csv/config.csv and csv/values.csv, or "
    "config.csv and values.csv (mass_mfg, `rmfab build`); MAC/node_info.csv (esp-rainmaker-cli claim)"
)


def open_source(folder: Path, namespace: str, serial_column: str | None) -> BatchSource:
    """Return the batch in *folder*. *namespace* is the one of RainMaker's keys; see `MassMfgSource` for the rest.

    Raise InputError if there is none, or if it is only a part of one.
    """
    if not folder.is_dir():
        raise InputError("SOURCE is not a folder", where=str(folder), hint=_LOOKED_FOR, cause="import-source")
    for sheets in ("common", "csv", "."):
        if is_there(folder / sheets / CONFIG) and is_there(folder / sheets / VALUES):
            kind = SourceKind.ADMIN_CLI if sheets == "common" else SourceKind.MASS_MFG
            return MassMfgSource(kind, _paths(folder, sheets), namespace, serial_column)
    claimed = claim_folders(folder)
    if claimed and serial_column is None:
        return ClaimSource(claimed)
    if claimed:
        raise InputError(
            "a claimed board has no serial column", where=str(folder), hint="omit --serial-column", cause="usage"
        )
    raise _nothing(folder)


def _paths(folder: Path, sheets: str) -> SheetPaths:
    """Return the files of the batch whose CSVs are in the folder *sheets* of *folder*. Raise InputError."""
    if not (folder / IMAGES).is_dir() or (folder / IMAGES).is_symlink():
        raise InputError(
            f"there is no folder {IMAGES} with the images of this batch",
            where=str(folder),
            hint="an image proves what a unit was flashed with: import the batch together with its images",
            cause="import-source",
        )
    there = {name: inside(folder, f"{sheets}/{name}") for name in (CONFIG, VALUES)}
    more = {
        name: inside(folder, f"{sheets}/{name}") if is_there(folder / sheets / name) else None
        for name in (REGISTRATION, AUTHORITY)
    }
    return SheetPaths(folder, there[CONFIG], there[VALUES], folder / IMAGES, more[REGISTRATION], more[AUTHORITY])


def _nothing(folder: Path) -> InputError:
    batches = sorted(path.parent.parent.name for path in folder.glob(f"*/common/{VALUES}"))
    if batches:
        what, hint = "this folder contains batches, but is none", f"import one, such as {folder / batches[0]}"
    elif is_there(folder / REGISTRATION) or is_there(folder / "common" / REGISTRATION):
        what, hint = f"{REGISTRATION} alone has no keys", _LOOKED_FOR
    else:
        what, hint = "there is no batch in this folder", _LOOKED_FOR
    return InputError(what, where=str(folder), hint=hint, cause="import-source")
