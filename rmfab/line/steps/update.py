"""The step `update`: the unit installs a release over the air, and proves that it runs it as the same unit."""

from __future__ import annotations

from rmfab.line.ending import Passed
from rmfab.line.over_the_air import install, joined, plan_of
from rmfab.line.stages import Identified, Joined
from rmfab.line.visit import Visit


def update(visit: Visit, stage: Identified) -> Passed[Joined]:
    """Have the unit install the release that the job offers, over the one that the line flashed."""
    on_network, watch = joined(stage)
    plan = plan_of(visit)
    after, marginal = install(visit, on_network, watch, plan.to, plan.before.release)
    return Passed(after, visit.measured, marginal)
