"""The order of the line: which step starts from which stage."""

from __future__ import annotations

import pytest

from rmfab.line.ending import Skipped
from rmfab.line.events import Step
from rmfab.line.stages import AsNew, OnSlot
from rmfab.line.step_order import take_step


@pytest.mark.parametrize("step", [one for one in Step if one not in (Step.DETECT, Step.BOOT, Step.RESET)])
def test_a_step_out_of_order(step):
    """A step from the wrong stage is a bug of the caller, and touches no board."""
    with pytest.raises(ValueError, match=f"{step} does not start from OnSlot"):
        take_step(step, None, OnSlot())


def test_nothing_prints_labels_yet():
    """The label step reports that no printer is configured."""
    with pytest.raises(Skipped, match="no printer"):
        take_step(Step.LABEL, None, AsNew(None))
