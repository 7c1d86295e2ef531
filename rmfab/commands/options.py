"""Options that several commands share, each with one meaning wherever it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
KEY_VARIABLE = "RMFAB_KEY_PASSPHRASE_FILE"

output_option = click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="The file to write.")
force_option = click.option("--force", is_flag=True, help="Replace a file of other content.")
junit_option = click.option("--junit", type=FILE, metavar="FILE", help="Write a report for CI as well.")
trust_option = click.option(
    "--trust", "trust_file", type=FILE, metavar="FILE", help="Judge by this trust file (default: the workspace's)."
)
unknown_option = click.option(
    "--allow-unknown-signers",
    "allow_unknown",
    is_flag=True,
    help="Overlook signatures by keys that nobody here knows; those of trusted ones must still be enough.",
)
downgrade_option = click.option(
    "--allow-downgrade",
    is_flag=True,
    help="Take a release older than the last one; asked again on a terminal, and the ledger remembers it.",
)
passphrase_file_option = click.option(
    "--passphrase-file",
    type=FILE,
    metavar="FILE",
    help=f"Read the passphrase or PIN from FILE (default: {KEY_VARIABLE}, or the terminal).",
)


def key_option(*, required: bool) -> Callable[[F], F]:
    """--key PATH or URI, again for more, and --passphrase-file."""

    def add(function: F) -> F:
        named = click.option(
            "--key",
            "keys",
            multiple=True,
            required=required,
            metavar="KEY",
            help="A key file, or file:…, env:NAME, pkcs11:token=…;object=…; again for more.",
        )
        return named(passphrase_file_option(function))

    return add


ports_option = click.option(
    "-p",
    "--port",
    "ports",
    multiple=True,
    metavar="PORT",
    help="A port or slot name; again for more (default: all slots).",
)
baud_option = click.option(
    "--baud", type=click.IntRange(9600, 4_000_000), help="Baud in the stub (default: the slot's, 921600)."
)
release_option = click.option("--release", type=FILE, help="A bundle or ESP-IDF build folder (default: product.toml).")
batch_option = click.option("--batch", help="Claim from this batch only.")
serial_option = click.option("--serial", help="Give the board this identity, or see that it has it.")


def unit_url_option(function: F) -> F:
    """--unit-url, and its former name."""
    for option in (
        click.option("--unit", "former_unit_urls", multiple=True, hidden=True),
        click.option(
            "--unit-url",
            "unit_urls",
            multiple=True,
            metavar="URL",
            help="Where the running unit answers provisioning (default: station.toml, or its radio); one for each "
            "--port.",
        ),
    ):
        function = option(function)
    return function


def line_options(function: F) -> F:
    """What every command of the line has: --port, --baud, --release, --allow-unknown-signers."""
    for option in (unknown_option, release_option, baud_option, ports_option):
        function = option(function)
    return function
