"""Ways into a unit's own Wi-Fi network and back: NetworkManager, a command of the station, or by hand.

The connection of this host is written down before it is left, so that a later run can restore it after a crash.
Source: nmcli(1), terse output and its escaping.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rmfab.board.program import run_program
from rmfab.errors import InputError, StationError
from rmfab.files import write_file
from rmfab.json_text import parse_json
from rmfab.line.station import JOINED, NMCLI, Radio

_SECONDS = 45.0
_LOOKS = 3


@dataclass(frozen=True)
class Leave:
    """The note for the way back: the unit's network *ssid*, and the connection *before* it on *interface*."""

    ssid: str
    before: str | None
    interface: str | None


@contextmanager
def joined(
    ssid: str,
    radio: Radio,
    memory: Path,
    warn: Callable[[str], None],
    keep_going: Callable[[], None] = lambda: None,
) -> Iterator[None]:
    """Keep this host in the network *ssid* within the block. *memory* is the file that survives a crash.

    Raise StationError if it cannot join; *keep_going* raises to stop while it tries. In any case restore the connection
    before; *warn* receives why that failed.
    """
    if radio.softap == (JOINED,):
        yield
        return
    if radio.softap != (NMCLI,):
        _run([word.replace("{ssid}", ssid) for word in radio.softap], f"cannot join {ssid}", keep_going)
        yield
        return
    leave = Leave(ssid, _before(ssid, radio.interface, memory), radio.interface)
    write_file(memory, json.dumps(asdict(leave)).encode(), force=True)
    try:
        where = _on(radio.interface)
        _look_for(ssid, where, keep_going)
        _run([NMCLI, "--wait", "30", "device", "wifi", "connect", ssid, *where], f"cannot join {ssid}", keep_going)
        yield
    finally:
        if (wrong := come_back(memory)) is not None:
            warn(f"cannot restore this host's Wi-Fi connection: {wrong}")


def come_back(memory: Path) -> str | None:
    """Leave the unit's network in *memory* for the connection before. Return what went wrong, or None."""
    try:
        leave = _remembered(memory)
        if leave is None:
            return None
        if leave.ssid in _names():
            _run([NMCLI, "connection", "delete", "id", leave.ssid], f"cannot forget {leave.ssid}")
        if leave.before:
            back = [NMCLI, "--wait", "30", "connection", "up", "id", leave.before, *_on(leave.interface)]
            _run(back, f"cannot go back to {leave.before}")
        memory.unlink(missing_ok=True)
    except (InputError, StationError) as error:
        return str(error)
    return None


def _remembered(memory: Path) -> Leave | None:
    """Return the note in *memory*, None if there is no such file. Raise InputError if it cannot be read."""
    try:
        told: Any = parse_json(memory.read_bytes())
        before, interface = told["before"], told["interface"]
        return Leave(str(told["ssid"]), before and str(before), interface and str(interface))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot read this note: {error}", where=str(memory), hint="remove it") from error


def _before(ssid: str, interface: str | None, memory: Path) -> str | None:
    """Return the connection to go back to: from a run that did not go back, or else the active one."""
    try:
        earlier = _remembered(memory)
    except InputError:
        earlier = None
    if earlier is not None and earlier.before:
        return earlier.before
    active = _active(interface)
    return None if active == ssid else active


def _look_for(ssid: str, where: Sequence[str], keep_going: Callable[[], None]) -> None:
    """Let NetworkManager scan until it finds *ssid*: it joins only networks of its last scan."""
    for _ in range(_LOOKS):
        look = [NMCLI, "-t", "-f", "SSID", "device", "wifi", "list", *where, "--rescan", "yes"]
        heard = _run(look, "cannot scan", keep_going)
        if any(_fields(line)[0] == ssid for line in heard.splitlines()):
            return
    what = f"this host does not receive the unit's network {ssid}"
    raise StationError(what, hint="check the distance and the antennas", cause="not-advertising")


def _on(interface: str | None) -> list[str]:
    return ["ifname", interface] if interface else []


def _active(interface: str | None) -> str | None:
    """Return the active Wi-Fi connection on *interface*, or on any."""
    told = _run([NMCLI, "-t", "-f", "NAME,TYPE,DEVICE", "connection", "show", "--active"], "cannot ask NetworkManager")
    for name, kind, device in (row for row in map(_fields, told.splitlines()) if len(row) == 3):
        if "wireless" in kind and interface in (None, device):
            return name
    return None


def _names() -> set[str]:
    told = _run([NMCLI, "-t", "-f", "NAME", "connection", "show"], "cannot ask NetworkManager")
    return {row[0] for row in map(_fields, told.splitlines()) if row}


def _fields(line: str) -> list[str]:
    """Split a terse line of nmcli at its colons; a backslash escapes a colon or a backslash."""
    fields, escaped = [""], False
    for char in line:
        if char == "\\" and not escaped:
            escaped = True
            continue
        if char == ":" and not escaped:
            fields.append("")
        else:
            fields[-1] += char
        escaped = False
    return fields


def _run(argv: Sequence[str], what: str, keep_going: Callable[[], None] = lambda: None) -> str:
    """Return the output of a command. Raise StationError if it fails or hangs, and what *keep_going* raises."""
    try:
        done = run_program(argv, _SECONDS, keep_going)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StationError(f"{what}: {error}", where=argv[0], hint=_HINT, cause="wifi") from error
    if done.code:
        raise StationError(f"{what}: {done.last_line or done.code}", where=argv[0], hint=_HINT, cause="wifi")
    return done.output


_HINT = "check softap in station.toml ([provisioning])"
