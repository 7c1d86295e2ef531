"""Joins a unit's own Wi-Fi network and comes back: through NetworkManager, a command of the station, or not at all.

What this host was connected to is written down before it is left, so that a later run brings it back after a crash.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rmfab.errors import StationError
from rmfab.files import write_file
from rmfab.line.station import JOINED, NMCLI, Radio

_SECONDS = 45.0


@contextmanager
def joined(ssid: str, radio: Radio, memory: Path) -> Iterator[None]:
    """Within the block this host is in the network *ssid*. *memory* is the file that survives a crash.

    Raises StationError where it cannot join; what it was connected to is brought back in any case.
    """
    if radio.softap == (JOINED,):
        yield
        return
    if radio.softap != (NMCLI,):
        _run([word.replace("{ssid}", ssid) for word in radio.softap], f"cannot join {ssid}")
        yield
        return
    before = _active(radio.interface)
    note = json.dumps({"ssid": ssid, "before": before, "interface": radio.interface})
    write_file(memory, note.encode(), force=True)
    try:
        where = ["ifname", radio.interface] if radio.interface else []
        _run([NMCLI, "--wait", "30", "device", "wifi", "connect", ssid, *where], f"cannot join {ssid}")
        yield
    finally:
        come_back(memory)


def come_back(memory: Path) -> str | None:
    """Leaves the unit's network that *memory* names, for the one before; returns what went wrong, if anything."""
    try:
        note = json.loads(memory.read_text(encoding="utf-8"))
        ssid, before, interface = str(note["ssid"]), note["before"], note["interface"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{memory} cannot be read: {error}"
    wrong = None
    try:
        if ssid in _names():
            _run([NMCLI, "connection", "delete", "id", ssid], f"cannot forget {ssid}")
        if before:
            where = ["ifname", str(interface)] if interface else []
            _run([NMCLI, "--wait", "30", "connection", "up", "id", str(before), *where], f"cannot go back to {before}")
    except StationError as error:
        wrong = str(error)
    else:
        memory.unlink(missing_ok=True)
    return wrong


def _active(interface: str | None) -> str | None:
    """The Wi-Fi connection that is up on *interface*, or on any."""
    told = _run([NMCLI, "-t", "-f", "NAME,TYPE,DEVICE", "connection", "show", "--active"], "cannot ask NetworkManager")
    for name, kind, device in (row for row in map(_fields, told.splitlines()) if len(row) == 3):
        if "wireless" in kind and interface in (None, device):
            return name
    return None


def _names() -> set[str]:
    told = _run([NMCLI, "-t", "-f", "NAME", "connection", "show"], "cannot ask NetworkManager")
    return {row[0] for row in map(_fields, told.splitlines()) if row}


def _fields(line: str) -> list[str]:
    """The fields of a terse line of nmcli: colons between them, backslashes before colons and backslashes in them."""
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


def _run(argv: Sequence[str], what: str) -> str:
    try:
        done = subprocess.run(list(argv), capture_output=True, timeout=_SECONDS, check=False, text=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StationError(f"{what}: {error}", where=argv[0], hint=_HINT, cause="wifi") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise StationError(f"{what}: {said[-1] if said else done.returncode}", where=argv[0], hint=_HINT, cause="wifi")
    return done.stdout


_HINT = "how this host joins a unit's network stands in station.toml ([provisioning] softap)"
