"""Making a release of a build: its edition, its provenance, and its bill of materials."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rmfab.errors import InputError
from rmfab.files import read_input
from rmfab.product.vocabulary import SeqSource
from rmfab.release.build_folder import project_folder, read_build
from rmfab.release.edition import Edition
from rmfab.release.flasher_args import PROJECT_DESCRIPTION
from rmfab.release.origin import BuildOrigin, find_origin
from rmfab.release.parts import Document
from rmfab.release.provenance import provenance
from rmfab.release.release import Release
from rmfab.release.sbom import read_sbom, settled

EPOCH = "SOURCE_DATE_EPOCH"
_SBOM_TOOL = "esp-idf-sbom"
_SBOM_SECONDS = 300
_LONGEST_EPOCH = 10


@dataclass(frozen=True)
class BuildRequest:
    """What to make of a build.

    A *seq* of None is derived as *seq_source* defines. *sbom* is a file; with None, and *make_sbom*, rmfab makes one if
    the tool for it is installed. *table_offset* is the flash offset of the partition table, for builds without it.
    *require_clean*: the sources must be those of a commit.
    """

    version: str = ""
    seq: int | None = None
    seq_source: SeqSource | None = None
    notes: str = ""
    sbom: Path | None = None
    make_sbom: bool = True
    table_offset: int | None = None
    require_clean: bool = False


def make_release(build: Path, order: BuildRequest, environment: Mapping[str, str]) -> Release:
    """Return the release of *build*, a folder, zip or merged image.

    Equal sources, order and environment give equal releases. Raise InputError, also if no seq is available.
    """
    release = read_build(build, stated_table=order.table_offset)
    origin = find_origin(project_folder(build), environment)
    if order.require_clean:
        origin.require_clean(str(build))
    created = _epoch(environment) if environment.get(EPOCH) else origin.committed
    seq = order.seq if order.seq is not None else _seq(order.seq_source, origin)
    release = replace(release, origin=origin, edition=_own(release, Edition(order.version, seq, order.notes, created)))
    documents = [provenance(release, origin), _sbom(build, order, created or 0, release)]
    return replace(release, documents=tuple(sorted(filter(None, documents), key=lambda one: one.name)))


def _own(release: Release, edition: Edition) -> Edition:
    """Return the edition, validated, also if its version is the app's own."""
    named = Edition(edition.version or release.app.version, edition.seq, edition.notes, edition.created)
    return replace(named, version="" if named.version == release.app.version else named.version)


def _seq(source: SeqSource | None, origin: BuildOrigin) -> int:
    if source is None:
        raise InputError(
            "no seq given, the number that grows with each release",
            hint='use --seq N, or set seq = "commit-time" in product.toml ([release])',
            cause="no-seq",
        )
    if origin.committed is None:
        raise InputError(
            f"cannot determine the commit time: {origin.problem or 'no git commit here'}, and CI provides none",
            where="product.toml: [release] seq",
            hint=f"{origin.remedy}; or use --seq N" if origin.remedy else "use --seq N",
            cause="no-seq",
        )
    return origin.committed


def _epoch(environment: Mapping[str, str]) -> int:
    """Return SOURCE_DATE_EPOCH (reproducible-builds.org specification): whole seconds of Unix time."""
    text = environment[EPOCH]
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_EPOCH):
        raise InputError(f'"{text}" is not a number of seconds', where=EPOCH)
    return int(text)


def _sbom(folder: Path, order: BuildRequest, created: int, release: Release) -> Document | None:
    if order.sbom is not None:
        return read_sbom(read_input(order.sbom, "bill of materials"), str(order.sbom))
    description = folder / PROJECT_DESCRIPTION
    tool = shutil.which(_SBOM_TOOL) if order.make_sbom else None
    if tool is None or not description.is_file():
        return None
    made = _run(tool, description)
    parts = hashlib.sha256("".join(part.sha256 for part in release.parts).encode()).hexdigest()
    return read_sbom(settled(made, created, parts), str(description))


def _run(tool: str, description: Path) -> bytes:
    try:
        done = subprocess.run(
            [tool, "create", str(description)], capture_output=True, timeout=_SBOM_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _no_sbom(str(error), description) from error
    if done.returncode:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise _no_sbom(words[-1] if words else f"exit code {done.returncode}", description)
    return done.stdout


def _no_sbom(why: str, description: Path) -> InputError:
    return InputError(
        f"{_SBOM_TOOL} failed: {why}",
        where=str(description),
        hint="use --sbom FILE, or build without one: --no-sbom",
        cause="sbom",
    )
