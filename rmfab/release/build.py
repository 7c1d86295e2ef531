"""A release made of a build: its edition, where it came from, and its bill of materials."""

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
from rmfab.release.build_folder import PROJECT_DESCRIPTION, project_folder, read_build_folder
from rmfab.release.edition import Edition
from rmfab.release.parts import Document
from rmfab.release.provenance import BuildOrigin, find_origin, provenance
from rmfab.release.release import Release
from rmfab.release.sbom import read_sbom, settled

EPOCH = "SOURCE_DATE_EPOCH"
_SBOM_TOOL = "esp-idf-sbom"
_SBOM_SECONDS = 300
_LONGEST_EPOCH = 10


@dataclass(frozen=True)
class BuildRequest:
    """What a release is to be: *seq* None is worked out as *seq_source* says; *sbom* a file, or None to have it made
    where the tool for it is installed and *make_sbom*."""

    version: str = ""
    seq: int | None = None
    seq_source: SeqSource | None = None
    notes: str = ""
    sbom: Path | None = None
    make_sbom: bool = True


def make_release(folder: Path, order: BuildRequest, environment: Mapping[str, str]) -> Release:
    """The release of the build in *folder*: the same sources, order and environment give the same release.

    Raises InputError, also where no seq can be had.
    """
    release = read_build_folder(folder)
    origin = find_origin(project_folder(folder), environment)
    created = _epoch(environment) if environment.get(EPOCH) else origin.committed
    seq = order.seq if order.seq is not None else _seq(order.seq_source, origin)
    release = replace(release, edition=_own(release, Edition(order.version, seq, order.notes, created)))
    documents = [provenance(release, origin), _sbom(folder, order, created or 0, release)]
    return replace(release, documents=tuple(sorted(filter(None, documents), key=lambda one: one.name)))


def _own(release: Release, edition: Edition) -> Edition:
    """The edition, validated: also a version that is the app's own."""
    named = Edition(edition.version or release.app.version, edition.seq, edition.notes, edition.created)
    return replace(named, version="" if named.version == release.app.version else named.version)


def _seq(source: SeqSource | None, origin: BuildOrigin) -> int:
    if source is None:
        raise InputError(
            "a release needs its seq, a number that grows from release to release",
            hint='--seq N, or seq = "commit-time" in product.toml ([release])',
            cause="no-seq",
        )
    if origin.committed is None:
        raise InputError(
            "the time of the commit is not to be had: no git commit is behind the build, and CI tells none",
            where="product.toml: [release] seq",
            hint="--seq N",
            cause="no-seq",
        )
    return origin.committed


def _epoch(environment: Mapping[str, str]) -> int:
    """SOURCE_DATE_EPOCH (reproducible-builds.org specification): whole seconds of Unix time."""
    text = environment[EPOCH]
    if not (text.isascii() and text.isdecimal() and len(text) <= _LONGEST_EPOCH):
        raise InputError(f'"{text}" is no number of seconds', where=EPOCH)
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
        f"{_SBOM_TOOL} makes no bill of materials of this build: {why}",
        where=str(description),
        hint="--sbom FILE brings one, --no-sbom leaves it out",
        cause="sbom",
    )
