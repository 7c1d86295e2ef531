"""Which step starts from which stage. This is the order of the line, for every command that runs a part of it.

The module of a step is imported when the first unit reaches it, since some load large libraries: `provision` protobuf,
`boot` and `label` those that draw labels. Only `detect` is loaded before a board answers.
"""

from __future__ import annotations

import importlib
import threading

from rmfab.line.ending import Passed
from rmfab.line.events import Step
from rmfab.line.stages import (
    AsNew,
    Claimed,
    Flashed,
    Identified,
    InLoader,
    Joined,
    OnSlot,
    Running,
    Stage,
    Writable,
    Written,
)
from rmfab.line.visit import Visit

_IMPORTING = threading.Lock()


def take_step(step: Step, visit: Visit, stage: Stage) -> Passed[Stage]:
    """Run *step* from *stage*. Raise the reason if it does not pass, and ValueError if the step is out of order."""
    if step.own:
        from rmfab.line.steps.own import own

        return own(visit, stage, step)
    with _IMPORTING:  # slots that import at once may each see a library with import cycles half made
        importlib.import_module(f"rmfab.line.steps.{step.value}")
    match step, stage:
        case Step.DETECT, OnSlot():
            from rmfab.line.steps.detect import detect

            return detect(visit, stage)
        case Step.CLAIM, Writable():
            from rmfab.line.steps.claim import claim

            return claim(visit, stage)
        case Step.FLASH, Claimed():
            from rmfab.line.steps.flash import flash

            return flash(visit, stage)
        case Step.READBACK, Written():
            from rmfab.line.steps.readback import readback

            return readback(visit, stage)
        case Step.BOOT, OnSlot() | InLoader() | Flashed():
            from rmfab.line.steps.boot import boot

            return boot(visit, stage)
        case Step.IDENTIFY, Running():
            from rmfab.line.steps.identify import identify

            return identify(visit, stage)
    return _take_late_step(step, visit, stage)


def _take_late_step(step: Step, visit: Visit, stage: Stage) -> Passed[Stage]:
    """Run a step of a unit that has proven who it is."""
    match step, stage:
        case Step.PROVISION, Identified():
            from rmfab.line.steps.provision import provision

            return provision(visit, stage)
        case Step.CLOUD, Identified():
            from rmfab.line.steps.cloud import cloud

            return cloud(visit, stage)
        case Step.UPDATE, Identified():
            from rmfab.line.steps.update import update

            return update(visit, stage)
        case Step.BACK, Joined():
            from rmfab.line.steps.back import back

            return back(visit, stage)
        case Step.RESET, OnSlot() | Identified():
            from rmfab.line.steps.reset import reset

            return reset(visit, stage)
        case Step.RECHECK, AsNew():
            from rmfab.line.steps.recheck import recheck

            return recheck(visit, stage)
        case Step.LABEL, Identified() | AsNew():
            from rmfab.line.steps.label import label

            return label(visit, stage)
    raise ValueError(f"the step {step} does not start from {type(stage).__name__}")
