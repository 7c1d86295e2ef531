"""The queue before a printer and scan-back, on a printer and a scanner in memory."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field, replace

import pytest

from rmfab.causes import Cause
from rmfab.label.printers.printer import Delivery, PrinterFault, PrinterStatus
from rmfab.label.raster import Raster
from rmfab.label.scan import WrongScan
from rmfab.ledger.label_words import LabelWord
from rmfab.ledger.states import State
from rmfab.line.ending import Aborted
from rmfab.line.label_queue import LabelOrder, LabelQueue
from rmfab.line.label_work import yes_or_no
from rmfab.line.scan_back import ScanBack, ScanOrder, WrongLabel
from rmfab.secret import Secret
from tests.label.printers.bench import KINDS, noise, printed, printer_at, printing
from tests.patience import until

READY, EMPTY = PrinterStatus(True), PrinterStatus(True, faults=(Cause.PRINTER,))


@dataclass
class MemoryPrinter:
    """A printer that is asked and prints as listed, then is ready and prints; *log* is what it was told to print."""

    states: deque[PrinterStatus | PrinterFault] = field(default_factory=deque)
    results: deque[Delivery | PrinterFault] = field(default_factory=deque)
    log: list[int] = field(default_factory=list)
    address: str = "memory"
    dpi: int = 203

    def status(self) -> PrinterStatus:
        return _given(self.states.popleft() if self.states else READY)

    def print_label(self, label: Raster, copies: int = 1) -> Delivery:
        self.log.append(label.width)
        return _given(self.results.popleft() if self.results else Delivery.PRINTED)


def _given(value):
    if isinstance(value, Exception):
        raise value
    return value


@dataclass
class Operator:
    """What an order tells and asks: *answers* in order; *words* are what the ledger gets."""

    answers: deque[bool | None] = field(default_factory=deque)
    words: list[str] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)
    stopped: bool = False

    def order(self, serial: str = "LMP-000001", width: int = 8) -> LabelOrder:
        def draw(_dpi: int) -> Raster:
            return Raster(width, 1, bytes(-(-width // 8)))

        return LabelOrder(serial, draw, self.note, self.heard.append, self.heard.append, self.ask, self.go_on)

    def note(self, word: LabelWord, fault: PrinterFault | None = None, *, by_operator: bool = False) -> None:
        self.words.append(word.value + ("!" if by_operator else ""))

    def ask(self, question: str) -> bool | None:
        self.heard.append(question)
        return self.answers.popleft() if self.answers else None

    def go_on(self) -> None:
        if self.stopped:
            raise Aborted


def doubt(cause: str = "printer") -> PrinterFault:
    return PrinterFault("half a label", cause=cause, in_doubt=True)


def queue(printer: MemoryPrinter, patience: float = 60.0) -> LabelQueue:
    return LabelQueue(printer, patience, look=0.0)


@pytest.mark.parametrize("delivery", list(Delivery))
def test_a_label_is_recorded_before_and_after(delivery):
    """The intention comes before the first byte, and what the printer says after the last."""
    operator = Operator()
    assert queue(MemoryPrinter(results=deque([delivery]))).print_label(operator.order()).value == delivery.value
    assert operator.words == ["sending", delivery.value]
    assert operator.heard == []


def test_a_printer_that_is_not_ready_is_waited_for_and_told_once():
    """Nothing is sent meanwhile, and the operator is told once what to do."""
    operator, printer = Operator(), MemoryPrinter(deque([EMPTY, EMPTY, EMPTY]))
    queue(printer).print_label(operator.order())
    assert operator.words == ["sending", "printed"]
    warning, ready = operator.heard
    assert Cause.PRINTER.remedy.rstrip(".") in warning
    assert ready == "the printer is ready again"


def test_patience_is_counted_once_for_all():
    """Units that come after the patience has ended do not wait; nothing was sent for any of them."""
    operator, printer = Operator(), MemoryPrinter(deque([EMPTY] * 3))
    waiting = queue(printer, patience=0.0)
    for _ in range(2):
        with pytest.raises(PrinterFault) as caught:
            waiting.print_label(operator.order())
        assert (caught.value.cause, caught.value.in_doubt) == ("printer", False)
    assert (operator.words, printer.log) == ([], [])
    assert len(operator.heard) == 1


def test_a_fault_before_the_job_is_no_doubt():
    """The printer refused the label: that is recorded, and it is printed when it can be."""
    operator, printer = Operator(), MemoryPrinter(results=deque([PrinterFault("refused")]))
    queue(printer).print_label(operator.order())
    assert operator.words == ["sending", "not-printed", "sending", "printed"]


def test_a_label_in_doubt_is_asked_for_when_the_printer_is_ready_again():
    """The operator sees it: it is never printed twice. He does not: it is printed."""
    there = Operator(deque([True]))
    printer = MemoryPrinter(deque([READY, EMPTY]), deque([doubt()]))
    assert queue(printer).print_label(there.order()) is LabelWord.PRINTED
    assert there.words == ["sending", "printed!"]
    assert there.heard[1:] == ["the printer is ready again", "is there a whole label for LMP-000001?"]
    missing = Operator(deque([False]))
    printer = MemoryPrinter(results=deque([doubt()]))
    assert queue(printer).print_label(missing.order()) is LabelWord.PRINTED
    assert missing.words == ["sending", "not-printed!", "sending", "printed"]


def test_a_printer_whose_fault_may_still_be_there_is_not_said_to_be_ready():
    """CUPS does not ask its printer between two jobs: the operator is asked at once, and told again if it failed."""
    operator, stale = Operator(deque([False, False])), PrinterStatus(True, stale=(Cause.PRINTER,))
    printer = MemoryPrinter(deque([READY, *[stale] * 4]), deque([doubt(), doubt()]))
    assert queue(printer).print_label(operator.order()) is LabelWord.PRINTED
    assert operator.heard == ["printer memory: half a label", "is there a whole label for LMP-000001?"] * 2
    assert operator.words == ["sending", "not-printed!"] * 2 + ["sending", "printed"]


def test_a_label_in_doubt_stays_so_without_an_operator():
    """The ledger only has the intention; the error says how to settle it, and the next label is not held up."""
    operator, printer = Operator(), MemoryPrinter(results=deque([doubt()]))
    waiting = queue(printer)
    with pytest.raises(PrinterFault, match="in doubt whether the label of LMP-000001") as caught:
        waiting.print_label(operator.order())
    assert "--came-out" in (caught.value.hint or "")
    assert operator.words == ["sending"]
    assert waiting.print_label(operator.order("LMP-000002")) is LabelWord.PRINTED


def test_labels_come_out_in_the_order_of_their_units():
    """While one label waits for paper, the others queue behind it, and none overtakes."""
    operator, printer = Operator(), MemoryPrinter(deque([EMPTY]))
    paper = threading.Event()
    printer.status = lambda: READY if paper.is_set() else EMPTY  # type: ignore[method-assign]
    waiting = queue(printer)
    threads = []
    for width in range(8, 80, 8):
        threads.append(threading.Thread(target=waiting.print_label, args=(operator.order(width=width),)))
        threads[-1].start()
        until(lambda: len(waiting._waiting) == len(threads))
    until(lambda: operator.heard)
    assert printer.log == []
    paper.set()
    for thread in threads:
        thread.join()
    assert printer.log == list(range(8, 80, 8))
    assert len([text for text in operator.heard if text.startswith("printer")]) == 1


def test_stopping_ends_the_wait():
    """^C while the printer has no paper, or while others wait: nothing is sent, and the queue stays usable."""
    operator = Operator(stopped=True)
    waiting = queue(MemoryPrinter(deque([EMPTY] * 9)))
    waiting._look = 1.0
    with pytest.raises(Aborted):
        waiting.print_label(operator.order())
    assert operator.words == []
    waiting._look = 0.0
    assert waiting.print_label(Operator().order()) is LabelWord.PRINTED


def test_stopping_does_not_wait_for_a_printer_that_is_stuck():
    """^C while a printer does not come back ends the wait; the label that it had is in doubt."""
    operator, printer, free = Operator(), MemoryPrinter(), threading.Event()

    def stuck(_label: Raster, _copies: int = 1) -> Delivery:
        operator.stopped = True
        free.wait()
        return Delivery.PRINTED

    printer.print_label = stuck  # type: ignore[method-assign]
    with pytest.raises(Aborted):
        queue(printer).print_label(operator.order())
    assert operator.words == ["sending"]
    free.set()


CODE = '{"ver":"v1","name":"PROV_%06d","pop":"0a1b2c3d","transport":"ble"}'


@dataclass
class Bench:
    """Units 1, 2 … on slots A, B …, and the scans for each slot in order."""

    scans: dict[str, deque[str]]
    heard: list[str] = field(default_factory=list)
    desk: ScanBack = field(init=False)

    def __post_init__(self) -> None:
        self.desk = ScanBack(self)

    def code(self, slot, prompt, say, keep_going):
        keep_going()
        say(prompt)
        return self.scans[slot].popleft()

    def check(self, number: int, owners=lambda _: None) -> None:
        slot, printed = "ABC"[number - 1], Secret(CODE % number)
        say = self.heard.append
        self.desk.check(ScanOrder(slot, f"LMP-{number}", printed, owners, say, say, lambda: None))


@dataclass
class Unit:
    serial: str
    state: State = State.VERIFIED


def owner(scanned):
    return Unit(f"LMP-{int(scanned.name[-6:])}")


def test_the_label_of_the_unit_passes():
    """A scan of the unit's own label passes; the prompt names the unit."""
    bench = Bench({"A": deque([f"]Q1{CODE % 1}\r\n"])})
    bench.check(1)
    assert bench.heard == ["scan the label on the board of LMP-1"]


def test_a_swapped_pair_stops_both_units():
    """The first scan names both serials and slots; the other unit stops before it is asked."""
    bench = Bench({"A": deque([CODE % 2]), "B": deque([CODE % 1])})
    bench.desk._slots["LMP-2"] = "B"
    for number in (1, 2):
        with pytest.raises(WrongLabel) as caught:
            bench.check(number, owner)
        assert caught.value.what == "the board of LMP-1 (slot A) has the label of LMP-2 (slot B)"
        assert caught.value.cause == "label-swapped"
    assert len(bench.heard) == 1


def test_a_trigger_that_is_held_is_no_swap():
    """The label that was just scanned comes once more: it is asked again; a third time it is the wrong label."""
    bench = Bench({"A": deque([CODE % 1]), "B": deque([CODE % 1, CODE % 2]), "C": deque([CODE % 2, CODE % 2])})
    bench.check(1, owner)
    bench.check(2, owner)
    with pytest.raises(WrongLabel, match=r"LMP-3 .* has the label of LMP-2"):
        bench.check(3, owner)


def test_what_cannot_be_read_is_asked_for_again():
    """Five times; the message says why, and never what was scanned."""
    bench = Bench({"A": deque(["4006381333931", (CODE % 1)[:30], CODE % 1])})
    bench.check(1)
    assert len(bench.heard) == 5
    assert "PROV" not in "".join(bench.heard)
    with pytest.raises(WrongScan):
        Bench({"A": deque(["x"] * 5)}).check(1)


FOREIGN = {
    "nobody's": (CODE % 9, lambda _: None, "label-foreign", "no unit of this ledger"),
    "old": ((CODE % 1).replace("0a1b", "ffff"), lambda _: None, "label-foreign", "a different PoP"),
    "void": (CODE % 9, lambda _: Unit("LMP-9", State.VOID), "label-void", "LMP-9, which is void"),
    "outdated": ((CODE % 1).replace("ble", "softap"), lambda _: None, "label-outdated", "different settings"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_label_that_is_no_units(name):
    """Each kind of wrong label has its own cause."""
    code, found, cause, what = FOREIGN[name]
    with pytest.raises(WrongLabel, match=what) as caught:
        Bench({"A": deque([code])}).check(1, found)
    assert caught.value.cause == cause


@pytest.mark.parametrize(
    ("text", "answer"),
    [("y", True), (" YES ", True), ("n", False), ("no", False), ("", None), ("maybe", None), (CODE % 1, True),
     (CODE % 2, None)],
)  # fmt: skip
def test_an_answer_is_yes_no_or_the_label_itself(text, answer):
    """Anything else is asked again."""
    assert yes_or_no(text, Secret(CODE % 1)) is answer


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", ["paper-out=3", "half-label=3"])
def test_a_printer_that_runs_out_of_labels_in_mid_batch(kind, fault, tmp_path):
    """Eight slots share one printer: no label is lost or doubled, each is recorded, and the operator is told once.

    The operator looks: the last label before the paper ended is whole, and stays the only one; half a label is not.
    """
    operators = [Operator() for _ in range(8)]
    with printing(kind, tmp_path) as handle:
        handle.control(f"fault {fault}")
        waiting = LabelQueue(printer_at(handle), 60.0, look=0.02)
        threads = []
        for number, operator in enumerate(operators):
            order = replace(
                operator.order(f"LMP-{number}"),
                draw=lambda _, seed=number: noise(seed),
                ask=lambda _, seed=number: any(printed(path) == noise(seed) for path in handle.labels),
            )
            threads.append(threading.Thread(target=waiting.print_label, args=(order,)))
            threads[-1].start()
        heard = lambda: [text for operator in operators for text in operator.heard if "printer" in text]  # noqa: E731
        until(heard)
        handle.control("fix")
        for thread in threads:
            thread.join()
        pictures = [printed(path) for path in handle.labels]
    whole = [seed for picture in pictures for seed in range(8) if picture == noise(seed)]
    assert sorted(whole) == list(range(8))
    assert len(pictures) == 8 + fault.startswith("half")
    (doubtful,) = [one.words for one in operators if one.words != ["sending", "printed"]]
    settled = ["not-printed!", "sending", "printed"] if fault.startswith("half") else ["printed!"]
    assert doubtful == ["sending", *settled]
    told = [text.partition(":")[0] for text in heard()]
    assert told.count("the printer is ready again") == 1
    assert len(told) == 2
