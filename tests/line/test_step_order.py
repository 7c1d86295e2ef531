"""The order of the line: which step starts from which stage."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rmfab.line.ending import Skipped
from rmfab.line.events import Step
from rmfab.line.stages import AsNew, OnSlot
from rmfab.line.step_order import take_step
from rmfab.product.product import LabelPolicy


@pytest.mark.parametrize("step", [one for one in Step if one not in (Step.DETECT, Step.BOOT, Step.RESET)])
def test_a_step_out_of_order(step):
    """A step from the wrong stage is a bug of the caller, and touches no board."""
    with pytest.raises(ValueError, match=f"{step} does not start from OnSlot"):
        take_step(step, None, OnSlot())


def test_a_product_that_prints_no_labels():
    """The label step is skipped, unless the product prints or scans labels on the line."""
    job = SimpleNamespace(labels=None, product=SimpleNamespace(label=LabelPolicy()))
    with pytest.raises(Skipped, match="prints no labels"):
        take_step(Step.LABEL, SimpleNamespace(job=job), AsNew(None))
