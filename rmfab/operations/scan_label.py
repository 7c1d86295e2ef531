"""Which unit a label belongs to, by its scanned code; and the proof that a unit has its own label."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError, UsageError
from rmfab.files import read_input
from rmfab.identity.qr import Payload
from rmfab.label.content import label_of
from rmfab.label.scan import WrongScan, parse_scan
from rmfab.ledger.events import timestamp
from rmfab.ledger.label_words import LabelWord
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.line.label_event import LabelledUnit, label_event
from rmfab.line.scan_back import WrongLabel, foreign_label, judge_label, owner_among, void_label
from rmfab.operations.named_unit import named_unit
from rmfab.operations.terminal import UNATTENDED, Scan, Terminal
from rmfab.secret import Secret
from rmfab.workspace.workspace import Workspace

_LARGEST_PICTURE = 64_000_000  # bytes of a file, and dots of a picture


@dataclass(frozen=True)
class ScanRequest:
    """A scan of a label, or the *image* of one; it must be that of *unit*, if one is named."""

    unit: str | None = None
    image: Path | None = None


@dataclass(frozen=True)
class ScannedLabel:
    """The label of *identity*. *recorded*: the ledger has that it was scanned."""

    identity: LedgerIdentity
    recorded: bool


def scan_label(workspace: Workspace, request: ScanRequest, terminal: Terminal = UNATTENDED) -> ScannedLabel:
    """Read a label, and return whose it is; if it must be that of a unit, record that it was scanned.

    Raise WrongScan if it cannot be read, WrongLabel if it is void, of no unit of this ledger, or of the wrong unit.
    """
    expected = None if request.unit is None else named_unit(workspace, request.unit)
    if expected is not None and expected.unnamed:
        raise UsageError(f"{request.unit} has no label yet: it gets its serial with its board")
    scanned = parse_scan(_scan(request, terminal).reveal())
    owner = owner_among(scanned, workspace.ledger.identities_named(scanned.name), lambda one: _printed(workspace, one))
    if expected is not None:
        _judge(workspace, expected, scanned, owner)
        return ScannedLabel(_record(workspace, expected, terminal), recorded=True)
    if owner is None:
        raise _foreign(workspace, scanned)
    if owner.state is State.VOID:
        raise void_label(owner.serial)
    return ScannedLabel(owner, recorded=False)


def _judge(workspace: Workspace, expected: LedgerIdentity, scanned: Payload, owner: LedgerIdentity | None) -> None:
    """Raise WrongLabel unless *scanned* is the label of *expected*."""
    if expected.state is State.VOID:
        raise InputError("the identity is void", where=expected.serial, cause="void")
    judge_label(expected.serial, _printed(workspace, expected), scanned, owner)


def _printed(workspace: Workspace, identity: LedgerIdentity) -> Secret[str]:
    return label_of(workspace.open_identity(identity), workspace.product).payload


def _foreign(workspace: Workspace, scanned: Payload) -> WrongLabel:
    """Return the error for a label of no unit; one with a name of this ledger is an old one."""
    named = workspace.ledger.identities_named(scanned.name)
    if named:
        return foreign_label(named[0].serial, _printed(workspace, named[0]), scanned)
    return WrongLabel(
        "the label belongs to no unit of this ledger",
        hint="it is of a different workspace; `rmfab -C DIR scan` looks there",
        cause="label-foreign",
    )


def _record(workspace: Workspace, unit: LedgerIdentity, terminal: Terminal) -> LedgerIdentity:
    """Record that the label of *unit* was scanned, which also proves one that was in doubt."""
    ts, of = timestamp(workspace.now()), LabelledUnit(unit.name, unit.mac)
    events = [label_event(ts, of, LabelWord.SCANNED)]
    if unit.standing.doubt_ts is not None:
        events.insert(0, label_event(ts, of, LabelWord.PRINTED, by_operator=True))
    elif not unit.standing.labelled_count:
        terminal.warn(f"the ledger has no label of {unit.serial}; where does this one come from?")
    workspace.ledger.record(workspace.station.name, events)
    return named_unit(workspace, unit.serial)


def _scan(request: ScanRequest, terminal: Terminal) -> Secret[str]:
    if request.image is not None:
        return _code_in(request.image)
    if terminal.interactive:
        return terminal.passphrase("Scan the label")
    scanned = next((one.text for one in terminal.inputs() if isinstance(one, Scan)), None)
    if scanned is None:
        raise InputError("nothing was scanned", hint="pipe the scan into stdin, or name a picture", cause="no-terminal")
    return Secret(scanned)


def _code_in(image: Path) -> Secret[str]:
    """Return the one code in a picture that is a label's. Raise InputError for a file that is no picture."""
    import zxingcpp
    from PIL import Image, UnidentifiedImageError

    data = read_input(image, "picture")
    try:
        with Image.open(io.BytesIO(data)) as opened:
            if opened.width * opened.height > _LARGEST_PICTURE:
                raise InputError("the picture is too large", where=str(image))
            found = zxingcpp.read_barcodes(opened.convert("L"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise InputError("not a picture", where=str(image), hint="give a PNG or JPEG of the label") from error
    texts = {code.text for code in found if _is_label(code.text)}
    if len(texts) == 1:
        return Secret(texts.pop())
    raise WrongScan(
        "the picture has the codes of several labels" if texts else "no code of a label is readable in the picture",
        where=str(image),
        hint="cut one label out" if texts else "take the picture closer, sharper and without reflections",
    )


def _is_label(text: str) -> bool:
    try:
        parse_scan(text)
    except WrongScan:
        return False
    return True
