"""The step `update`: the unit installs a release over the air, and proves that it runs it as the same unit."""

from __future__ import annotations

from rmfab.line.ending import Passed
from rmfab.line.over_the_air import install, joined, plan_of
from rmfab.line.stages import Identified, Joined
from rmfab.line.visit import Visit


def update(visit: Visit, stage: Identified) -> Passed[Joined]:
    """Have the unit install the release that the job offers, over the one that the line flashed."""
    on_network, watch = joined(stage)
    if visit.job.firmware is None:
        raise ValueError("the step needs the release that the unit runs")
    after, marginal = install(visit, on_network, watch, plan_of(visit).to, visit.job.firmware.release)
    return Passed(after, visit.measured, marginal)
