"""Which step starts from which stage. This is the order of the line, for every command that runs a part of it."""

from __future__ import annotations

from rmfab.line.ending import Passed
from rmfab.line.events import Step
from rmfab.line.stages import (
    AsNew,
    Claimed,
    Flashed,
    Identified,
    InLoader,
    OnSlot,
    Running,
    Stage,
    Writable,
    Written,
)
from rmfab.line.steps.boot import boot
from rmfab.line.steps.claim import claim
from rmfab.line.steps.detect import detect
from rmfab.line.steps.flash import flash
from rmfab.line.steps.identify import identify
from rmfab.line.steps.label import label
from rmfab.line.steps.provision import provision
from rmfab.line.steps.readback import readback
from rmfab.line.steps.reset import reset
from rmfab.line.visit import Visit


def take_step(step: Step, visit: Visit, stage: Stage) -> Passed[Stage]:
    """Run *step* from *stage*. Raise the reason if it does not pass, and ValueError if the step is out of order."""
    match step, stage:
        case Step.DETECT, OnSlot():
            return detect(visit, stage)
        case Step.CLAIM, Writable():
            return claim(visit, stage)
        case Step.FLASH, Claimed():
            return flash(visit, stage)
        case Step.READBACK, Written():
            return readback(visit, stage)
        case Step.BOOT, OnSlot() | InLoader() | Flashed():
            return boot(visit, stage)
        case Step.IDENTIFY, Running():
            return identify(visit, stage)
        case Step.PROVISION, Identified():
            return provision(visit, stage)
        case Step.RESET, OnSlot() | Identified():
            return reset(visit, stage)
        case Step.LABEL, Identified() | AsNew():
            return label(visit, stage)
    raise ValueError(f"the step {step} does not start from {type(stage).__name__}")
