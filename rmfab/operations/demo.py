"""The demo: the whole line on virtual boards, from nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from rmfab.board.esp.loader import SlotLink
from rmfab.board.restart import Auto
from rmfab.errors import InputError, UsageError
from rmfab.files import make_folder, write_file
from rmfab.identity.ca import CaKeyKind, CertificateAuthority
from rmfab.ledger.records import Batch, LedgerIdentity
from rmfab.ledger.states import State
from rmfab.line.station import Slot
from rmfab.operations.advance import completed
from rmfab.operations.build_files import BuildFilesRequest, build_files
from rmfab.operations.change_trust import put_in_force
from rmfab.operations.demo_cloud import HOST, DemoCloud, demo_cloud, enter_units, refuse_without_programs, with_cloud
from rmfab.operations.generate import GenerateRequest, generate
from rmfab.operations.print_labels import LabelForm, LabelRequest, print_labels
from rmfab.operations.run_line import LineRequest, LineRun, run_line
from rmfab.operations.terminal import Terminal
from rmfab.operations.try_update import try_update
from rmfab.product.product_file import FILE_NAME
from rmfab.product.vocabulary import Chip, Credentials
from rmfab.release.build_folder import read_build_folder
from rmfab.release.bundle import make_bundle
from rmfab.release.edition import Edition
from rmfab.signing.keyfile import write_private_key
from rmfab.signing.signer import Signer, SigningKeyKind, make_key
from rmfab.signing.trust import Role, Trust, TrustedKey
from rmfab.virtual import BoardHandle, BoardSpec, FaultCall, serve
from rmfab.virtual.build.build_folder import make_build_folder
from rmfab.virtual.build.recipe import FirmwareRecipe
from rmfab.virtual.faults import BoardFault
from rmfab.virtual.firmware.markers import FirmwareFacts
from rmfab.virtual.network import NEIGHBOURS
from rmfab.workspace.create import create_workspace
from rmfab.workspace.workspace import DEMO_MARKER, Workspace, now, open_workspace

CONTROLS = "controls.txt"
"""Where each slot's board takes commands while the demo runs, such as `swap`: host and port."""
BUNDLE, UPDATE = "rmfab-demo-1.0.0.rmfab", "rmfab-demo-1.1.0.rmfab"
MADE = (
    ("labels", "labels.pdf"),
    ("factory images", "images/"),
    ("ledger", "ledger.db"),
    ("console logs", "logs/"),
    ("firmware", "build/"),
    ("signed release", BUNDLE),
    ("update", UPDATE),
    ("boards' flash", "boards/"),
)
"""What a demo leaves in its folder: a description and the name."""


@dataclass(frozen=True)
class DemoRequest:
    """A demo with *units* boards of *chip* in *folder*; *fault* breaks the first board, or the one that it names.

    *cloud*: with a cloud on this host, in which the units are registered and which they reach, and with an update over
    the air. *spare* identities are for boards that come later, on an operator's screen. Raise UsageError for a fault
    that a demo cannot show.
    """

    folder: Path
    units: int = 4
    chip: Chip = Chip.ESP32C3
    fault: FaultCall | None = None
    cloud: bool = False
    spare: int = 0

    def __post_init__(self) -> None:
        if self.fault is None:
            return
        if self.fault.fault is BoardFault.KILL_AT:
            raise UsageError(
                f'"{self.fault}" is not a fault for the demo', hint="use `rmfab board --fault kill-at=N --kill-pid PID`"
            )
        if self.fault.index is not None and self.fault.index >= self.units:
            raise UsageError(
                f'"{self.fault}" names a board that does not exist',
                hint=f"with --units {self.units}, boards are numbered 0 to {self.units - 1}",
            )


class Demo:
    """A demo that `prepared_demo` has prepared, release and boards included: run its line, then finish it."""

    def __init__(
        self,
        workspace: Workspace,
        request: DemoRequest,
        batch: Batch,
        boards: Sequence[BoardHandle],
        cloud: DemoCloud | None,
    ) -> None:
        self.workspace = workspace
        self.batch = batch
        self._request = request
        self._cloud = cloud
        self._slots = tuple(
            Slot(f"v{number}", SlotLink(board.url, None, Auto()), board.provisioning_url)
            for number, board in enumerate(boards, 1)
        )

    def request(self, *, loop: bool = False) -> LineRequest:
        """Return the request for a run on the virtual boards; *loop*: on the boards that replace them, too."""
        release = self._request.folder / BUNDLE
        return LineRequest(slots=self._slots, release=release, batch=self.batch.name, again=True, loop=loop)

    def line(self, terminal: Terminal) -> LineRun:
        """Return the line on the virtual boards, ready to run. Raise as `run_line` does."""
        return run_line(self.workspace, self.request(), terminal)

    @contextmanager
    def update(self, line: LineRun, terminal: Terminal) -> Iterator[LineRun | None]:
        """Yield the run, ready, in which a unit that passed on *line* loads a second release, and goes back.

        None without a cloud. Raise as `try_update` does.
        """
        if self._cloud is None:
            yield None
            return
        unit = line.ended[0]
        (slot,) = (slot for slot in self._slots if slot.name == unit.slot)
        with try_update(self.workspace, self._cloud.update(unit, slot, self._request.folder / UPDATE), terminal) as run:
            yield run

    def finish(self, terminal: Terminal) -> tuple[LedgerIdentity, ...]:
        """Write labels for the units that passed, and the factory images; return all units."""
        units = tuple(self.workspace.ledger.identities(self.batch.name))
        good = tuple(one.serial for one in units if one.state is State.VERIFIED)
        if good:
            print_labels(
                self.workspace, LabelRequest(good, LabelForm.PDF, self._request.folder / "labels.pdf"), terminal
            )
        files = BuildFilesRequest(self.batch.name, self._request.folder / "images")
        completed(build_files(self.workspace, files, terminal))
        return units


@contextmanager
def prepared_demo(request: DemoRequest, terminal: Terminal) -> Iterator[Demo]:
    """Create a workspace with CA, identities, firmware and a signed release in the folder of *request*.

    Its boards, and its cloud if it has one, run until the block ends. An earlier demo in that folder is replaced.
    Raise InputError if the folder contains anything else, StationError if this host lacks what a cloud needs.
    """
    if request.cloud:
        refuse_without_programs()
    workspace = _workspace(request)
    batch = completed(generate(workspace, GenerateRequest(request.units + request.spare, jobs=1), terminal))
    with demo_cloud(workspace, terminal) if request.cloud else nullcontext() as cloud:
        workspace = open_workspace(request.folder)
        if cloud is not None:
            enter_units(workspace, cloud, batch.name, terminal)
        signer = _trusted_signer(workspace)
        _release(workspace, signer, BUNDLE, FirmwareRecipe(request.chip, facts=_facts(cloud)))
        if cloud is not None:
            recipe = FirmwareRecipe(request.chip, version="1.1.0", facts=_facts(cloud), seed=1)
            _release(workspace, signer, UPDATE, recipe, seq=2, build="build-1.1.0")
        with serve(_boards(request, cloud), state=workspace.root / "boards") as boards:
            controls = "".join(f"v{number} {board.address}\n" for number, board in enumerate(boards, 1))
            write_file(workspace.root / CONTROLS, controls.encode(), force=True)
            yield Demo(workspace, request, batch, boards, cloud)


def _boards(request: DemoRequest, cloud: DemoCloud | None) -> list[BoardSpec]:
    fault = request.fault
    faults = () if fault is None else (fault if fault.index is not None else replace(fault, index=0),)
    networks = NEIGHBOURS if cloud is None else cloud.networks
    return [
        BoardSpec(chip=request.chip, index=index, faults=faults, paced=0, networks=networks)
        for index in range(request.units)
    ]


def _workspace(request: DemoRequest) -> Workspace:
    """Create a workspace with a CA. Raise InputError if the folder contains anything but an earlier demo."""
    folder = request.folder
    _make_room(folder)
    workspace = create_workspace(
        folder,
        chip=request.chip,
        name="Demo Lamp",
        serial="LMP-{n:06d}",
        mqtt_host=HOST,
        credentials=Credentials.CERTIFICATE,
        force=False,
    )
    text = (folder / FILE_NAME).read_text(encoding="utf-8")
    text = text.replace(f'# path = "build"{" " * 16}', f'path = "{BUNDLE}"  ').replace(
        "allow_unsigned = true ", "allow_unsigned = false"
    )
    (folder / FILE_NAME).write_text(with_cloud(text) if request.cloud else text, encoding="utf-8")
    authority = CertificateAuthority.create("Demo Lamp Device CA", CaKeyKind.ECDSA_P256, now())
    authority.save(workspace.ca_folder, None)
    workspace.make_ledger()
    return open_workspace(folder)


def _make_room(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError("is a file, expected a folder", where=str(folder), hint="choose a different --dir")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / DEMO_MARKER).is_file():
            raise InputError("not empty, and not a demo", where=str(folder), hint="choose a different --dir")
        _clear(folder)
    make_folder(folder)
    (folder / DEMO_MARKER).touch()


def _clear(folder: Path) -> None:
    """Empty the folder of an earlier demo. Its marker stays, so that an interrupted demo can be run again."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != DEMO_MARKER:
            path.unlink()


def _facts(cloud: DemoCloud | None) -> FirmwareFacts:
    """Return how the firmware is compiled: with a cloud on this host, it trusts the servers there."""
    return FirmwareFacts() if cloud is None else FirmwareFacts(server_root=cloud.roots)


def _trusted_signer(workspace: Workspace) -> Signer:
    """Make a key for releases, and let the workspace trust it."""
    signer = make_key(SigningKeyKind.ED25519)
    write_private_key(workspace.root / "release.key", signer.key, None)
    trusted = TrustedKey(signer.public, "release", (Role.RELEASE,))
    put_in_force(workspace, None, Trust(0, now()).adding(trusted, now()), [signer])
    return signer


def _release(
    workspace: Workspace, signer: Signer, name: str, recipe: FirmwareRecipe, *, seq: int = 1, build: str = "build"
) -> None:
    """Make a firmware: the build folder *build* like ESP-IDF's, and the signed bundle *name* of it."""
    make_build_folder(workspace.root / build, recipe)
    bundle = make_bundle(replace(read_build_folder(workspace.root / build), edition=Edition(seq=seq)))
    write_file(workspace.root / name, bundle.with_envelope(bundle.to_sign.signed(signer)).encode())
