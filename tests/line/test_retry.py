"""Retries within the run of a unit: by cause, from the restart on, and what the ledger keeps of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rmfab.causes import Blame, Cause, Retry
from rmfab.ledger.events import Outcome
from rmfab.line.ending import Ending
from rmfab.line.events import Step
from rmfab.line.job import RESET_STEPS, RUN_STEPS, VERIFY_STEPS
from rmfab.line.retries import Again, Tries, cured, start_of
from rmfab.provisioning.transport import SESSION
from tests.line.floor import beside, found, ports, serve, spec
from tests.line.never import nobody_answers
from tests.patience import PATIENCE
from tests.terminal import environment

RELAY = Step.named("relay")
ROWS = {
    "contact, once as it was": ("flash", ["no-answer"], [(0, 2, False)]),
    "then at a lower rate, then no more": (
        "flash", ["noise", "answer-stopped", "noise"], [(0, 2, False), (0, 3, True), None],
    ),
    "the ROM has one rate": ("detect", ["no-answer", "no-answer"], [(0, 2, False), None]),
    "a cable at a console": ("boot", ["console-garbled", "console-garbled"], [(4, 2, False), None]),
    "a step of reset": ("reset", ["port-gone", "port-gone"], [(7, 2, False), (7, 3, True)]),
    "a bad unit": ("boot", ["panic"], [None]),
    "a bad flash": ("readback", ["readback-mismatch"], [None]),
    "a swapped board": ("flash", ["board-swapped"], [None]),
    "a damaged ledger": ("claim", ["chain"], [None]),
    "a label": ("label", ["printer-gone"], [None]),
    "a cause that is not of the table": ("boot", ["relay-burned"], [None]),
}  # fmt: skip


def bad(cause, outcome=Outcome.ERROR):
    """Return the ending of a step with *cause*."""
    return Ending(outcome, cause, f"because of {cause}")


@pytest.mark.parametrize(("step", "causes", "expected"), ROWS.values(), ids=ROWS)
def test_what_is_tried_again(step, causes, expected):
    """Contact, sync and cable are tried again from the restart on; a bad unit is not."""
    tries, index = Tries(RUN_STEPS, whole=True), RUN_STEPS.index(step)
    for cause, wanted in zip(causes, expected, strict=True):
        again = tries.after(index, bad(cause))
        assert again == (Again(*wanted) if wanted else None)
        if again is not None:
            tries.start(again, index, bad(cause))


def test_a_restart_needs_consent():
    """What only a restart may help is tried again once, from the boot on, and only if the product says so."""
    index = RUN_STEPS.index(Step.PROVISION)
    for cause in (one for one in Cause if one.retry is Retry.RESTART):
        ending = bad(cause, Outcome.FAIL if cause.blame is Blame.UNIT else Outcome.ERROR)
        assert Tries(RUN_STEPS, whole=False).after(index, ending) is None
        tries = Tries(RUN_STEPS, whole=True)
        again = tries.after(index, ending)
        assert again == Again(RUN_STEPS.index(Step.BOOT), 2)
        tries.start(again, index, ending)
        assert tries.after(index, ending) is None


def test_integrity_and_input_are_never_tried_again():
    """No cause that stops the line, and none of bad input but garbled detection, is retried; no fault stands alone."""
    retried = {cause for cause in Cause if cause.retry}
    assert not [cause for cause in retried if cause.blame in (Blame.INTEGRITY, Blame.NONE)]
    assert [cause for cause in retried if cause.blame is Blame.INPUT] == [Cause.CHIP_UNKNOWN]
    assert not [cause for cause in retried if cause.blame is Blame.UNIT and cause.retry.always]


def test_groups():
    """A group starts where the board is restarted; a product's own step belongs to the group before it."""
    steps = (*RUN_STEPS[:5], RELAY, *RUN_STEPS[5:])
    assert [steps[start_of(steps, index)].value for index in range(len(steps))] == [
        "detect", "detect", "detect", "detect", "boot", "boot", "boot", "boot", "reset", "label",
    ]  # fmt: skip
    assert [start_of(VERIFY_STEPS, index) for index in range(4)] == [0, 1, 1, 1]
    assert start_of(RESET_STEPS, 0) == 0


def test_cured_is_marginal():
    """A step that passes at a later attempt is MARGINAL with the cause and reason of the failure."""
    first = bad("noise")
    assert cured(Ending(Outcome.PASS), first, 2) == Ending(
        Outcome.MARGINAL, "noise", "passed at the second attempt; before: because of noise"
    )
    weak = Ending(Outcome.MARGINAL, "weak-signal", "weak")
    assert cured(weak, first, 3).cause == "weak-signal"
    assert "weak; passed at the third attempt" in cured(weak, first, 3).reason


def test_a_late_claim_is_told_by_the_next_step():
    """A claim that passes at the second attempt is in the ledger as it is; the flashing after it is MARGINAL."""
    tries, failed = Tries(RUN_STEPS, whole=False), bad("noise")
    again = tries.after(1, failed)
    assert again is not None
    tries.start(again, 1, failed)
    endings = [tries.judged(index, Ending(Outcome.PASS)) for index in range(4)]
    assert [one.outcome.value for one in endings] == ["PASS", "PASS", "MARGINAL", "PASS"]
    assert [one.measurements["attempt"] for one in endings] == [2, 2, 2, 2]


def test_own_steps_are_single_objects():
    """A product's own step is one object per name, and not among rmfab's."""
    assert Step.named("relay") is RELAY
    assert (RELAY.own, RELAY.value, str(RELAY)) == (True, "relay", "relay")
    assert Step.named("boot") is Step.BOOT
    assert not Step.BOOT.own
    assert RELAY not in list(Step)


@pytest.mark.slow
def test_a_cable_that_comes_back(factory, monkeypatch):
    """A port that goes away while the flash is written and comes back: the second attempt passes, and says why."""
    monkeypatch.setattr("rmfab.line.connection._RETURN_SECONDS", PATIENCE)

    def plug_in():
        factory.wait_for(lambda event: "trying it again" in event.get("text", ""))
        board.control("return")

    with serve([spec(faults=("vanish",))]) as (board,), beside(plug_in):
        said = factory.run(board.url)
    assert (said.code, said.verdict) == (0, ("PASS", None))
    flashes = [event for event in said.events if event["event"] == "step" and event["step"] == "flash"]
    assert [(one["outcome"], one["class"]) for one in flashes] == [("ERROR", "port-gone"), ("MARGINAL", "port-gone")]
    assert flashes[0]["measurements"]["retry"] == "as it was"
    assert flashes[1]["measurements"]["attempt"] == 2
    assert flashes[1]["reason"].startswith("passed at the second attempt; before: the port went away")
    with factory.ledger() as ledger:
        kept = [one.event for one in ledger.history("LMP-000001") if one.event.step == "flash"]
    assert [one.outcome.value for one in kept] == ["ERROR", "MARGINAL"]
    assert list(factory.states().values()) == ["verified"]
    factory.check()


@pytest.mark.slow
def test_killed_between_two_attempts(factory):
    """A line that is killed after a failed attempt leaves it in the ledger; the same command goes on, with the same
    identity."""
    with serve([spec(faults=("vanish",))]) as (board,):
        argv = [sys.executable, "-m", "rmfab", "-C", str(factory.root), "run", *ports(board.url), "--json"]
        with subprocess.Popen(argv, env=environment(), stdout=subprocess.PIPE, text=True) as line:
            assert line.stdout is not None
            next(text for text in line.stdout if '"port-gone"' in text)
            line.kill()
        board.control("return")
        said = factory.run(board.url)
    assert (said.code, said.verdict) == (0, ("PASS", None))
    with factory.ledger() as ledger:
        kept = [one.event for one in ledger.history("LMP-000001") if one.event.step == "flash"]
    assert [one.outcome.value for one in kept] == ["ERROR", "PASS"]
    assert list(factory.states().values()) == ["verified"]
    factory.check()


@pytest.mark.slow
def test_a_group_is_tried_again_whole(tmp_path, monkeypatch):
    """With [verify] retry, a unit that answers late once is started again, and everything since its boot is repeated; a
    board that was swapped meanwhile is not taken for it."""
    factory = found(tmp_path / "ws", edits=(("retry = false", "retry = true"),))
    stalled = set()
    nobody_answers(monkeypatch, stalled)

    def heal(board):
        factory.wait_for(lambda event: "trying it again" in event.get("text", ""))
        stalled.clear()
        board.control("fault none")

    with serve([spec(faults=("stalled-session",))]) as (board,), beside(lambda: heal(board)):
        stalled.add((board.provisioning_url, SESSION))
        said = factory.run(board.url)
    assert (said.code, said.verdict) == (0, ("PASS", None)), said.unit["reason"]
    steps = [(e["step"], e["outcome"]) for e in said.events if e["event"] == "step"][4:10]
    assert steps == [
        ("boot", "PASS"), ("identify", "PASS"), ("provision", "FAIL"),
        ("boot", "PASS"), ("identify", "PASS"), ("provision", "MARGINAL"),
    ]  # fmt: skip
    assert list(factory.states().values()) == ["verified"]
