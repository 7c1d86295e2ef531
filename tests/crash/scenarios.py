"""The table of what is killed. A row is one command: how it is prepared, and what must be true once it has ended well.

To add one (a lease): write a function that returns a `Command`, or None if the world is not ready
for it, and add a row. What must hold after every kill is in `invariants.py`, for all rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rmfab.identity.station_card import load_card
from rmfab.ledger.states import State
from rmfab.ledger.store import Ledger
from rmfab.operations.hand_over import owner_fingerprint
from rmfab.virtual import BoardHandle
from rmfab.workspace.workspace import open_workspace
from tests.crash.world import BOARDS, CARD, LEDGER, PRODUCT, World
from tests.exchange.admin_cli import Ca, draw_node, write_admin_batch
from tests.line.floor import ports

_LOST_NUMBERS = 10_000
"""More serials than a round makes after a backup."""


@dataclass(frozen=True)
class Command:
    """A command line, the *boards* that it works on, and what is true once it has ended well (*done* asserts it).

    *is_done* returns whether an earlier try, which was killed, has done everything: then the same command may refuse to
    do it again. *at* is the workspace, by default that of the host that holds the pool. *gave_away* returns whether
    this host gives no identities from this ledger any more; with *replaces*, the ledger is then a different one, and
    what it held need not persist.
    """

    argv: Sequence[str]
    done: Callable[[], None]
    boards: tuple[BoardHandle, ...] = ()
    at: Path | None = None
    is_done: Callable[[], bool] = lambda: False
    gave_away: Callable[[], bool] = lambda: False
    replaces: bool = False


@dataclass(frozen=True)
class Scenario:
    """A row: *prepare* makes the next command for a world in *phase*; *weight* is how often it is chosen.

    *clocks*: by how many seconds the clock may be fast; from one command to the next, it jumps forward and back.
    """

    name: str
    weight: int
    prepare: Callable[[World, Random], Command | None]
    phase: str = "works"
    clocks: tuple[float, ...] = (0.0, 0.0, 1.0, 3600.0, 86400.0)


def run(world: World, chance: Random) -> Command:
    """`rmfab run` on one or two boards, new ones or ones that were there before."""
    return _on_boards(world, some(world, chance), "run", "verified")


def flash(world: World, chance: Random) -> Command:
    """`rmfab flash` on one or two boards: what writes identities, without the proofs of `run`."""
    return _on_boards(world, some(world, chance), "flash", "flashed")


def some(world: World, chance: Random) -> tuple[BoardHandle, ...]:
    """Return one or two boards."""
    return tuple(chance.sample(world.boards, chance.choice((1, 1, 2))))


def _on_boards(world: World, boards: tuple[BoardHandle, ...], verb: str, state: str, at: Path | None = None) -> Command:
    if len(world.serials("generated")) < BOARDS:
        world.did("generate", "--count", "6", "--jobs", "1")

    def done() -> None:
        with world.ledger() as ledger:
            for board in boards:
                unit = ledger.identity_by_mac(board.mac)
                assert unit is not None
                seen = unit.state == "verified" and unit.standing.labelled_count > 0  # then `flash` leaves it alone
                assert unit.state == state or seen

    return Command((verb, *ports(*(board.url for board in boards), command=verb)), done, boards, at=at)


def generate(world: World, chance: Random) -> Command:
    """`rmfab generate`, of a batch with a name, so that the same command continues it."""
    name, size = world.new_name("batch"), chance.choice((3, 8, 20, 40, 505))

    def done() -> None:
        with world.ledger() as ledger:
            assert sum(1 for _ in ledger.identities(name)) == size

    return Command(("generate", "--count", str(size), "--batch", name, "--jobs", "1"), done)


def import_batch(world: World, chance: Random) -> Command:
    """`rmfab import` of a batch of the admin CLI, free or on boards: the same command continues it."""
    name, size = world.new_name("import"), chance.choice((3, 12))
    ca = Ca()
    source = write_admin_batch(world.here / name, ca, [draw_node(ca, f"{name}-{n}") for n in range(size)])
    flashed = chance.choice(((), ("--flashed",)))
    state = State.QUARANTINED if flashed else State.GENERATED

    def done() -> None:
        with world.ledger() as ledger:
            assert [one.node_id for one in ledger.identities(name)] == [f"{name}-{n}" for n in range(size)]
            assert {one.state for one in ledger.identities(name)} == {state}

    return Command(("import", str(source), "--batch", name, *flashed), done)


def label(world: World, chance: Random) -> Command | None:
    """`rmfab label` into a new file: file and record come together."""
    known = world.serials("generated", "claimed", "verified", "flashed")
    if not known:
        return None
    serial, path = chance.choice(known), world.here / f"{world.new_name('label')}.png"

    def done() -> None:
        assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
        with world.ledger() as ledger:
            unit = ledger.identity_by_serial(serial)
            assert unit is not None
            assert unit.standing.labelled_count > 0

    return Command(("label", serial, "-o", str(path)), done)


def void(world: World, chance: Random) -> Command | None:
    """`rmfab void` of an identity, free or bound."""
    known = world.serials("generated", "claimed", "verified", "flashed", "quarantined")
    if not known:
        return None
    serial = chance.choice(known)

    def done() -> None:
        with world.ledger() as ledger:
            assert ledger.find(serial)[0].state == "void"

    return Command(("void", serial, "--reason", "crash", "--yes"), done)


def backup(world: World, chance: Random) -> Command:
    """`rmfab ledger backup` to a new file: it is complete, or not there."""
    path = world.here / f"{world.new_name('backup')}.db"

    def done() -> None:
        with Ledger.open(path, create=False) as copy:
            assert copy.check() == ()
            assert not copy.pool_standing().held

    return Command(("ledger", "backup", str(path)), done, is_done=path.exists)


def restore(world: World, chance: Random) -> Command | None:
    """`rmfab ledger restore` of a backup that lacks the last void, as after a crash of the disk."""
    if len(world.stations) > 1:
        return None  # it is for files
    path = world.here / f"{world.new_name('restored')}.db"
    world.did("ledger", "backup", path)
    free = world.serials("generated")
    if free:
        world.did("void", chance.choice(free), "--reason", "after the backup", "--yes")

    def done() -> None:
        world.phase = "copied"
        world.forget()
        with world.ledger() as ledger:
            assert not ledger.pool_standing().held

    def replaced() -> bool:
        return bool(world.rows("SELECT 1 FROM meta WHERE name = 'copy'"))

    return Command(("ledger", "restore", str(path), "--force"), done, gave_away=replaced, replaces=True)


def adopt(world: World, _: Random) -> Command:
    """`rmfab ledger adopt` after a loss: what was free is in quarantine."""

    def done() -> None:
        world.phase = "works"
        with world.ledger() as ledger:
            assert ledger.pool_standing().held
            assert ledger.free(PRODUCT) == 0
        generate_after_a_loss(world)

    return Command(("ledger", "adopt", "--name", PRODUCT), done)


def generate_after_a_loss(world: World) -> None:
    """Make identities again. A host that got the pool by a move may not know the last serial: then it is named."""
    ((loss,),) = world.rows("SELECT value FROM meta WHERE name = 'loss'")
    ((end,),) = world.rows("SELECT max(first_n + size) FROM batch")
    named = () if json.loads(loss)["known"] else ("--first-serial", str(end + _LOST_NUMBERS))
    world.did("generate", "--count", "6", "--jobs", "1", *named)


def move(world: World, _: Random) -> Command | None:
    """`rmfab ledger move` to the other host, which gets the file."""
    if len(world.stations) > 1:
        return None  # both work on it already
    recipient = open_workspace(world.there).station_key.recipient

    def moved() -> bool:
        with world.ledger() as ledger:
            return ledger.pool_standing().moved_to == recipient

    def done() -> None:
        assert moved()
        for path in world.there.glob(f"{LEDGER}*"):
            path.unlink()
        world.did("ledger", "backup", world.there / LEDGER)
        world.phase = "moved"
        world.here, world.there = world.there, world.here

    return Command(("ledger", "move", "--to", recipient, "--yes"), done, is_done=moved, gave_away=moved)


def adopt_moved(world: World, _: Random) -> Command:
    """`rmfab ledger adopt` on the host that the ledger was moved to: it goes on as it is."""
    free = len(world.serials("generated"))

    def done() -> None:
        world.phase = "works"
        with world.ledger() as ledger:
            assert ledger.pool_standing().held
        assert len(world.serials("generated")) == free

    return Command(("ledger", "adopt", "--name", PRODUCT), done)


def handover(world: World, chance: Random) -> Command | None:
    """`rmfab handover` of one to three identities to the factory: the file is there, or the next try writes it."""
    batch = chance.choice(world.serials_by_batch("generated") or [("", [])])
    if not batch[1]:
        return None
    count, path = chance.randint(1, min(3, len(batch[1]))), world.factory / world.new_name("handover")
    card = world.factory / CARD

    def done() -> None:
        assert path.exists()
        world.parcels.append(path)

    to = ("--to", str(card), "--fingerprint", load_card(card).fingerprint)
    argv = ("handover", batch[0], "--count", str(count), *to, "-o", str(path))
    return Command(argv, done, is_done=path.exists)


def receive(world: World, _: Random) -> Command | None:
    """`rmfab receive` of the oldest handover that the factory does not have yet."""
    if not world.parcels:
        return None
    path = world.parcels[0]

    def done() -> None:
        world.parcels.remove(path)
        world.received += 1
        with world.factory_ledger() as ledger:
            assert 1 <= len(ledger.exchange.receipts()) <= world.received

    return Command(("receive", str(path), "--fingerprint", owner_fingerprint(world.workspace)), done, at=world.factory)


def factory_flash(world: World, chance: Random) -> Command | None:
    """`rmfab flash` at the factory, of a board that is only there."""
    if not world.received:
        return None
    board = chance.choice(world.factory_boards)
    with world.factory_ledger() as ledger:
        if ledger.identity_by_mac(board.mac) is None and not ledger.free(PRODUCT):
            return None

    def done() -> None:
        with world.factory_ledger() as ledger:
            unit = ledger.identity_by_mac(board.mac)
            assert unit is not None
            assert unit.state == "flashed"

    release = ("--release", str(world.here / "build"))
    argv = ("flash", *release, *ports(board.url, command="flash"))
    return Command(argv, done, (board,), at=world.factory)


def give_back(world: World, chance: Random) -> Command | None:
    """`rmfab return` at the factory, now and then with the unused ones."""
    if not world.received:
        return None
    path = world.factory / world.new_name("return")
    unused = ("--unused",) if chance.random() < 0.2 else ()
    return Command(("return", "-o", str(path), *unused), lambda: None, at=world.factory, is_done=path.exists)


def merge(world: World, _: Random) -> Command | None:
    """`rmfab merge` of the first return that this ledger does not have; a file that was lost is written again."""
    number = world.merged + 1
    if number > world.returns:
        return None
    path = world.factory / world.new_name("again")
    world.did("return", "--again", str(number), "-o", path, at=world.factory)

    def done() -> None:
        assert world.merged >= number

    return Command(("merge", str(path)), done)


SCENARIOS = (
    # A release that was accepted in the future is refused, so the clock jumps only a little.
    Scenario("run", 4, run, clocks=(0.0, 0.0, 1.0)),
    Scenario("flash", 7, flash, clocks=(0.0, 0.0, 1.0)),
    Scenario("generate", 4, generate),
    Scenario("import", 4, import_batch),
    Scenario("label", 4, label),
    Scenario("void", 4, void),
    Scenario("ledger backup", 2, backup),
    Scenario("ledger restore", 2, restore),
    Scenario("ledger adopt", 4, adopt, "copied"),
    Scenario("ledger move", 2, move),
    Scenario("ledger adopt (moved)", 4, adopt_moved, "moved"),
    # A handover that was made in the future is refused, too.
    Scenario("handover", 4, handover, clocks=(0.0,)),
    Scenario("receive", 4, receive, clocks=(0.0, 1.0)),
    Scenario("flash (factory)", 4, factory_flash, clocks=(0.0, 0.0, 1.0)),
    Scenario("return", 4, give_back, clocks=(0.0,)),
    Scenario("merge", 12, merge),
)


def beside(world: World, chance: Random, command: Command) -> tuple[Scenario, Command] | None:
    """Return what a station does while *command* is at work, None if there is only one station.

    It works on a board of its own. A `void` may retire what it is about to claim, so it works beside everything else.
    """
    free = [board for board in world.boards if board not in command.boards]
    if len(world.stations) == 1 or command.argv[0] == "void":
        return None
    row, state = chance.choice(((SCENARIOS[0], "verified"), (SCENARIOS[1], "flashed")))
    return row, _on_boards(world, (chance.choice(free),), row.name, state, chance.choice(world.stations))


def last_run(world: World, station: Path) -> tuple[Scenario, Command]:
    """Return the row of the end of a round: every board can be run by *station*."""
    return SCENARIOS[0], _on_boards(world, tuple(world.boards), "run", "verified", station)


def choose(world: World, chance: Random) -> tuple[Scenario, Command]:
    """Return a row that fits the phase of *world*, and its command."""
    world.take_turns(chance)
    while True:
        fitting = [row for row in SCENARIOS if row.phase == world.phase]
        (row,) = chance.choices(fitting, [one.weight for one in fitting])
        command = row.prepare(world, chance)
        if command is not None:
            return row, command
