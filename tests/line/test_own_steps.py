"""A product's own steps on virtual boards: a program of the station, a question, and patterns of the console."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from rmfab.ledger.events import Outcome
from rmfab.ledger.states import State
from rmfab.line import listening
from rmfab.line.ending import Ending
from rmfab.line.events import Step
from rmfab.line.job import FLASH_STEPS, RESET_STEPS, RUN_STEPS
from rmfab.line.unit_state import wanted_state
from rmfab.operations.examine_host import examine_host
from rmfab.operations.own_steps import with_own_steps
from rmfab.product.own_step import OwnStep
from tests.line.floor import Factory, beside, copied, found, serve, spec

RELAY = """#!{python}
import json, os, pathlib, sys
serial, mac, slot, log = sys.argv[1:]
text = pathlib.Path(log).read_text()
pathlib.Path("told-" + serial).write_text(json.dumps([mac, slot, log, sorted(os.environ), text]))
print("relay closed")
print(json.dumps({{"current": {current}}}))
sys.exit({code})
"""
STEPS = """
[[step]]
name = "relay"
after = "boot"
limits = { current = { min = 10, max = 80, unit = "mA" } }

[[step]]
name = "lamp"
after = "reset"
ask = "Is the lamp white?"
picture = "lamp.png"
"""
PATTERNS = """
console_must = { start = "Project name: *" }
console_must_not = { assert = "assert failed" }
"""


@pytest.fixture(scope="module")
def testing(tmp_path_factory):
    """A factory whose product has two steps of its own."""
    factory = found(tmp_path_factory.mktemp("testing") / "ws", edits=(("[verify]", "[verify]" + PATTERNS),))
    with (factory.root / "product.toml").open("a") as stream:
        stream.write(STEPS)
    (factory.root / "lamp.png").write_bytes(b"png")
    return factory


@pytest.fixture
def factory(testing, tmp_path):
    """The same for one test, with a station.toml that has the program of `relay`."""
    factory = copied(testing, tmp_path / "ws")
    relay(factory)
    return factory


def relay(factory: Factory, current: object = 41.5, code: int = 0) -> None:
    """Write the program of the step `relay`."""
    program = factory.root / "relay.py"
    program.write_text(RELAY.format(python=sys.executable, current=current, code=code))
    program.chmod(0o755)
    command = 'command = ["./relay.py", "{serial}", "{mac}", "{slot}", "{log}"]'
    (factory.root / "station.toml").write_text(f"[step.relay]\n{command}\n")


@pytest.fixture
def operator(monkeypatch):
    """Stdin of the line; the function types an answer."""
    read, write = os.pipe()
    with os.fdopen(read) as stdin, os.fdopen(write, "w", buffering=1) as typed:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield lambda line: typed.write(f"{line}\n")


def asked(event):
    """Return whether an event is the question of the step `lamp`."""
    return event["event"] == "log" and "Is the lamp white?" in event["text"]


def test_where_own_steps_stand():
    """An own step follows the step that it names, in the order of the file, and is left out where that has no place."""
    own = [OwnStep("a", "boot"), OwnStep("b", "readback"), OwnStep("c", "boot")]
    assert [step.value for step in with_own_steps(RUN_STEPS, own)][3:8] == ["readback", "b", "boot", "a", "c"]
    assert [step.value for step in with_own_steps(FLASH_STEPS, own)][-2:] == ["readback", "b"]
    assert with_own_steps(RESET_STEPS, own) == RESET_STEPS


def test_an_own_step_is_a_proof():
    """A unit is verified only when the last of the product's own steps has passed, too."""
    steps = with_own_steps(RUN_STEPS, [OwnStep("a", "reset"), OwnStep("b", "boot")])
    passed = Ending(Outcome.PASS)
    states = {step.value: wanted_state(steps, step, passed) for step in steps}
    assert [name for name, state in states.items() if state is State.VERIFIED] == ["a"]
    assert wanted_state(steps, Step.named("b"), Ending(Outcome.FAIL)) is State.FAILED
    assert wanted_state(steps, Step.named("b"), Ending(Outcome.ERROR)) is None


@pytest.mark.slow
def test_two_units(factory, operator):
    """A program and the operator test two units: measurements with limits, p and f, the ledger, JUnit; the program gets
    the console so far without secrets, and no variable that may be a secret."""

    def answer():
        factory.wait_for(asked)
        operator("maybe")
        factory.wait_for(asked, 2)
        operator("p")
        factory.wait_for(asked, 3)
        operator("f two dead pixels")

    with serve([spec(), spec(index=1)]) as boards, beside(answer):
        said = factory.run(*(board.url for board in boards))
    assert said.code == 1
    assert sorted((unit["outcome"], unit["class"]) for unit in said.units) == [("FAIL", "step-failed"), ("PASS", None)]
    relays = [event for event in said.events if event["event"] == "step" and event["step"] == "relay"]
    assert [event["measurements"] for event in relays] == [
        {"current": {"value": 41.5, "low": 10.0, "high": 80.0, "unit": "mA"}}
    ] * 2
    lamps = {event["outcome"]: event for event in said.events if event["event"] == "step" and event["step"] == "lamp"}
    assert lamps["FAIL"]["reason"] == "the operator failed it: two dead pixels"
    assert (lamps["PASS"]["measurements"], lamps["FAIL"]["measurements"]) == ({"answer": "pass"}, {"answer": "fail"})
    questions = [event["text"] for event in said.events if asked(event)]
    assert questions[0] == f"Is the lamp white? (picture: {factory.root / 'lamp.png'}) p = pass, f = fail"
    assert "answer with p or f, and Enter" in said.logs
    boots = [event["measurements"]["console_must"] for event in said.events if event.get("step") == "boot"]
    assert boots == [["start"]] * 2
    assert sorted(factory.states().values()) == ["failed", "verified"]
    for serial in factory.states():
        mac, slot, log, names, text = json.loads((factory.root / f"told-{serial}").read_text())
        assert (mac in factory.bindings(), slot in [board.url for board in boards]) == (True, True)
        assert not Path(log).exists()
        assert not any(name.startswith("RMFAB_") for name in names)
        assert "Project name" in text
        assert factory.identity(serial).pop.reveal() not in text
    factory.check()


BAD = {
    "out of limits": ((7, 0), ("FAIL", "out-of-limits"), 1, "current is 7, outside 10 to 80 mA"),
    "a failed unit": ((41, 1), ("FAIL", "step-failed"), 1, "its program failed the unit"),
    "a broken program": ((41, 3), ("ERROR", "step-command"), 4, "the program exited with 3"),
    "no number": (("'x'", 0), ("ERROR", "step-answer"), 4, "no number for current"),
}


@pytest.mark.slow
def test_verdicts_of_a_program(factory):
    """The unit is blamed for what its program says and for its measurements, the station for a broken program; a unit
    that failed passes once its program does."""
    with serve([spec()]) as (board,):
        factory.run(board.url, command="flash")
        for (current, code), verdict, exit_code, reason in BAD.values():
            relay(factory, current, code)
            said = factory.run(board.url, command="verify")
            assert (said.code, said.verdict) == (exit_code, verdict), said.unit["reason"]
            assert reason in said.unit["reason"]
            assert "provision" not in said.steps()


def shortly_after_the_offer(read):
    """Return *read* with a limit that is short only after the last line that does come."""

    def lines(console, log, *, seconds):
        for line in read(console, log, seconds=seconds):
            yield line
            if log.service_name is not None:
                break
        yield from read(console, log, seconds=0.5)

    return lines


@pytest.mark.slow
def test_patterns_of_the_console(factory, monkeypatch):
    """A line that must not come and one that must are FAILs with the name of the pattern; nothing follows the boot."""
    factory.edit("assert failed", "App version")
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
        assert said.verdict == ("FAIL", "console-forbidden")
        assert said.unit["reason"].endswith("console_must_not forbids: assert")
        factory.edit('"Project name: *"', '"self test * ok"')
        factory.edit('assert = "App version"', 'assert = "assert failed"')
        monkeypatch.setattr(listening, "_boot_lines", shortly_after_the_offer(listening._boot_lines))
        said = factory.run(board.url, command="verify")
    assert said.verdict == ("FAIL", "console-missing")
    assert "console_must names: start" in said.unit["reason"]
    assert "identify" not in said.steps()


def test_what_a_run_refuses(factory):
    """A step without a command, without its program or its picture ends the run before any board is touched."""
    program = factory.root / "relay.py"
    program.chmod(0o644)
    assert factory.run("/dev/no").refusal == (4, ["step-command"])
    (factory.root / "station.toml").unlink()
    said = factory.run("/dev/no")
    assert said.refusal == (3, ["no-step-command"])
    assert "add [step.relay] with command" in said.events[0]["errors"][0]["hint"]
    relay(factory)
    (factory.root / "lamp.png").unlink()
    assert factory.run("/dev/no").refusal == (3, ["bad-input"])
    bad = [one for one in examine_host(factory.root) if not one.good]
    assert any("the picture of the step" in one.what for one in bad)


BAD_STATION = {
    "an unknown word": '[step.relay]\ncommand = ["x", "{pop}"]',
    "no command": "[step.relay]",
    "a shell line": '[step.relay]\ncommand = "x --y"',
    "a program by unit": '[step.relay]\ncommand = ["{serial}"]',
    "a secret": '[step.relay]\ncommand = ["x"]\nenvironment = { A = "b" }',
}


@pytest.mark.parametrize("text", BAD_STATION.values(), ids=BAD_STATION)
def test_a_bad_command(factory, text):
    """What is wrong with a command in station.toml is a complaint with its key path."""
    (factory.root / "station.toml").write_text(text + "\n")
    said = factory.run("/dev/no")
    assert (said.code, said.events[0]["errors"][0]["where"][:26]) == (3, "station.toml: [step] relay")


@pytest.mark.slow
def test_nobody_answers(factory, operator):
    """A question that nobody answers in time, or cannot, is the station's ERROR; the unit is not verified."""
    factory.edit('\nask = "Is the lamp white?"', '\ntimeout = 0.5\nask = "Is the lamp white?"')
    with serve([spec()]) as (board,):
        said = factory.run(board.url)
    assert (said.code, said.verdict) == (4, ("ERROR", "step-unanswered"))
    assert list(factory.states().values()) == ["flashed"]
