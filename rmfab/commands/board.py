"""`rmfab board`: serve virtual boards."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import click

from rmfab.commands import terminal
from rmfab.product.vocabulary import Chip
from rmfab.virtual.chip.models import MODELS
from rmfab.virtual.faults import BoardFault, FaultCall
from rmfab.virtual.spec import BoardSpec, PortKind, Strap

_SIZES = [f"{1 << n}MB" for n in range(8)]
_FAULTS = "\n".join(
    f"  {fault.value + ('=N' if fault.takes_number else ''):<18}{fault.summary}" for fault in BoardFault
)


class _FaultType(click.ParamType):  # type: ignore[type-arg]
    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> FaultCall:
        from rmfab.errors import InputError

        if isinstance(value, FaultCall):
            return value
        try:
            return FaultCall.parse(value)
        except InputError as error:
            self.fail(f"{error.what}: {error.hint}", param, ctx)


@click.command("board", epilog=f"\b\nFaults; NAME@2 hits only the board number 2, counted from 0:\n{_FAULTS}")
@click.option("--chip", type=click.Choice([chip.value for chip in Chip]), default="esp32c3", show_default=True)
@click.option("--count", type=click.IntRange(1, 256), default=1, show_default=True, help="How many boards.")
@click.option(
    "--transport", type=click.Choice([link.value for link in PortKind]), default="rfc2217", show_default=True,
    help="How a host reaches them; only rfc2217 has reset lines.",
)  # fmt: skip
@click.option(
    "--strap", type=click.Choice([strap.value for strap in Strap]), help="The boot pin while no host pulls it."
)
@click.option("--paced", metavar="BAUD|on", help="Let bytes and flash take their time, at most at BAUD.")
@click.option("--fault", "faults", type=_FaultType(), multiple=True, metavar="NAME", help="What is wrong with a board.")
@click.option(
    "--state", type=click.Path(file_okay=False, path_type=Path), help="Folder that keeps the boards' flash and eFuses."
)
@click.option("--mac", metavar="MAC", help="MAC of the first board; the others count on from it.")
@click.option("--flash-size", type=click.Choice(_SIZES), default="4MB", show_default=True)
@click.option(
    "--secure-boot", multiple=True, metavar="DIGEST",
    help="Burn secure boot v2 for the key of this SHA-256; for up to three keys.",
)  # fmt: skip
@click.option("--kill-pid", type=int, help="The process that the fault kill-at ends.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a board.")
@click.option("--with-parent", is_flag=True, hidden=True, help="End when stdin is closed.")
def command(
    chip: str, count: int, transport: str, strap: str | None, paced: str | None, faults: tuple[FaultCall, ...],
    state: Path | None, mac: str | None, flash_size: str, secure_boot: tuple[str, ...], kill_pid: int | None,
    as_json: bool, with_parent: bool,
) -> None:  # fmt: skip
    """Serve virtual boards that esptool can flash and that boot what was written.

    Prints one line a board (chip, MAC, port, address of its provisioning service) and stays until interrupted.
    """
    from rmfab.virtual.bench.serving import run

    if any(call.fault is BoardFault.KILL_AT for call in faults) and kill_pid is None:
        raise click.UsageError("the fault kill-at needs --kill-pid")
    specs = [
        BoardSpec(
            chip=Chip(chip),
            index=index,
            mac=_mac(mac, index),
            flash_size=int(flash_size.removesuffix("MB")) << 20,
            link=PortKind(transport),
            strap=Strap(strap) if strap else None,
            paced=_paced(paced),
            faults=faults,
            kill_pid=kill_pid,
            secure_boot_digests=_digests(secure_boot, Chip(chip)),
        )
        for index in range(count)
    ]
    if PortKind(transport) is PortKind.PTY and os.name != "posix":
        raise click.UsageError("pty boards need Linux; use --transport rfc2217")

    def announce(line: Mapping[str, str]) -> None:
        plain = [line["chip"], line["mac"], line["url"], line["provisioning"]]
        if PortKind(transport) is not PortKind.RFC2217:  # no reset lines: the fixture's commands go to this socket
            plain.append(f"control {line['control']}")
        if as_json:
            terminal.json_line(dict(line))
        else:
            terminal.data("  ".join(plain))

    run(specs, announce, state=state, with_parent=with_parent)


def _mac(text: str | None, index: int) -> bytes | None:
    if text is None:
        return None
    try:
        first = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        first = b""
    if len(first) != 6 or first[0] & 1:
        raise click.BadParameter(f'"{text}" is no MAC of a board, such as 24:0a:c4:00:00:01', param_hint="--mac")
    return ((int.from_bytes(first, "big") + index) & (1 << 48) - 1).to_bytes(6, "big")


def _digests(texts: tuple[str, ...], chip: Chip) -> tuple[str, ...]:
    room = MODELS[chip].secure_boot_keys
    if len(texts) > room:
        raise click.BadParameter(f"an {chip.value} has no room for more than {room}", param_hint="--secure-boot")
    for text in texts:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            what = f'"{text}" is no key digest: 64 hex digits, as `rmfab release show --json` prints them'
            raise click.BadParameter(what, param_hint="--secure-boot")
    return tuple(map(str.lower, texts))


def _paced(text: str | None) -> int | None:
    if text is None or text == "off":
        return None
    if text == "on":
        return 0
    if not text.isdecimal() or not 1200 <= int(text) <= 5_000_000:
        raise click.BadParameter(f'"{text}" is no rate: on, or a number of baud', param_hint="--paced")
    return int(text)
