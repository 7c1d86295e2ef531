"""Reconcile boards with the ledger: what to do with each after a crash, a power cut or a mix-up.

done = reconcile(workspace, ReconcileRequest(ports=("/dev/ttyUSB0",)))
for board in done.boards:
    print(board.mac, board.verdict.action, board.verdict.reason)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rmfab.errors import InputError, IntegrityError, RmfabError, StationError
from rmfab.identity.factory_image import factory_image
from rmfab.ledger.claim_terms import Carried
from rmfab.ledger.events import Event, EventKind, timestamp
from rmfab.ledger.reconciliation import Action, BoardContent, FactoryData, Known, Verdict, judge_board
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.standing import Standing
from rmfab.ledger.states import State
from rmfab.line.binding import flashed_release
from rmfab.line.carried import carried_in
from rmfab.line.flash_reader import FlashReader, reading
from rmfab.line.station import Slot, slots_for
from rmfab.operations.find_release import releases_in
from rmfab.operations.pool import hold_pool
from rmfab.operations.read_ledger import ledger_to_read
from rmfab.operations.terminal import UNATTENDED, Terminal, counted
from rmfab.release.opening import open_release
from rmfab.release.release import Release
from rmfab.workspace.workspace import Workspace

_MOST_BYTES = 1 << 20
"""A row of the board's own table that is larger is not a factory partition: RainMaker's has 24 KiB."""


@dataclass(frozen=True)
class ReconcileRequest:
    """The boards to look at: those on *ports* (ports or slot names), by default on all slots of station.toml.

    *release* says where the factory partition is, besides the board's own partition table; None for the product's.
    *apply*: record the findings, and give up claims that were never written; *yes*: without asking.
    """

    ports: tuple[str, ...] = ()
    baud: int | None = None
    release: Path | None = None
    apply: bool = False
    yes: bool = False


@dataclass(frozen=True)
class ReconciledBoard:
    """A board that was read on *slot*, and its *verdict*.

    *carried*: the serials of the ledger that its flash names. *seen*: the units that the verdict is about, as they
    were.
    """

    slot: str
    mac: str
    verdict: Verdict
    carried: tuple[str, ...]
    seen: tuple[LedgerIdentity, ...]


@dataclass(frozen=True)
class Reconciliation:
    """The *boards* that were read, why the others were not (*unread*, by slot), and the units that are claimed or
    flashed but not verified and whose boards are not here. *applied*: the findings were recorded."""

    boards: tuple[ReconciledBoard, ...]
    unread: tuple[tuple[str, RmfabError], ...]
    elsewhere: tuple[LedgerIdentity, ...]
    applied: bool
    named: bool

    @property
    def refusal(self) -> RmfabError | None:
        """The error that determines the exit code: boards to set aside, or a port that was named and not read."""
        aside = [one for one in self.boards if one.verdict.action is Action.QUARANTINE]
        if aside:
            return IntegrityError(
                f"{counted(len(aside), 'board')} must be set aside: {', '.join(one.mac for one in aside)}",
                hint="do not run them before a person has looked at each",
                cause="set-aside",
            )
        return self.unread[0][1] if self.unread and self.named else None


def reconcile(workspace: Workspace, request: ReconcileRequest, terminal: Terminal = UNATTENDED) -> Reconciliation:
    """Read the boards of *request*, judge each against the ledger, and restart it. Write nothing to a board.

    With `apply`, record each finding, after asking on the terminal. Raise InputError if that is not confirmed or a unit
    has changed meanwhile, IntegrityError (cause `not-pool-holder`) if nothing may be recorded here.
    """
    ledger = ledger_to_read(workspace, terminal)
    if request.apply:
        hold_pool(workspace, terminal)
    pool = ledger.pool_standing()
    if pool.refusal is not None:
        terminal.warn(str(pool.refusal), "boards that would only need a run are set aside")
    any_slots = request.ports or workspace.station.slots
    slots = slots_for(request.ports, workspace.station, request.baud) if any_slots else ()
    judge = _Judge(workspace, _release(workspace, request), pool.held, terminal)
    boards, unread = [], []
    for slot in slots:
        try:
            boards.append(judge.board(slot))
        except (StationError, InputError) as error:
            unread.append((slot.name, error))
    applied = request.apply and bool(boards) and _apply(workspace, boards, terminal, yes=request.yes)
    here = {board.mac for board in boards}
    elsewhere = tuple(one for one in ledger.unfinished() if one.mac not in here)
    return Reconciliation(tuple(boards), tuple(unread), elsewhere, applied, bool(request.ports))


def _release(workspace: Workspace, request: ReconcileRequest) -> Release | None:
    """Return the release that says where the factory partition is. Nothing is written, so it need not be trusted."""
    path = request.release or workspace.product.release.path
    return None if path is None else open_release(path)


class _Judge:
    """Reads boards and judges them."""

    def __init__(self, workspace: Workspace, release: Release | None, held: bool, terminal: Terminal) -> None:
        self._workspace = workspace
        self._release = release
        self._held = held
        self._terminal = terminal
        self._find_release = releases_in(workspace.root)
        self._open = frozenset(batch.name for batch in workspace.ledger.batches() if not batch.closed)

    def board(self, slot: Slot) -> ReconciledBoard:
        """Read the board on *slot*. Raise StationError, or InputError if its factory partition is not to be found."""
        with reading(slot) as flash:
            ledger = self._workspace.ledger
            images = self._factory_images(flash, slot)
            held = ledger.identity_by_mac(flash.mac)
            firmware = None if held is None else self._firmware(flash, held)
        named = [one for one in map(carried_in, images) if one != Carried()]
        carried = tuple({unit.name: unit for one in named for unit in ledger.identities_carried(one)}.values())
        content = BoardContent(flash.mac, self._data(images, named, carried), firmware)
        known = Known(held, carried, self._workspace.product.name, self._held, self._open)
        seen = carried if held is None else (held, *carried)
        serials = tuple(one.serial for one in carried)
        return ReconciledBoard(slot.name, flash.mac, judge_board(content, known), serials, seen)

    def _factory_images(self, flash: FlashReader, slot: Slot) -> list[bytes]:
        """Return what is where the release has the factory partition, and where the board's own table has it."""
        label = self._workspace.product.factory.partition
        own = flash.table()
        rows = {}
        for table in (own if self._release is None else self._release.table, own):
            row = None if table is None else table.find(label)
            if row is not None and (table is not own or row.size <= _MOST_BYTES):
                rows[row.offset, row.size] = row
        if not rows:
            raise InputError(
                f'it is not known where this board has its partition "{label}"',
                where=slot.link.address,
                hint="name the release that it is to have with --release",
                cause="no-partition",
            )
        return [flash.read(row) for row in rows.values()]

    def _firmware(self, flash: FlashReader, held: LedgerIdentity) -> bool | None:
        """Return whether the board holds the release that the ledger says, None if the workspace does not have it."""
        flashed = flashed_release(self._workspace.ledger.history(held.name))
        release = None if flashed is None else self._find_release(flashed["digest"])
        return None if release is None else flash.holds(release)

    def _data(self, images: list[bytes], named: list[Carried], carried: tuple[LedgerIdentity, ...]) -> FactoryData:
        """Return what the *images* contain: *named* is what they name, *carried* what the ledger has of that."""
        if all(image.count(0xFF) == len(image) for image in images):
            return FactoryData.BLANK
        if not carried and all(one.node_id is None for one in named):
            return FactoryData.UNREADABLE
        live = [one for one in carried if one.state is not State.VOID]
        if len(live) != 1:
            return FactoryData.PART
        try:
            whole = factory_image(self._workspace.open_identity(live[0]), self._workspace.product)
        except (StationError, InputError) as error:
            self._terminal.warn(f"the image of {live[0].serial} is not compared: {error}")
            return FactoryData.NAMED
        return FactoryData.WHOLE if whole in images else FactoryData.PART


def _apply(workspace: Workspace, boards: list[ReconciledBoard], terminal: Terminal, *, yes: bool) -> bool:
    """Record what was found, after asking unless *yes*; give up the claims that were never written."""
    released = [one.verdict.serial for one in boards if one.verdict.action is Action.RELEASE]
    voids = f", and void {', '.join(filter(None, released))}" if released else ""
    if not yes and not (
        terminal.interactive
        and terminal.confirm(f"Record what was found about {counted(len(boards), 'board')}{voids}?")
    ):
        raise InputError("nothing was changed", hint="pass --yes to record it without a question")
    ts = timestamp(workspace.now())
    events = [event for board in boards for event in _events(board, ts)]
    seen: dict[str, Standing] = {one.name: one.standing for board in boards for one in board.seen}
    workspace.ledger.reconciled(events, seen, station=workspace.station.name)
    terminal.say(f"recorded what was found about {counted(len(boards), 'board')}")
    return True


def _events(board: ReconciledBoard, ts: str) -> Iterator[Event]:
    verdict = board.verdict
    name = None if verdict.unit is None else verdict.unit.name
    details = {"action": verdict.action.value, "finding": verdict.finding.value, "carries": list(board.carried)}
    yield Event(
        ts,
        EventKind.RECONCILE,
        serial=name,
        mac=board.mac,
        slot=board.slot,
        reason=f"{verdict.action}: {verdict.reason}",
        details=details,
    )
    if verdict.action is Action.RELEASE:
        yield Event(
            ts,
            EventKind.VOID,
            serial=name,
            mac=board.mac,
            state=State.VOID,
            cause="void",
            reason=f"never written: {verdict.reason}",
        )
