"""`rmfab nvs`: make NVS images from CSVs, read them from boards, show and check any NVS image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Branch
from rmfab.commands.options import FILE, allow_files_option, baud_option, force_option, output_option, slot_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from rmfab.errors import InputError
    from rmfab.nvs.reader import Image

_ENCRYPTION = (
    ("--keygen", True), ("--keyfile", False), ("--inputkey", False), ("--key-protect-hmac", True),
    ("--kp-hmac-keygen", True), ("--kp-hmac-keyfile", False), ("--kp-hmac-inputkey", False),
)  # fmt: skip
"""Options of mfg_gen.py that rmfab recognises but does not support, and whether each is a flag."""


_page_version_option = click.option(
    "--page-version", type=click.Choice(["1", "2"]), help="NVS page format (default: 2, which supports large blobs)."
)


@click.group("nvs", cls=Branch)
def command() -> None:
    """Make, read, show or check NVS images."""


def _encryption_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, is_flag in reversed(_ENCRYPTION):
        names = (name, "--" + name[2:].replace("-", "_"))
        function = click.option(*dict.fromkeys(names), is_flag=is_flag, hidden=True)(function)
    return function


@command.command("generate")
@click.argument("config", type=FILE)
@click.argument("values", type=FILE)
@click.argument("prefix")
@click.argument("size")
@click.option(
    "--prefix-num",
    "--prefix_num",
    type=(int, int),
    metavar="START LEN",
    help="Append a number to the prefix, from START, with LEN digits.",
)
@click.option("--fileid", metavar="KEY", help="Column whose values end the file names (default: 1, 2, 3 …).")
@click.option("--outdir", type=FILE, default=Path(), show_default=True, help="Folder for bin/ and csv/.")
@_page_version_option
@click.option("--version", "former_version", type=click.Choice(["1", "2"]), hidden=True)
@allow_files_option
@click.option("--force", is_flag=True, help="Replace existing files.")
@_encryption_options
def generate(
    config: Path,
    values: Path,
    prefix: str,
    size: str,
    prefix_num: tuple[int, int] | None,
    fileid: str | None,
    outdir: Path,
    page_version: str | None,
    former_version: str | None,
    allow_files: tuple[Path, ...],
    force: bool,
    **encryption: Any,
) -> None:
    """Make an NVS image per row of VALUES, as mfg_gen.py does.

    CONFIG lists the keys and their encodings, SIZE is the partition size, such as 0x6000. Writes bin/PREFIX-ID.bin and
    csv/PREFIX-ID.csv for each row, after all rows are checked.
    """
    from rmfab.errors import InputError
    from rmfab.nvs.mass_mfg import Numbering
    from rmfab.nvs.table import PageVersion
    from rmfab.operations.make_images import ImagesRequest, make_images

    if any(encryption.values()):
        raise InputError("encrypted NVS images are not supported yet", hint="leave out the key options")
    request = ImagesRequest(
        config,
        values,
        prefix,
        size,
        outdir,
        version=PageVersion[f"V{page_version or former_version or 2}"],
        numbering=Numbering(*prefix_num) if prefix_num else None,
        fileid=fileid,
        force=force,
        allow_files=allow_files,
    )
    count = terminal.followed("images", make_images(request, terminal.TERMINAL))
    terminal.say(f"{count} images")
    terminal.show({"folder": str(outdir / "bin"), "images": count}, str(outdir / "bin"))


@command.command("pack")
@click.argument("csv", type=FILE)
@click.argument("image", type=FILE)
@click.argument("size")
@_page_version_option
@allow_files_option
@force_option
def pack(
    csv: Path, image: Path, size: str, page_version: str | None, allow_files: tuple[Path, ...], force: bool
) -> None:
    """Make the NVS IMAGE of the CSV of a single device, as nvs_partition_gen does.

    The CSV has the columns key,type,encoding,value; `rmfab nvs generate` writes such files to csv/. SIZE is the
    partition size, such as 0x6000. The image is 0600, because it may contain secrets.

    \b
    rmfab nvs pack csv/node-1.csv node-1.bin 0x6000
    """
    from rmfab.nvs.table import PageVersion
    from rmfab.operations.make_images import PackRequest, pack_image

    request = PackRequest(csv, image, size, PageVersion[f"V{page_version or 2}"], force, allow_files)
    entries = pack_image(request, terminal.TERMINAL)
    terminal.show({"image": str(image), "entries": entries}, None)
    terminal.say(f"{image}: {entries} entries")


@command.command("read")
@click.option("-p", "--port", required=True, metavar="PORT", help="Port or slot name.", shell_complete=slot_names)
@click.option("--partition", default="nvs", show_default=True, metavar="NAME", help="The NVS partition to read.")
@baud_option
@output_option
@force_option
def read(port: str, partition: str, baud: int | None, output: Path, force: bool) -> None:
    """Read an NVS partition from a board into a file.

    The partition is found by the partition table of the board, which restarts afterwards. The file is 0600: it may
    contain keys and Wi-Fi passwords.

    \b
    rmfab nvs read --port /dev/ttyUSB0 --partition fctry -o fctry.bin
    """
    from rmfab.operations.read_partition import ReadRequest, read_partition

    request = ReadRequest(port, output, partition, baud, force)
    found = read_partition(request, terminal.nearest_workspace(), terminal.TERMINAL)
    row, entries = found.partition, None if found.image is None else len(found.image.entries)
    document = {"image": str(output), "mac": found.mac, "partition": row.label, "offset": row.offset, "size": row.size}
    terminal.show(document | {"entries": entries}, None)
    content = "which is not plain NVS" if entries is None else f"{entries} entries"
    terminal.say(f'{output}: partition "{row.label}" of {found.mac} ({row.offset:#x}, {row.size:#x} bytes), {content}')


_partition_option = click.option(
    "--partition", metavar="NAME", help="The NVS partition, if the file is a dump of a whole flash."
)


@command.command("show")
@click.argument("image", type=FILE)
@_partition_option
@click.option("--reveal", is_flag=True, help="Show secrets too.")
def show(image: Path, partition: str | None, reveal: bool) -> None:
    """Show the entries of an NVS image, as firmware reads them."""
    from rmfab.nvs import listing
    from rmfab.operations.read_nvs import read_image_file

    decoded = read_image_file(image, partition)
    terminal.show(listing.document(decoded, reveal=reveal), "\n".join(listing.lines(decoded, reveal=reveal)))
    if not terminal.json_wanted():
        for finding in decoded.findings:
            terminal.speak(f"rmfab: {finding.severity.value}: {finding}")


@command.command("check")
@click.argument("images", type=FILE, nargs=-1, required=True)
@_partition_option
def check(images: tuple[Path, ...], partition: str | None) -> None:
    """Report everything that is wrong with NVS images.

    Exits with code 5 if firmware would lose or misread data, with code 3 if a file is not a plain NVS image.
    """
    from rmfab.errors import ComplaintsError, InputError, IntegrityError
    from rmfab.operations.read_nvs import read_image_file

    checked: list[tuple[Path, Image | InputError]] = []
    for path in images:
        try:
            checked.append((path, read_image_file(path, partition)))
        except InputError as error:
            checked.append((path, error))
    if terminal.json_wanted():
        terminal.document([_verdict(path, found) for path, found in checked])
    else:
        _show_findings([(path, found) for path, found in checked if not isinstance(found, InputError)])
    damaged = [path for path, found in checked if not isinstance(found, InputError) and not found.sound]
    others = [found for _, found in checked if isinstance(found, InputError)]
    if damaged:
        for other in others:
            terminal.warn(str(other))
        raise IntegrityError(
            f"{len(damaged)} of {len(images)} images are damaged", where=str(damaged[0]), cause="nvs-damaged"
        )
    if others:
        raise others[0] if len(others) == 1 else ComplaintsError(others)


def _verdict(path: Path, found: Image | InputError) -> dict[str, Any]:
    """Return the JSON object about one image, or about a file that is none."""
    if isinstance(found, Exception):
        return {"image": str(path), "sound": None, "error": found.to_json()}
    findings = [{"place": one.place, "severity": one.severity.value, "text": one.text} for one in found.findings]
    return {"image": str(path), "sound": found.sound, "entries": len(found.entries), "findings": findings}


def _show_findings(checked: list[tuple[Path, Image]]) -> None:
    for path, image in checked:
        for finding in image.findings:
            place = f"{finding.place}: " if finding.place else ""
            terminal.data(f"{path}: {place}{finding.severity.value}: {finding.text}")
        if image.sound:
            terminal.say(f"{path}: sound, {len(image.entries)} entries")
