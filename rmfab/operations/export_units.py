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
from rmfab.errors import InputError, UsageError
from rmfab.identity.ca import load_certificate, load_workspace_certificate
from rmfab.label.content import label_of
from rmfab.ledger.events import Event, EventKind, timestamp
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.operations.advance import Advance
from rmfab.operations.git_warning import warn_of_git
from rmfab.operations.named_unit import named_unit
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
    chosen = _Chosen(workspace, request)
    with ExitStack() as stack:
        if request.form is ExportForm.AWS_BULK:
            folder = stack.enter_context(folder_of_files(request.output, secret=False))
            staged = stack.enter_context(staged_files(folder / ROWS, force=request.force))
            writing = _bulk(workspace, request, staged, chosen)
        else:
            staged = stack.enter_context(staged_files(request.output, force=request.force))
            form = row_form(request.form, with_qrcode=request.with_qrcode)
            writing = _parts(request.output, form, staged, chosen)
        files = yield from writing
        done = ExportedUnits(request.form.value, chosen.taken, files, chosen.left_out)
        staged.publish(workspace.ledger.exporting(_event(workspace, done), station=workspace.station.name))
    _report(request, done, terminal)
    yield done


class _Chosen:
    """The units that a request names, each once; *taken* and *left_out* count them as they pass."""

    def __init__(self, workspace: Workspace, request: ExportUnitsRequest) -> None:
        self._workspace = workspace
        self._with_qrcode = request.with_qrcode
        self._states = request.states or tuple(state for state in State if state.ours)
        known = {batch.name for batch in workspace.ledger.batches()}
        self._batches = [name for name in dict.fromkeys(request.units) if name in known]
        serials = [self._named(name) for name in dict.fromkeys(request.units) if name not in known]
        self._single = [one for one in serials if one.batch not in self._batches]
        self.taken: dict[str, int] = {}
        self.left_out: dict[str, int] = {}
        self.total = len(self._single) + sum(workspace.ledger.closed_batch(name).size for name in self._batches)
        self.passed = 0

    def nodes(self) -> Iterator[Node]:
        """Yield what the cloud learns, in the order of the batches. Raise InputError if there is nothing."""
        for one in self._identities():
            self.passed += 1
            if one.state in self._states:
                yield self._node(one)
                self.taken[one.batch] = self.taken.get(one.batch, 0) + 1
            else:
                self.left_out[one.state.value] = self.left_out.get(one.state.value, 0) + 1
        if not self.taken:
            raise InputError("no unit here can be exported", hint="`rmfab status` shows their states", cause="state")

    def _identities(self) -> Iterator[LedgerIdentity]:
        for batch in self._batches:
            yield from self._workspace.ledger.identities(batch)
        yield from self._single

    def _named(self, serial: str) -> LedgerIdentity:
        """Return the unit with this serial. Raise InputError if there is none, or it cannot be exported."""
        one = named_unit(self._workspace, serial)
        if one.state not in self._states:
            raise InputError(
                f"the unit is {one.state}", where=serial, hint="`rmfab trace` shows its history", cause="state"
            )
        return one

    def _node(self, one: LedgerIdentity) -> Node:
        if one.node_id is None or one.record.certificate is None:
            raise InputError(
                "the unit has no certificate: it gets it by claiming",
                where=one.serial,
                hint="RainMaker registers it when it claims; nothing is to be exported",
                cause="no-certificate",
            )
        payload = None
        if self._with_qrcode:
            payload = label_of(self._workspace.open_identity(one), self._workspace.product).payload
        serial = None if one.unnamed else one.serial
        return Node(one.node_id, one.record.certificate, serial, one.batch, one.state.value, one.mac, payload)


def _parts(
    output: Path, form: RowForm, staged: StagedFiles, chosen: _Chosen
) -> Generator[Advance, None, tuple[ExportedFile, ...]]:
    """Write the units into the file *output*, and into further ones if one cannot have all; return them."""
    files: list[ExportedFile] = []
    nodes = chosen.nodes()
    for node in nodes:
        part = output if not files else output.with_name(f"{output.stem}-{len(files) + 1}{output.suffix}")
        rest = nodes if form.most is None else islice(nodes, form.most - 1)
        files.append((yield from _file(part, form, staged, chain([node], rest), chosen)))
    return tuple(files)


def _file(
    path: Path, form: RowForm, staged: StagedFiles, nodes: Iterator[Node], chosen: _Chosen
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
    workspace: Workspace, request: ExportUnitsRequest, staged: StagedFiles, chosen: _Chosen
) -> Generator[Advance, None, tuple[ExportedFile, ...]]:
    """Write the folder for AWS. Raise InputError if a different CA than its CA signed a certificate."""
    ca = load_workspace_certificate(workspace.ca_folder) if request.ca is None else load_certificate(request.ca)
    nodes = _signed_by(ca, chosen.nodes())
    rows = yield from _file(request.output / ROWS, row_form(request.form), staged, nodes, chosen)
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
    for state, count in done.left_out.items():
        terminal.say(f"left out {counted(count, 'unit')}: {state}")
    for one in done.files:
        terminal.say(f"{counted(one.units, 'unit')} in {one.path}")
    if request.with_qrcode:
        terminal.warn("these files contain PoPs, and registering them uploads every one", "store them like keys")
        warn_of_git(terminal, "the PoP", *(Path(one.path) for one in done.files))
