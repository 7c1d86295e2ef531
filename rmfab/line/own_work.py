"""What a product's own steps work with on this host: the commands of station.toml, and the operator's answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rmfab.line.code_desk import CodeDesk
from rmfab.line.step_program import StepCommand


@dataclass(frozen=True)
class OwnWork:
    """The *commands* of the steps by name; the *desk* for answers, None if no step asks."""

    commands: Mapping[str, StepCommand] = field(default_factory=dict)
    desk: CodeDesk | None = None
