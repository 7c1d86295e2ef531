"""`rmfab reset`: factory-reset units."""

from __future__ import annotations

from typing import Any

import click

from rmfab.commands.leaf import Leaf
from rmfab.commands.options import line_options, unit_url_option


@click.command("reset", cls=Leaf)
@line_options
@unit_url_option
@click.option("--via", type=click.Choice(["loader", "console"]), default="loader", show_default=True,
              help="Erase nvs through the loader, or use the firmware's reset-to-factory.")  # fmt: skip
@click.option("--serial", help="Expected unit, if its firmware has disabled download mode.")
def command(via: str, unit_urls: tuple[str, ...], former_unit_urls: tuple[str, ...], **options: Any) -> None:
    """Factory-reset units without touching their identity.

    Erases nvs and proves that the unit is as new and its identity is unchanged. Never writes the factory partition,
    nvs_key or esp_secure_cert: the unit keeps node id, key, PoP and label. Use --via console if download mode is
    disabled, as it is by default with secure boot. A unit whose firmware has no log is then looked for by radio, or at
    its --unit-url. Without a release, each unit's own is found in the workspace (its bundles, and build/) by the digest
    that the ledger recorded when the unit was flashed.

    \b
    rmfab reset --port /dev/ttyUSB0
    """
    from rmfab.commands.show_line import show_line
    from rmfab.operations.run_line import RESET_STEPS, LineRequest

    request = LineRequest(
        RESET_STEPS, unit_urls=unit_urls or former_unit_urls, console_reset=via == "console", **options
    )
    show_line(request)
