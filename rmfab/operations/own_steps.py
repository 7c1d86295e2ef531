"""A product's own steps in a run: where they stand, and what this host needs for them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

from rmfab.errors import InputError, RmfabError, StationError
from rmfab.line.events import Step
from rmfab.line.step_program import clean_environment
from rmfab.line.steps.own import no_command
from rmfab.product.own_step import OwnStep
from rmfab.workspace.workspace import Workspace


def with_own_steps(steps: tuple[Step, ...], own: Sequence[OwnStep]) -> tuple[Step, ...]:
    """Return *steps* with the product's *own* ones after the steps that they name; the others have no place here."""
    return tuple(
        one for step in steps for one in (step, *(Step.named(each.name) for each in own if each.after == step.value))
    )


def asks(steps: Sequence[Step], own: Sequence[OwnStep]) -> bool:
    """Return whether one of *steps* asks the operator."""
    return any(each.ask is not None and each.name in steps for each in own)


def refuse_without_commands(workspace: Workspace, steps: Sequence[Step]) -> None:
    """Raise the first thing that keeps this host from a step, before any board is started."""
    for wrong in lacking(workspace, [one for one in workspace.product.steps if one.name in steps]):
        raise wrong


def lacking(workspace: Workspace, own: Sequence[OwnStep]) -> Iterator[RmfabError]:
    """Yield what this host lacks for the steps *own*: a command, its program, a picture."""
    path = clean_environment(os.environ)["PATH"]
    for step in own:
        command = workspace.station.commands.get(step.name)
        if step.picture is not None and not step.picture.is_file():
            yield InputError(f'the picture of the step "{step.name}" does not exist', where=str(step.picture))
        if step.ask is not None:
            continue
        if command is None:
            yield no_command(step.name)
        elif shutil.which(command.argv[0], path=path) is None:
            yield StationError(
                f'the program of the step "{step.name}" cannot be run',
                where=command.argv[0],
                hint=f"install it, or correct [step.{step.name}] command in station.toml",
                cause="step-command",
            )
