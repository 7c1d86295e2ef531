"""What must hold after every kill, whatever was killed."""

from __future__ import annotations

import time
from typing import Any

from rmfab.ledger.events import EventKind, Outcome
from rmfab.ledger.reconciliation import Action
from rmfab.ledger.records import LedgerIdentity
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from rmfab.nvs.reader import read_image
from rmfab.operations.reconcile import ReconcileRequest, Reconciliation, reconcile
from rmfab.virtual import BoardHandle
from rmfab.workspace.workspace import Workspace
from tests.crash.world import PRODUCT, World
from tests.line.floor import FCTRY
from tests.patience import PATIENCE

_FACTORY_BYTES = 0x6000


def judge_ledger(world: World, *, holds_pool: bool) -> None:
    """Chains hold; no identity is doubled or lost; what a command has returned persists; the pool is where it was."""
    with world.ledger() as ledger:
        assert ledger.check() == ()
        batches = {one.name: one.size for one in ledger.batches() if one.closed}
        rows = _identities(ledger)
        if holds_pool:
            assert ledger.pool_standing().held, "no host holds the pool"
    assert len({one.serial for one in rows}) == len(rows) == sum(batches.values())
    assert len({one.node_id for one in rows}) == len({one.record.random_sha256 for one in rows}) == len(rows)
    live = [one.mac for one in rows if one.state.bound]
    assert len(set(live)) == len(live), "one board has two identities"
    _persists(world, rows, batches)
    claims = world.rows("SELECT serial, count(DISTINCT mac) FROM event WHERE kind = 'claim' GROUP BY serial")
    assert all(boards == 1 for _, boards in claims), claims
    events = {(chain, seq): digest for chain, seq, digest in world.rows("SELECT chain, seq, hash FROM event")}
    assert world.events.items() <= events.items(), "events were lost"
    world.events = events


def _persists(world: World, rows: list[LedgerIdentity], batches: dict[str, int]) -> None:
    held = {one.serial: one.mac for one in rows if one.mac is not None}
    assert world.held.items() <= held.items(), "a binding was lost"
    void = {one.serial for one in rows if one.state is State.VOID}
    assert world.void <= void, "a void identity came back"
    assert world.made.items() <= batches.items(), "a batch was lost"
    world.held, world.void, world.made = held, void, batches  # type: ignore[assignment]


def judge_factory(world: World) -> None:
    """The chains of the factory hold, and no identity can be given at both places."""
    with world.factory_ledger() as ledger:
        assert ledger.check() == ()
        there = {one.node_id: one for one in _identities(ledger)}
    with world.ledger() as ledger:
        here = {one.node_id: one for one in _identities(ledger)}
    for node in here.keys() & there.keys():
        mine, theirs = here[node], there[node]
        assert not (mine.state is State.GENERATED and theirs.state in (State.GENERATED, State.QUARANTINED)), node
        assert None in (mine.mac, theirs.mac) or mine.mac == theirs.mac, "one identity has two boards"


def _identities(ledger: Ledger) -> list[LedgerIdentity]:
    """Return the identities of all batches that are complete."""
    return [one for batch in ledger.batches() if batch.closed for one in ledger.identities(batch.name)]


def judge_boards(world: World, workspace: Workspace, boards: list[BoardHandle]) -> None:
    """The flash of *boards* agrees with the ledger, or `reconcile` names it; no two flashes have one identity."""
    on_flash = {board.mac: node_on(board) for board in (*world.boards, *world.factory_boards)}
    nodes = [node for node in on_flash.values() if node is not None]
    assert len(set(nodes)) == len(nodes), "one identity is on two boards"
    done = _reconciled(workspace, ReconcileRequest(tuple(board.url for board in boards), release=world.here / "build"))
    with workspace.ledger as ledger:
        for board, seen in zip(boards, done.boards, strict=True):
            found = ledger.find(node) if (node := on_flash[board.mac]) is not None else ()
            held = ledger.identity_by_mac(board.mac)
            expected = _expected(found[0] if found else None, held, board.mac)
            assert seen.verdict.action in expected, (expected, seen)
            if seen.verdict.action is Action.RESUME:
                assert seen.verdict.serial == (held or found[0]).serial


def _reconciled(workspace: Workspace, request: ReconcileRequest) -> Reconciliation:
    """Reconcile. On a busy machine, a board notices late that the host before has gone."""
    end = time.monotonic() + PATIENCE
    while True:
        done = reconcile(workspace, request)
        if not done.unread:
            return done
        assert all(error.cause == "port-busy" for _, error in done.unread), done.unread
        assert time.monotonic() < end, done.unread


def _expected(carried: LedgerIdentity | None, held: LedgerIdentity | None, mac: str) -> set[Action]:
    """Return the actions that are right, by the ledger and an independent look at the board's flash."""
    if carried is not None and carried.mac not in (None, mac):
        return {Action.QUARANTINE}
    if held is not None and carried is not None and carried.serial != held.serial and carried.state is not State.VOID:
        return {Action.RELEASE, Action.QUARANTINE}
    if held is not None:
        return {Action.IN_ORDER} if held.state is State.VERIFIED and carried == held else {Action.RESUME}
    if carried is not None:
        return {Action.QUARANTINE} if carried.state is State.VOID else {Action.RESUME}
    return {Action.IN_ORDER, Action.QUARANTINE}  # blank, or cut short by a command that the ledger has forgotten


def judge_reported(workspace: Workspace, events: list[dict[str, Any]]) -> None:
    """What a command has reported as passed is in the ledger, once: claims, steps and verdicts."""
    passed = [one for one in events if one.get("outcome") == "PASS" and one["serial"] is not None]
    if not passed:
        return
    with workspace.ledger as ledger:
        for one in passed:
            name = one.get("step")
            kind = EventKind.UNIT if name is None else EventKind.STEP
            found = [
                stored
                for stored in ledger.history(one["serial"])
                if (stored.event.kind, stored.event.step, stored.event.ts) == (kind, name, one["ts"])
                and stored.event.outcome is Outcome.PASS
            ]
            assert len(found) == 1, f"reported, and {len(found)} times in the ledger: {one}"
            assert found[0].event.mac == one["mac"]


def node_on(board: BoardHandle) -> str | None:
    """Return the node id in the factory partition of a board's flash, past the line and its loader."""
    assert board.flash_file is not None
    image = board.flash_file.read_bytes()[FCTRY : FCTRY + _FACTORY_BYTES]
    values = [entry.value for entry in read_image(image).entries if entry.key == "node_id"]
    return values[-1].rstrip(b"\0").decode() if values else None


def judge_end(world: World) -> None:
    """At the end of a round, every state follows from its events, and nothing is left behind or lost from the pool."""
    for station in world.stations:
        assert not list(station.rglob(".*.rmfab-tmp")), "a temporary file was left"
    with world.ledger() as ledger:
        assert ledger.rebuild() == 0
        free = ledger.free(PRODUCT)
    assert free == len(world.serials("generated"))
