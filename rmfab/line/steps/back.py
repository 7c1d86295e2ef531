"""The step `back`: the unit installs the line's release again, over the air as well."""

from __future__ import annotations

from rmfab.line.ending import Passed
from rmfab.line.over_the_air import install, joined, plan_of
from rmfab.line.stages import Joined
from rmfab.line.visit import Visit


def back(visit: Visit, stage: Joined) -> Passed[Joined]:
    """Have the unit install the release that it was flashed with."""
    on_network, watch = joined(stage)
    plan = plan_of(visit)
    if plan.back is None:
        raise ValueError("the job has no way back")
    after, marginal = install(visit, on_network, watch, plan.back, plan.to.release)
    return Passed(after, visit.measured, marginal)
