"""`rmfab demo`: the whole line on virtual boards."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rmfab.commands.on_slots import json_option
from rmfab.errors import InputError, RmfabError
from rmfab.product.vocabulary import Chip, Credentials

if TYPE_CHECKING:
    from rmfab.virtual.faults import FaultCall
    from rmfab.workspace import Workspace

MARKER = ".rmfab-demo"
BUNDLE = "rmfab-demo-1.0.0.rmfab"


@click.command("demo")
@click.option("--units", type=click.IntRange(1, 64), default=4, show_default=True, help="How many boards.")
@click.option("--chip", type=click.Choice([chip.value for chip in Chip]), default="esp32c3", show_default=True)
@click.option("--fault", metavar="NAME", help="Break the first board (NAME@2: the third); `rmfab board --help` lists.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), default=Path("rmfab-demo"), show_default=True)
@json_option
def command(units: int, chip: str, fault: str | None, folder: Path, json_wanted: bool) -> None:
    """Run the whole line on virtual boards, from nothing: workspace, CA, identities, firmware, boards, labels.

    No hardware is needed. Everything stays in the folder, to be looked at and played with; an earlier demo there is
    replaced.

    \b
    rmfab demo
    rmfab demo --fault brownout           what a bad board looks like
    """
    from rmfab.commands import terminal
    from rmfab.commands.build import write_files
    from rmfab.commands.generate import generate

    call = _fault(fault, units)
    workspace = _workspace(folder, Chip(chip))
    batch = generate(workspace, units, None, None, 1)
    release = _release(workspace)
    failure: RmfabError | None = None
    try:
        _run(workspace, units, call, release, batch, json_wanted=json_wanted)
    except RmfabError as error:
        failure = error
    _labels(workspace, batch, folder / "labels.pdf")
    write_files(workspace, batch, folder / "images", force=False)
    if not json_wanted:
        _tell(workspace, batch, folder)
    if failure is not None:
        failure.what = failure.what.replace("`rmfab trace", f"`rmfab -C {folder} trace")
        raise failure
    terminal.say(f"play on with `rmfab -C {folder} …`, for example `rmfab -C {folder} trace LMP-000001`")


def _fault(text: str | None, units: int) -> FaultCall | None:
    """The fault of the first board, or of the one that it names. Raises InputError where there is none such."""
    from dataclasses import replace

    from rmfab.virtual.faults import BoardFault, FaultCall

    if text is None:
        return None
    call = FaultCall.parse(text)
    if call.fault is BoardFault.KILL_AT:
        raise InputError(f'"{text}" is no fault for a demo', hint="`rmfab board --fault kill-at=N --kill-pid PID`")
    if call.index is not None and call.index >= units:
        raise InputError(f'"{text}" names a board that is not there', hint=f"0 to {units - 1} with --units {units}")
    return call if call.index is not None else replace(call, index=0)


def _workspace(folder: Path, chip: Chip) -> Workspace:
    """A fresh workspace with a CA. Raises InputError where *folder* holds anything but an earlier demo."""
    from rmfab.files import make_folder
    from rmfab.identity.ca import CaKeyKind, CertificateAuthority
    from rmfab.product.product_file import FILE_NAME
    from rmfab.workspace import create_workspace, now, open_workspace

    if folder.exists() and not folder.is_dir():
        raise InputError("this is a file, not a folder", where=str(folder), hint="--dir names another one")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise InputError("this folder is not empty and no demo", where=str(folder), hint="--dir names another one")
        _clear(folder)
    make_folder(folder)
    (folder / MARKER).touch()
    workspace = create_workspace(
        folder,
        chip=chip,
        name="Demo Lamp",
        serial="LMP-{n:06d}",
        mqtt_host="mqtt.demo.example.com",
        credentials=Credentials.CERTIFICATE,
        force=False,
    )
    text = (folder / FILE_NAME).read_text(encoding="utf-8")
    text = text.replace(f'# path = "build"{" " * 16}', f'path = "{BUNDLE}"  ').replace(
        "allow_unsigned = true ", "allow_unsigned = false"
    )
    (folder / FILE_NAME).write_text(text, encoding="utf-8")
    authority = CertificateAuthority.create("Demo Lamp Device CA", CaKeyKind.ECDSA_P256, now())
    authority.save(workspace.ca_folder, None)
    workspace.make_ledger()
    return open_workspace(folder)


def _clear(folder: Path) -> None:
    """Empties an earlier demo's folder. Its marker stays, so that a demo that is cut short can be run again."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != MARKER:
            path.unlink()


def _release(workspace: Workspace) -> Path:
    """The demo's firmware: a build folder as ESP-IDF leaves one, and the bundle made of it, signed by a key that the
    workspace trusts."""
    from dataclasses import replace

    from rmfab.commands.trust_file import put_in_force
    from rmfab.files import write_file
    from rmfab.release.build_folder import read_build_folder
    from rmfab.release.bundle import make_bundle
    from rmfab.release.edition import Edition
    from rmfab.signing.keyfile import write_private_key
    from rmfab.signing.signer import SigningKeyKind, make_key
    from rmfab.signing.trust import Role, Trust, TrustedKey
    from rmfab.virtual.build.build_folder import make_build_folder
    from rmfab.virtual.build.recipe import FirmwareRecipe
    from rmfab.workspace import now

    make_build_folder(workspace.root / "build", FirmwareRecipe(workspace.product.chip))
    signer = make_key(SigningKeyKind.ED25519)
    write_private_key(workspace.root / "release.key", signer.key, None)
    trusted = TrustedKey(signer.public, "release", (Role.RELEASE,))
    put_in_force(workspace, None, Trust(0, now()).adding(trusted, now()), [signer])
    bundle = make_bundle(replace(read_build_folder(workspace.root / "build"), edition=Edition(seq=1)))
    target = workspace.root / BUNDLE
    write_file(target, bundle.with_envelope(bundle.to_sign.signed(signer)).encode())
    return target


def _run(
    workspace: Workspace, units: int, fault: FaultCall | None, release: Path, batch: str, *, json_wanted: bool
) -> None:
    from rmfab.board.esp.loader import SlotLink
    from rmfab.board.restart import Auto
    from rmfab.commands.on_slots import run_line
    from rmfab.line.job import RUN_STEPS
    from rmfab.line.station import DEFAULT_BAUD, Slot
    from rmfab.virtual.bench.serving import serve
    from rmfab.virtual.spec import BoardSpec

    faults = (fault,) if fault is not None else ()
    specs = [BoardSpec(chip=workspace.product.chip, index=index, faults=faults, paced=0) for index in range(units)]
    with serve(specs, state=workspace.root / "boards") as boards:
        slots = tuple(
            Slot(f"v{number}", SlotLink(board.url, DEFAULT_BAUD, Auto()), board.provisioning_url)
            for number, board in enumerate(boards, 1)
        )
        run_line(workspace, slots, RUN_STEPS, json_wanted=json_wanted, release=release, batch=batch)


def _labels(workspace: Workspace, batch: str, target: Path) -> None:
    """Labels for the units that passed; the others get none."""
    from rmfab.commands.label import print_labels
    from rmfab.label.sheets import sheet
    from rmfab.ledger.states import State

    good = [one for one in workspace.ledger.identities(batch) if one.state is State.VERIFIED]
    if good:
        print_labels(workspace, good, "pdf", sheet(workspace.product.label.sheet), target)


def _tell(workspace: Workspace, batch: str, folder: Path) -> None:
    from rmfab.commands import terminal

    rows: list[tuple[object, ...]] = [
        (one.serial, one.state.value, one.mac or "", one.node_id or "", one.record.service_name)
        for one in workspace.ledger.identities(batch)
    ]
    terminal.data("")
    terminal.table(("serial", "state", "board", "node id", "service name"), rows)
    terminal.data("")
    for what, where in (
        ("labels", "labels.pdf"),
        ("factory images", "images/"),
        ("ledger", "ledger.db"),
        ("console logs", "logs/"),
        ("firmware", "build/"),
        ("signed release", BUNDLE),
        ("boards' flash", "boards/"),
    ):
        if (folder / where).exists():
            terminal.data(f"{what:<15} {folder / where}")
