"""The options of `rmfab label` that print on the station's printer, and settle labels in doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from rmfab.commands import terminal

F = TypeVar("F", bound=Callable[..., Any])

PRINTER_OPTIONS = ("prints", "reason", "copies", "came_out")
_FREE = frozenset({"style", "size"})
"""The other options that --print goes with."""


def printer_options(function: F) -> F:
    """Add --print, --reason, --copies and --came-out."""
    for option in reversed(
        (
            click.option("--print", "prints", is_flag=True, help="Print on the station's printer, label by label."),
            click.option("--reason", help="With --print: why units get one more label; recorded in the ledger."),
            click.option("--copies", type=int, help="With --print: labels per unit (default: the style's, else 1)."),
            click.option(
                "--came-out", type=click.Choice(("yes", "no")), help="Settle a label in doubt: is there a whole one?"
            ),
        )
    ):
        function = option(function)
    return function


@dataclass(frozen=True)
class PrinterOptions:
    """The options by which `rmfab label` prints on a printer."""

    prints: bool
    reason: str | None
    copies: int | None
    came_out: str | None

    @property
    def given(self) -> bool:
        """Whether one of them was given."""
        return self.prints or any(one is not None for one in (self.reason, self.copies, self.came_out))

    def run(self, units: tuple[str, ...], **others: Any) -> None:
        """Do what the options say. Raise UsageError if they do not fit together, or do not go with *others*."""
        context = click.get_current_context()
        chosen = {name for name in others if context.get_parameter_source(name) is _TYPED}
        if not units:
            raise click.UsageError("Missing argument 'BATCH|SERIAL...'.")
        if self.prints == (self.came_out is not None):
            raise click.UsageError("--reason and --copies need --print; --came-out goes without --print")
        if wrong := chosen - (_FREE if self.prints else frozenset()):
            raise click.UsageError(f"--{min(wrong).replace('_', '-')} does not go with --print and --came-out")
        if self.prints:
            self._print(units, others["style"], others["size"])
        else:
            self._settle(units)

    def _settle(self, units: tuple[str, ...]) -> None:
        from rmfab.operations.print_on_printer import settle_labels

        if self.reason is not None or self.copies is not None:
            raise click.UsageError("--reason and --copies need --print")
        settled = settle_labels(terminal.workspace(), units, self.came_out == "yes", terminal.TERMINAL)
        labels = [{"serial": one.serial, "labels": one.standing.labelled_count} for one in settled]
        terminal.show({"printer": None, "labels": labels}, None)

    def _print(self, units: tuple[str, ...], style: str | None, size: str | None) -> None:
        from rmfab.operations.print_on_printer import PrintRequest, print_on_printer

        workspace, printed = terminal.workspace(), []
        request = PrintRequest(units, self.copies, self.reason, style, size)
        for label in print_on_printer(workspace, request, terminal.TERMINAL):
            printed.append({"serial": label.serial, "label": label.word.value, "copies": label.copies})
            if not terminal.json_wanted():
                terminal.data(f"{label.serial}  {label.word.value}")
        if terminal.json_wanted():
            config = workspace.station.printer
            terminal.document({"printer": config.address.text if config else None, "labels": printed})


_TYPED = click.core.ParameterSource.COMMANDLINE
