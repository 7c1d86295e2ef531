"""A step that product.toml names: a program of this host tests the unit, or the operator looks at it and answers."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rmfab.errors import InputError, StationError, UnitFault, printable
from rmfab.line.ending import Passed
from rmfab.line.events import Step
from rmfab.line.listening import judge_meanwhile
from rmfab.line.stages import Stage
from rmfab.line.step_answer import judge_answer, measurements_of, read_answer, read_word
from rmfab.line.step_program import StepCommand, run_step_program
from rmfab.line.visit import Visit
from rmfab.product.own_step import OwnStep


def own(visit: Visit, stage: Stage, name: Step) -> Passed[Stage]:
    """Do the product's step *name*; it proves nothing about the stage of the board."""
    step = next(one for one in visit.job.product.steps if one.name == name.value)
    if step.ask is not None:
        _ask(visit, step, step.ask)
    else:
        command = visit.job.own.commands.get(step.name)
        if command is None:
            raise no_command(step.name)
        _run(visit, step, command)
    return Passed(stage, visit.measured)


def no_command(name: str) -> InputError:
    """Return the error of a step for which station.toml has no command."""
    return InputError(
        f'this station has no command for the step "{name}" of the product',
        where="station.toml",
        hint=f'add [step.{name}] with command = ["program", "{{serial}}"]',
        cause="no-step-command",
    )


def _run(visit: Visit, step: OwnStep, command: StepCommand) -> None:
    serial = visit.record.serial if visit.record else ""
    values = {
        "serial": serial,
        "mac": visit.board.mac or "",
        "slot": visit.slot.name,
        "port": visit.board.address,
    }
    with _log_file(visit, wanted=command.uses_log) as log:
        end = run_step_program(command, values | {"log": log}, step.timeout, lambda: _keep_going(visit))
    end = replace(end, output=visit.redacted(end.output), errors=visit.redacted(end.errors))
    answer = read_answer(step, end)
    visit.measured |= measurements_of(step, answer)
    judge_answer(step, end, answer)


def _keep_going(visit: Visit) -> None:
    visit.keep_going()
    judge_meanwhile(visit)


@contextmanager
def _log_file(visit: Visit, *, wanted: bool) -> Iterator[str]:
    """Yield the path of a file with the unit's console so far, without secrets, for as long as the program runs."""
    if not wanted:
        yield ""
        return
    try:
        handle, name = tempfile.mkstemp(prefix="rmfab-", suffix=".log")
    except OSError as error:
        raise StationError(f"cannot write the console log for the program: {error}", cause="disk-full") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(printable(visit.redacted(visit.board.text)))
        yield name
    finally:
        Path(name).unlink(missing_ok=True)


def _ask(visit: Visit, step: OwnStep, question: str) -> None:
    """Ask the operator. Raise UnitFault if the unit fails, StationError if nobody answers in time."""
    desk = visit.job.own.desk
    if desk is None:
        raise ValueError("a run with a question has a desk")
    ending = time.monotonic() + step.timeout

    def keep_going() -> None:
        _keep_going(visit)
        if time.monotonic() >= ending:
            raise StationError(
                f"nobody answered within {step.timeout:g} s", where=visit.slot.name, cause="step-unanswered"
            )

    picture = f" (picture: {step.picture})" if step.picture else ""
    while True:
        text = desk.code(visit.slot.name, f"{question}{picture} p = pass, f = fail", visit.say, keep_going)
        answer = read_word(text)
        if answer is not None:
            break
        visit.warn("answer with p or f, and Enter")
    passed, words = answer
    visit.measured["answer"] = "pass" if passed else "fail"
    if not passed:
        raise UnitFault(f"the operator failed it{f': {words}' if words else ''}", cause="step-failed")
