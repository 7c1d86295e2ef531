"""Options that several commands share; each means the same in every command."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rmfab.commands.terminal import globals_of
from rmfab.product.vocabulary import Chip

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from rmfab.virtual.faults import FaultCall

F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
KEY_VARIABLE = "RMFAB_KEY_PASSPHRASE_FILE"

output_option = click.option("-o", "--output", type=FILE, required=True, metavar="FILE", help="The file to write.")
force_option = click.option("--force", is_flag=True, help="Replace an existing file.")
junit_option = click.option("--junit", type=FILE, metavar="FILE", help="Also write a JUnit report for CI.")
_metrics_option = click.option(
    "--metrics",
    type=FILE,
    metavar="FILE",
    help="Also write metrics for node_exporter's textfile collector, after every unit; the name ends with .prom.",
)
allow_files_option = click.option(
    "--allow-files",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of files that `file` rows may name besides the CSV's; repeatable.",
)
trust_option = click.option(
    "--trust", "trust_file", type=FILE, metavar="FILE", help="Use this trust file (default: the workspace's)."
)
unknown_option = click.option(
    "--allow-unknown-signers",
    "allow_unknown",
    is_flag=True,
    help="Ignore signatures by unknown keys; those by trusted keys must still suffice.",
)
_downgrade_option = click.option(
    "--allow-downgrade",
    is_flag=True,
    help="Accept a release older than the last one; asks for confirmation on a terminal and is recorded in the ledger.",
)
passphrase_file_option = click.option(
    "--passphrase-file",
    type=FILE,
    metavar="FILE",
    help=f"File with the passphrase or PIN (default: {KEY_VARIABLE}, or ask on the terminal).",
)


class _ChipType(click.Choice):  # type: ignore[type-arg]
    """A chip, also as its maker writes it: ESP32-C3."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the value of a `Chip`."""
        plain = value.lower().replace("-", "") if isinstance(value, str) else value
        return super().convert(plain, param, ctx)


def chip_option(summary: str) -> Callable[[F], F]:
    """Return a decorator that adds --chip; *summary* says whose chip it is."""
    chips = [chip.value for chip in Chip]
    help_text = f"{summary}: {', '.join(chips)}."
    return click.option(
        "--chip", type=_ChipType(chips), metavar="CHIP", default="esp32c3", show_default=True, help=help_text
    )


def key_option(*, required: bool) -> Callable[[F], F]:
    """Return a decorator that adds --key (repeatable) and --passphrase-file."""

    def add(function: F) -> F:
        named = click.option(
            "--key",
            "keys",
            multiple=True,
            required=required,
            metavar="KEY",
            help="Key file, file:…, env:NAME, or pkcs11:token=…;object=…; repeatable.",
        )
        return named(passphrase_file_option(function))

    return add


class ParsedType(click.ParamType):  # type: ignore[type-arg]
    """Values that *parse* reads, shown as *name*; an InputError of it is one of usage."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        """Return the value of a text; a value stays what it is."""
        from rmfab.errors import InputError

        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except InputError as error:
            self.fail(f"{error.what}; {error.hint}", param, ctx)


def board_fault(text: str) -> FaultCall:
    """Return the fault of virtual boards, as in `rmfab board --help`. Raise InputError."""
    from rmfab.virtual.faults import FaultCall

    return FaultCall.parse(text)


def slot_names(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the slots that *incomplete* may become, for the tab key; a port is completed as a file."""
    from click.shell_completion import CompletionItem

    from rmfab.errors import RmfabError
    from rmfab.workspace.workspace import nearest_station

    with suppress(RmfabError, OSError):  # without a station.toml that can be read, there is nothing to complete
        slots = nearest_station(context.find_root().params.get("folder")).slots
        names = [CompletionItem(slot.name) for slot in slots if slot.name.startswith(incomplete)]
        if names:
            return names
    return [CompletionItem(incomplete, type="file")]


ports_option = click.option(
    "-p",
    "--port",
    "ports",
    multiple=True,
    metavar="PORT",
    shell_complete=slot_names,
    help="Port or slot name; repeatable (default: all slots).",
)
baud_option = click.option("--baud", type=int, help="Baud rate of the stub, 9600 to 4000000 (default: the slot's).")
release_option = click.option("--release", type=FILE, help="Bundle or build folder (default: product.toml).")
_batch_option = click.option("--batch", help="Claim only from this batch.")
_serial_option = click.option("--serial", help="Give the board this identity, or require that it already has it.")

_again_option = click.option(
    "--again", is_flag=True, help="Also flash units that are verified and labelled; they keep their identity."
)

_scan_option = click.option(
    "--scan", is_flag=True, help='Ask for the code of each board, for products with serial = "{scan}".'
)


def _note_operator(context: click.Context, _: click.Parameter, name: str | None) -> None:
    """Keep the name for the workspace that the command opens."""
    if name is None:
        return
    from rmfab.ledger.badge import bad_name

    wrong = bad_name(name)
    if wrong is not None:
        raise click.BadParameter(f"not the name of an operator: {wrong}")
    globals_of(context).operator = name


operator_option = click.option(
    "--operator",
    metavar="NAME",
    expose_value=False,
    callback=_note_operator,
    help="Who does it: a short name that every event gets (default: RMFAB_OPERATOR, or the login name).",
)


def claim_options(function: F) -> F:
    """Add the options of commands that claim identities: --allow-downgrade, --batch, --serial, --again, --scan."""
    for option in (_scan_option, _again_option, _serial_option, _batch_option, _downgrade_option):
        function = option(function)
    return function


def files_options(function: F) -> F:
    """Add the options of files that a line writes besides: --junit, --metrics."""
    return junit_option(_metrics_option(function))


def unit_url_option(function: F) -> F:
    """Add --unit-url and its former name."""
    for option in (
        click.option("--unit", "former_unit_urls", multiple=True, hidden=True),
        click.option(
            "--unit-url",
            "unit_urls",
            multiple=True,
            metavar="URL",
            help="Provisioning URL of the running unit (default: station.toml, or its radio); one for each --port.",
        ),
    ):
        function = option(function)
    return function


def screen_options(function: F) -> F:
    """Add the options of the operator's screen: --screen, --start, --ascii, --sound."""
    for option in (
        click.option("--sound", is_flag=True, help="Ring the terminal's bell for each FAIL (with --screen)."),
        click.option("--ascii", "ascii_only", is_flag=True, help="Use only ASCII, and so English (with --screen)."),
        click.option(
            "--start",
            type=click.Choice(["auto", "hand"]),
            default="auto",
            show_default=True,
            help="Start a board when it appears, or by key or scan (with --screen).",
        ),
        click.option("--screen", is_flag=True, help="Show the operator's screen; continues like --loop."),
    ):
        function = option(function)
    return function


def _note_language(context: click.Context, _: click.Parameter, given: str | None) -> None:
    from rmfab.commands.terminal import globals_of

    globals_of(context).language = given or globals_of(context).language


language_option = click.option(
    "--lang",
    type=click.Choice(["en", "zh_CN"]),
    expose_value=False,
    callback=_note_language,
    help="Language of the operator (default: RMFAB_LANG, or the locale).",
)


def line_options(function: F) -> F:
    """Add the options of every line command: --port, --baud, --release, --allow-unknown-signers, --operator,
    --lang."""
    for option in (language_option, operator_option, unknown_option, release_option, baud_option, ports_option):
        function = option(function)
    return function
