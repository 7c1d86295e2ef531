"""`rmfab run`: run the line."""

from __future__ import annotations

from typing import Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import claim_options, files_options, line_options, screen_options, unit_url_option


@click.command("run", cls=Leaf)
@line_options
@unit_url_option
@claim_options
@files_options
@click.option(
    "--loop", is_flag=True, help="Continue with the next board on every slot, until ^C or the batch is used up."
)
@screen_options
def command(
    unit_urls: tuple[str, ...],
    former_unit_urls: tuple[str, ...],
    screen: bool,
    start: str,
    ascii_only: bool,
    sound: bool,
    **options: Any,
) -> None:
    """Run the line: every step on every slot.

    The steps are detect, claim, flash, readback, boot, identify, provision, reset and label.

    \b
    rmfab run --batch lamp-0001 --port /dev/ttyUSB0 --port /dev/ttyUSB1
    rmfab run --loop              all slots of station.toml, again and again
    rmfab run --loop --scan       the same, with serials from a scanner
    rmfab run --screen            the operator's screen: a tile per slot
    """
    from rmfab.commands.show_line import refuse_without_screen, show_line, show_on_screen
    from rmfab.operations.run_line import RUN_STEPS, LineRequest

    request = LineRequest(RUN_STEPS, unit_urls=unit_urls or former_unit_urls, **options)
    refuse_without_screen(screen, {"--start": start != "auto", "--ascii": ascii_only, "--sound": sound})
    if screen:
        show_on_screen(terminal.workspace(), request, by_hand=start == "hand", only_ascii=ascii_only, sound=sound)
    else:
        show_line(request)
