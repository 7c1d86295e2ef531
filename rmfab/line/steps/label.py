"""The step `label`: print the unit's label."""

from __future__ import annotations

from typing import NoReturn

from rmfab.line.ending import Skipped
from rmfab.line.stages import AsNew, Identified
from rmfab.line.visit import Visit


def label(_visit: Visit, _: Identified | AsNew) -> NoReturn:
    """Print the unit's label."""
    raise Skipped("no printer is configured; use `rmfab label` for sheets and pictures")
