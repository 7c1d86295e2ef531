"""`rmfab export`: the files with which a cloud registers units, and lists of units. The ledger records each export."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import chain, islice
from pathlib import Path

from cryptography import x509

from rmfab.cloud.aws_bulk import ROWS, companions
from rmfab.cloud.node import Node
from rmfab.cloud.registration_files import ExportForm, RowForm, row_form
from rmfab.errors import UsageError
from rmfab.identity.ca import load_certificate, load_workspace_certificate
from rmfab.label.content import label_of
from rmfab.ledger.events import Event, EventKind, timestamp
from rmfab.ledger.states import State
from rmfab.operations.advance import Advance
from rmfab.operations.chosen_units import ChosenUnits, node_of, tell_left_out
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.staging import StagedFiles, folder_of_files, staged_files
from rmfab.workspace.workspace import Workspace

_STEP = 500
"""Rows between two reports of progress."""


@dataclass(frozen=True)
class ExportUnitsRequest:
    """The *units* (batches and serials) in the form *form*, as the file *output*, for AWS a folder.

    *states*: only units in these states, all if it is empty. *with_qrcode*: RainMaker's file also gets the QR payloads,
    which contain the PoPs. *ca*: the certificate of the CA, by default the workspace's. Raise UsageError if these do
    not fit together.
    """

    units: tuple[str, ...]
    form: ExportForm
    output: Path
    states: tuple[State, ...] = ()
    with_qrcode: bool = False
    ca: Path | None = None
    force: bool = False

    def __post_init__(self) -> None:
        if self.with_qrcode and self.form is not ExportForm.RAINMAKER:
            raise UsageError(f"only the form {ExportForm.RAINMAKER} has a column for QR codes")
        if self.ca is not None and self.form is not ExportForm.AWS_BULK:
            raise UsageError(f"only the form {ExportForm.AWS_BULK} contains the certificate of the CA")


@dataclass(frozen=True)
class ExportedFile:
    """A file that has *units* rows, and its SHA-256 in hex."""

    path: str
    units: int
    sha256: str


@dataclass(frozen=True)
class ExportedUnits:
    """What was exported: *units* by batch, and the files that have them. *left_out*: units by state."""

    form: str
    units: dict[str, int]
    files: tuple[ExportedFile, ...]
    left_out: dict[str, int] = field(default_factory=dict)


def export_units(
    workspace: Workspace, request: ExportUnitsRequest, terminal: Terminal = UNATTENDED
) -> Generator[Advance | ExportedUnits, None, None]:
    """Write the files and record the export; yield the progress, and last what was exported.

    Files and record come together or not at all (see `rmfab.staging`). The ledger is read in constant memory. Raise
    InputError for a unit that cannot be exported, IntegrityError if a certificate is not for its node id.
    """
    chosen = ChosenUnits(workspace, request.units, request.states, "exported")
    nodes = _nodes(workspace, request, chosen)
    with ExitStack() as stack:
        if request.form is ExportForm.AWS_BULK:
            folder = stack.enter_context(folder_of_files(request.output, secret=False))
            staged = stack.enter_context(staged_files(folder / ROWS, force=request.force))
            writing = _bulk(workspace, request, staged, nodes, chosen)
        else:
            staged = stack.enter_context(staged_files(request.output, force=request.force))
            form = row_form(request.form, with_qrcode=request.with_qrcode)
            writing = _parts(request.output, form, staged, nodes, chosen)
        files = yield from writing
        done = ExportedUnits(request.form.value, chosen.taken, files, chosen.left_out)
        staged.publish(workspace.ledger.exporting(_event(workspace, done), station=workspace.station.name))
    _report(request, done, terminal)
    yield done


def _nodes(workspace: Workspace, request: ExportUnitsRequest, chosen: ChosenUnits) -> Iterator[Node]:
    """Yield what the cloud learns about each of the *chosen* units."""
    for one in chosen.identities():
        payload = None
        if request.with_qrcode:
            payload = label_of(workspace.open_identity(one), workspace.product).payload
        yield node_of(one, payload)


def _parts(
    output: Path, form: RowForm, staged: StagedFiles, nodes: Iterator[Node], chosen: ChosenUnits
) -> Generator[Advance, None, tuple[ExportedFile, ...]]:
    """Write the units into the file *output*, and into further ones if one cannot have all; return them."""
    files: list[ExportedFile] = []
    for node in nodes:
        part = output if not files else output.with_name(f"{output.stem}-{len(files) + 1}{output.suffix}")
        rest = nodes if form.most is None else islice(nodes, form.most - 1)
        files.append((yield from _file(part, form, staged, chain([node], rest), chosen)))
    return tuple(files)


def _file(
    path: Path, form: RowForm, staged: StagedFiles, nodes: Iterator[Node], chosen: ChosenUnits
) -> Generator[Advance, None, ExportedFile]:
    """Write one file with a row for each of *nodes*, which are some of *chosen*."""
    digest, count = hashlib.sha256(), 0
    with staged.writing(path) as stream:
        stream.write(form.head.encode())
        digest.update(form.head.encode())
        for count, node in enumerate(nodes, 1):
            row = form.row(node).encode()
            stream.write(row)
            digest.update(row)
            if count % _STEP == 0:
                yield Advance(chosen.passed, chosen.total)
    return ExportedFile(str(path), count, digest.hexdigest())


def _bulk(
    workspace: Workspace,
    request: ExportUnitsRequest,
    staged: StagedFiles,
    nodes: Iterator[Node],
    chosen: ChosenUnits,
) -> Generator[Advance, None, tuple[ExportedFile, ...]]:
    """Write the folder for AWS. Raise InputError if a different CA than its CA signed a certificate."""
    ca = load_workspace_certificate(workspace.ca_folder) if request.ca is None else load_certificate(request.ca)
    rows = yield from _file(request.output / ROWS, row_form(request.form), staged, _signed_by(ca, nodes), chosen)
    for name, text in companions(ca).items():
        staged.add(request.output / name, text.encode())
    return (rows,)


def _signed_by(ca: x509.Certificate, nodes: Iterator[Node]) -> Iterator[Node]:
    for node in nodes:
        node.refuse_other_ca(ca)
        yield node


def _event(workspace: Workspace, done: ExportedUnits) -> Event:
    """Return what the ledger records; of the files only their names, not where they are."""
    files = [{**asdict(one), "path": Path(one.path).name} for one in done.files]
    batch = next(iter(done.units)) if len(done.units) == 1 else None
    details = {"form": done.form, "units": done.units, "files": files}
    return Event(timestamp(workspace.now()), EventKind.EXPORT, batch=batch, details=details)


def _report(request: ExportUnitsRequest, done: ExportedUnits, terminal: Terminal) -> None:
    tell_left_out(done.left_out, terminal)
    for one in done.files:
        terminal.say(f"{counted(one.units, 'unit')} in {one.path}")
    if request.with_qrcode:
        terminal.warn("these files contain PoPs, and registering them uploads every one", "store them like keys")
        warn_of_git(terminal, "the PoP", *(Path(one.path) for one in done.files))
