"""`rmfab release`: build, show and verify firmware releases."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rmfab.release.release import Release

_PATH = click.Path(path_type=Path)


@click.group("release")
def command() -> None:
    """Firmware releases: build, show, verify.

    Where a release is asked for, a bundle file or an ESP-IDF build folder will do.
    """


@command.command("build")
@click.argument("build_dir", type=_PATH)
@click.option("-o", "--output", type=_PATH, required=True, metavar="FILE", help="The bundle to write.")
@click.option("--force", is_flag=True, help="Replace a file that holds another release.")
def build(build_dir: Path, output: Path, force: bool) -> None:
    """Pack an ESP-IDF build folder into one bundle file."""
    from rmfab.files import write_file
    from rmfab.release.bundle import build_bundle

    release = _checked(build_dir)
    written = write_file(output, build_bundle(release), force=force)
    app = f"{release.app.project} {release.app.version} for {release.chip.value}"
    click.echo(f"rmfab: {app}: {output} {'written' if written else 'is there already'}", err=True)
    click.echo(release.digest)


@command.command("show")
@click.argument("release", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def show(release: Path, as_json: bool) -> None:
    """What a release holds: app, parts, partition table."""
    from rmfab.release.release import open_release

    opened = open_release(release)
    click.echo(_document(opened) if as_json else "\n".join(_lines(opened)))


@command.command("verify")
@click.argument("release", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def verify(release: Path, as_json: bool) -> None:
    """Check digests and images of a release, and that its parts fit its partition table."""
    checked = _checked(release)
    click.echo(_document(checked) if as_json else f"{checked.digest}  {checked.source}")


def _checked(path: Path) -> Release:
    """The release, if nothing is wrong with it for any product. Raises ComplaintsError."""
    from rmfab.errors import ComplaintsError
    from rmfab.release.preflight import inspect_release
    from rmfab.release.release import open_release

    release = open_release(path)
    complaints = inspect_release(release)
    if complaints:
        raise ComplaintsError(complaints)
    return release


def _document(release: Release) -> str:
    document = {"source": release.source, "digest": release.digest, **json.loads(release.manifest)}
    return json.dumps(document, indent=2, ensure_ascii=False)


def _lines(release: Release) -> list[str]:
    app = release.app
    lines = [
        f"{app.project} {app.version} for {release.chip.value}, ESP-IDF {release.idf_version}",
        f"release digest  {release.digest}",
        f"app ELF SHA-256 {app.elf_sha256}",
        f"flash           {release.flash_size >> 20} MB, {release.flash_mode}, {release.flash_freq}",
        "",
        f"{'part':<20}{'offset':>10}{'size':>10}  SHA-256",
    ]
    lines += [f"{p.name:<20}{p.offset:>#10x}{p.size:>#10x}  {p.sha256}" for p in release.parts]
    lines += ["", f"{'partition':<20}{'offset':>10}{'size':>10}  {'type':<12}usage"]
    lines += [
        f"{row.label:<20}{row.offset:>#10x}{row.size:>#10x}  {row.type:02x} {row.subtype:02x}       {row.usage}"
        for row in release.table.partitions
    ]
    return lines
