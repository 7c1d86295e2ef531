"""Serials that come with the board: from its MAC, and from scanned codes, on virtual boards."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from rmfab.errors import InputError
from rmfab.line.code_desk import CodeDesk
from tests.line.floor import Factory, beside, copied, found, interrupting, ports, serve, spec
from tests.line.zygote import Zygote
from tests.patience import PATIENCE
from tests.terminal import process

pytestmark = pytest.mark.slow

SCANNED = ('serial = "LMP-{n:06d}"', 'serial = "SN{scan}"\nscan = { digits = 3, check = "luhn" }')
CODES = ("018", "026", "034", "042")  # with check digits of Luhn


@pytest.fixture(scope="module")
def scanning(tmp_path_factory):
    """A factory whose boards have a printed code, with four identities."""
    return found(tmp_path_factory.mktemp("scanning") / "ws", units=4, edits=(SCANNED,))


@pytest.fixture
def factory(scanning, tmp_path):
    return copied(scanning, tmp_path / "ws")


@pytest.fixture
def scanner(monkeypatch):
    """Stdin as a scanner types into it; return the function that types a line."""
    read, write = os.pipe()
    with os.fdopen(read) as stdin, os.fdopen(write, "w", buffering=1) as typed:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda line: typed.write(f"{line}\n")


def asks(event):
    return event["event"] == "log" and "scan or type" in event["text"]


def scanned(factory, scanner, *lines, boards, extra=()):
    """Run the line with --scan; type each of *lines* when the line asks for one more code."""
    factory = Factory(factory.root)  # without the events of an earlier run

    def operator():
        for number, line in enumerate(lines, 1):
            factory.wait_for(asks, number)
            scanner(line)

    with beside(operator):
        return factory.run(*(board.url for board in boards), extra=("--scan", *extra))


def free(factory):
    with factory.ledger() as ledger:
        return ledger.free("Lamp")


@pytest.mark.parametrize(("pattern", "upper"), [("L-{mac}", False), ("{MAC}", True)])
def test_the_mac_is_the_serial(tmp_path, pattern, upper):
    """The serial is the board's MAC without colons; label, trace, verify and build work by it from the claim on."""
    edits = (('serial = "LMP-{n:06d}"', f'serial = "{pattern}"'),)
    factory = found(tmp_path / "ws", units=2, edits=edits)
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
        digits = said.unit["mac"].replace(":", "")
        serial = digits.upper() if upper else f"L-{digits}"
        assert (said.code, said.unit["serial"]) == (0, serial), said.unit["reason"]
        assert factory.run(board.url, command="verify", extra=("--serial", serial)).code == 0
    for argv in (("label", serial, "-o", "one.png"), ("build", "lamp-0001", "-o", "files"), ("trace", serial)):
        done = process("-C", factory.root, *argv, cwd=tmp_path)
        assert done.code == 0, done.err
    assert serial in done.out
    assert [path.name for path in (tmp_path / "files" / "bin").iterdir()] == [f"{serial}.bin"]
    assert process("-C", factory.root, "void", serial, "--reason", "x", "--yes", cwd=tmp_path).code == 0
    factory.check()


def test_two_slots_two_codes(factory, scanner):
    """With two slots, each code goes to the slot that was asked for it; each board gets its own serial."""
    with serve([spec(index=0), spec(index=1)]) as boards:
        said = scanned(factory, scanner, *CODES[:2], boards=boards)
        asked = [event["slot"] for event in said.events if asks(event)]
        assert said.code == 0, [unit["reason"] for unit in said.units]
        of_slot = {unit["slot"]: unit["serial"] for unit in said.units}
        assert [of_slot[slot] for slot in asked] == ["SN018", "SN026"]
        again = factory.run(*(board.url for board in boards))  # no code is asked for again
    assert {unit["slot"]: unit["serial"] for unit in again.units} == of_slot
    factory.check()


def test_a_wrong_code_is_asked_for_again(factory, scanner):
    """A wrong check digit, a short code, and a code of a different unit are refused, and asked for again."""
    with serve([spec(index=0), spec(index=1)]) as (one, two):
        assert scanned(factory, scanner, CODES[0], boards=[one]).code == 0
        said = scanned(factory, scanner, "019", "18", CODES[0], CODES[1], boards=[two])
    assert (said.code, said.unit["serial"]) == (0, "SN026")
    told = [event["text"] for event in said.events if event["event"] == "log" and event["level"] == "warning"]
    assert "check digit" in told[0]
    assert "3 digits" in told[1]
    assert "SN018 belongs to a different unit: verified, board 24:" in told[2]
    assert free(factory) == 2
    factory.check()


def test_a_duplicate_serial_leaves_the_identity_free(factory):
    """Without a question, a serial of a different unit is an ERROR that names it; nothing is bound."""
    with serve([spec(index=0), spec(index=1)]) as (one, two):
        assert factory.run(one.url, extra=("--serial", "SN018")).code == 0
        said = factory.run(two.url, extra=("--serial", "SN018"))
        assert (said.code, said.verdict) == (3, ("ERROR", "serial-taken"))
        assert "belongs to" in said.unit["reason"]
        wrong = factory.run(two.url, extra=("--serial", "SN019"))
        assert wrong.verdict == ("ERROR", "bad-code")
        none = factory.run(two.url)
        assert none.verdict == ("ERROR", "no-serial")
        assert "--scan" in none.unit["reason"]
    assert free(factory) == 3
    assert len(factory.bindings()) == 1
    factory.check()


def test_a_line_that_is_stopped_while_it_asks(factory, scanner):
    """^C while a board waits for its code ends it as ABORTED, and takes no identity."""
    with serve([spec()]) as (board,), interrupting(lambda: factory.wait_for(asks)):
        said = factory.run(board.url, extra=("--scan",))
    assert (said.code, said.verdict) == (130, ("ABORTED", "aborted"))
    assert free(factory) == 4


def test_the_terminal_ends(factory, monkeypatch):
    """If no more codes come, the board is an ERROR, and no identity is taken."""
    read, write = os.pipe()
    os.close(write)
    with os.fdopen(read) as stdin, serve([spec()]) as (board,):
        monkeypatch.setattr(sys, "stdin", stdin)
        said = factory.run(board.url, extra=("--scan",))
    assert said.verdict == ("ERROR", "no-terminal")
    assert free(factory) == 4


def test_scan_needs_a_product_that_is_scanned(founded):
    """--scan for a product with counted serials is an error before any port is opened."""
    said = founded.do("run", "--scan", "--port", "/dev/nowhere")
    assert said.code == 3
    assert "[product] serial" in said.words + str(said.events)


@pytest.mark.slow
def test_killed_between_claim_and_flash(factory, tmp_path):
    """After kill -9 between claim and flash, the same board goes on with the same serial, and no code is asked for."""
    with Zygote() as zygote, serve([spec()]) as (board,):
        pid = zygote.spawn()
        argv = ["-C", str(factory.root), "run", "--json", "--serial", "SN018", *ports(board.url)]
        zygote.go(pid, argv, tmp_path / "out", ("claim", "after", 1))
        assert zygote.wait(pid) == -signal.SIGKILL
        assert factory.states() == {"SN018": "claimed"}
        said = factory.run(board.url)
    assert (said.code, said.unit["serial"]) == (0, "SN018")
    assert said.step("claim")["measurements"]["again"] is True
    factory.check()


class Slots:
    """Slots that ask a desk for codes, each in a thread; *told* is what they said to the operator."""

    def __init__(self, desk: CodeDesk) -> None:
        self.desk = desk
        self.told: list[tuple[str, str]] = []
        self.got: dict[str, str] = {}
        self._changed = threading.Condition()

    def ask(self, slot: str) -> threading.Thread:
        def say(text: str) -> None:
            with self._changed:
                self.told.append((slot, text))
                self._changed.notify_all()

        asked = threading.Event()

        def work() -> None:
            self.got[slot] = self.desk.code(
                slot, "scan it", say, asked.set
            )  # called as soon as the desk has the question

        thread = threading.Thread(target=work)
        thread.start()
        assert asked.wait(PATIENCE)
        return thread

    def wait(self, fits) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: fits(self.told), PATIENCE), self.told


def lines(source):
    """Yield the lines that a pipe gets, one after the other."""
    while line := source.readline():
        yield line


def test_a_slots_code_decides(scanner):
    """If two slots ask, the name of one moves it to the front: the next code is for that slot."""
    desk = CodeDesk(lines(sys.stdin), ["A1", "A2"])
    slots = Slots(desk)
    first = slots.ask("A1")
    slots.wait(lambda told: [slot for slot, _ in told] == ["A1"])
    second = slots.ask("A2")
    scanner("a2")
    slots.wait(lambda told: [slot for slot, _ in told] == ["A1", "A2"])
    scanner("code-2")
    second.join(PATIENCE)
    assert not second.is_alive()
    slots.wait(lambda told: [slot for slot, _ in told] == ["A1", "A2", "A1"])
    scanner("A2")  # it does not wait any more
    slots.wait(lambda told: told[-1] == ("A1", "slot A2 does not wait for a code"))
    scanner("code-1")
    first.join(PATIENCE)
    assert not first.is_alive()
    assert {slot: code.strip() for slot, code in slots.got.items()} == {"A1": "code-1", "A2": "code-2"}


def test_a_closed_desk(scanner):
    """A desk that is closed, or whose lines have ended, answers no question."""
    desk = CodeDesk(iter(()), ["A1"])
    with pytest.raises(InputError, match="terminal has ended"):
        desk.code("A1", "scan it", lambda _: None, lambda: None)
    closed = CodeDesk(lines(sys.stdin), ["A1"])
    closed.close()
    with pytest.raises(InputError, match="terminal has ended"):
        closed.code("A1", "scan it", lambda _: None, lambda: None)
