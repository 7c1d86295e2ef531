"""`rmfab board`: serve virtual boards."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from rmfab.commands import terminal
from rmfab.commands.leaf import Leaf
from rmfab.commands.options import ParsedType, board_fault, chip_option
from rmfab.product.vocabulary import Chip
from rmfab.virtual.chip.bridge import BridgeKind
from rmfab.virtual.faults import BoardFault
from rmfab.virtual.network import Route
from rmfab.virtual.spec import PortKind, Strap

_SIZES = [f"{1 << n}MB" for n in range(8)]


class _Board(Leaf):
    """The command; its help ends with the control commands and the faults."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the control commands and the faults."""
        from rmfab.virtual.control import CONTROL_COMMANDS

        super().format_options(ctx, formatter)
        with formatter.section("Control commands; echo COMMAND | nc -N 127.0.0.1 PORT"):
            formatter.write_dl([(one.form, one.summary) for one in CONTROL_COMMANDS])
        rows = [(fault.value + ("=N" if fault.takes_number else ""), fault.summary) for fault in BoardFault]
        with formatter.section("Faults; NAME@2 applies only to board 2, counted from 0"):
            formatter.write_dl(rows)


class _PaceType(click.ParamType):  # type: ignore[type-arg]
    name = "pace"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value in ("off", "on"):
            return None if value == "off" else 0
        if not value.isdecimal() or not 1200 <= int(value) <= 5_000_000:
            self.fail(f'"{value}" is neither "on" nor a baud rate (1200 to 5000000)', param, ctx)
        return int(value)


class _RouteType(click.ParamType):  # type: ignore[type-arg]
    name = "route"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> Route:
        try:
            return Route.parse(value)
        except ValueError as error:
            self.fail(f"{error}; an example is mqtt.example.com=127.0.0.1:8883", param, ctx)


@click.command("board", cls=_Board)
@chip_option("Chip of the boards")
@click.option("--count", type=click.IntRange(1, 256), default=1, show_default=True, help="Number of boards.")
@click.option(
    "--transport", type=click.Choice([kind.value for kind in PortKind]), default="rfc2217", show_default=True,
    help="How a host connects; only rfc2217 has reset lines.",
)  # fmt: skip
@click.option(
    "--strap",
    type=click.Choice([strap.value for strap in Strap]),
    help="Boot mode that the strapping pin selects while no host drives it.",
)
@click.option(
    "--paced",
    type=_PaceType(),
    metavar="BAUD|on",
    help="Run UART and flash at the speed of a real board, at most BAUD.",
)
@click.option(
    "--bridge",
    type=click.Choice([bridge.value for bridge in BridgeKind]),
    help="USB bridge in front of each board, with the rates it carries; rfc2217 only.",
)
@click.option(
    "--fault",
    "faults",
    type=ParsedType("name", board_fault),
    multiple=True,
    metavar="NAME",
    help="Simulate a fault; repeatable.",
)  # fmt: skip
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder in which the boards' flash, eFuses and TCP ports persist.",
)
@click.option(
    "--tcp-port", type=click.IntRange(0, 65535), metavar="PORT",
    help="First TCP port; each next board's is 10 higher (default: those in --state, or free ones; 0: free ones).",
)  # fmt: skip
@click.option("--unplugged", is_flag=True, help="Leave the ports empty, until the control command `return`.")
@click.option("--mac", metavar="MAC", help="MAC of the first board; the next ones count up from it.")
@click.option("--flash-size", type=click.Choice(_SIZES), default="4MB", show_default=True, help="Flash of each board.")
@click.option(
    "--secure-boot", multiple=True, metavar="DIGEST",
    help="Burn secure boot v2 for the key with this SHA-256; repeatable, up to three keys.",
)  # fmt: skip
@click.option(
    "--route", "routes", type=_RouteType(), multiple=True, metavar="NAME=ADDRESS:PORT",
    help="Let firmware in the network rmfab-factory reach its broker NAME there; repeatable.",
)  # fmt: skip
@click.option("--kill-pid", type=int, help="The process that the fault kill-at kills.")
@click.option("--with-parent", is_flag=True, hidden=True, help="Exit when stdin is closed.")
def command(
    chip: str,
    transport: str,
    strap: str | None,
    bridge: str | None,
    flash_size: str,
    state: Path | None,
    with_parent: bool,
    **options: Any,
) -> None:
    """Serve virtual boards for esptool and rmfab.

    esptool can flash them, and they boot what was written. Prints one line per board (chip, MAC, port, URL of its
    provisioning service) and runs until interrupted.

    \b
    rmfab board --count 3 --state boards     the same boards and ports each time
    rmfab board --tcp-port 4000              fixed ports, control on 4002
    """
    from rmfab.operations.git_warning import warn_of_git
    from rmfab.operations.serve_boards import BoardsRequest
    from rmfab.virtual.bench.serving import run

    kind = PortKind(transport)
    if kind is PortKind.PTY and os.name != "posix":
        raise click.UsageError("pty boards require Linux; use --transport rfc2217")
    request = BoardsRequest(
        Chip(chip),
        port_kind=kind,
        strap=Strap(strap) if strap else None,
        bridge=BridgeKind(bridge) if bridge else None,
        flash_size=int(flash_size.removesuffix("MB")) << 20,
        **options,
    )

    def announce(line: Mapping[str, str]) -> None:
        plain = [line["chip"], line["mac"], line["url"], line["provisioning"]]
        if kind is not PortKind.RFC2217:  # no reset lines: fixture commands go to this socket
            plain.append(f"control {line['control']}")
        if terminal.json_wanted():
            terminal.json_line(dict(line))
        else:
            terminal.data("  ".join(plain))

    if state is not None:
        warn_of_git(terminal.TERMINAL, "the secrets of these units", state / f"{chip}-0.bin", shown=state)
    renumber = request.tcp_port == 0
    run(request.specs(), announce, state=state, renumber=renumber, with_parent=with_parent)
