"""The name of a station on a server: it belongs to one running host, as long as one of its processes is connected.

Two hosts with one name, or a clone of a whole machine, would write one chain of events in turn. All processes of a host
share its lock. A host is known by its boot id and by its state folder: machines that were cloned with their machine id
have booted each on its own, and containers have a folder each.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from pathlib import Path

from sqlalchemy import Connection, text

from rmfab.errors import LedgerError, one_line

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")  # proc(5); new at each boot
_NAME_BYTES = 63  # of an application_name (NAMEDATALEN - 1)

_OTHERS = text(
    """
SELECT l.pid, a.application_name, host(a.client_addr) AS address, a.backend_start, a.usename
FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid = (:name)::bigint::oid AND l.objid <> (:host)::bigint::oid AND l.objid <> 0
LIMIT 1
"""
)
"""objsubid is 2 for a lock of two numbers (postgresql.org/docs/15/view-pg-locks.html)."""


class StationLock:
    """The names that this process takes on the server *shown*, for the *host* of `host_of`."""

    def __init__(self, shown: str, host: str) -> None:
        self._shown = shown
        self._host = host
        self.application_name = f"rmfab on {socket.gethostname()}"[:_NAME_BYTES]

    def take(self, connection: Connection, station: str) -> None:
        """Take the name *station* until *connection* ends. Raise LedgerError if a different host has it."""
        taken = connection.info.setdefault("rmfab_stations", set())
        if station in taken:
            return
        name, host = _number(f"station {station}"), _number(f"host {self._host}")
        # Two hosts that come at the same time look one after the other.
        connection.execute(text("SELECT pg_advisory_xact_lock(:name, 0)"), {"name": name})
        other = connection.execute(_OTHERS, {"name": name, "host": host}).first()
        if other is not None:
            who = one_line(str(other.application_name or f"user {other.usename}"))
            at = f" at {other.address}" if other.address else ""
            since = f" since {other.backend_start:%Y-%m-%d %H:%M:%S}" if other.backend_start else ""
            raise LedgerError(
                f'a different host works as station "{station}": {who}{at}{since}',
                where=self._shown,
                hint="give each host its own name in station.toml ([station] name); a host that lost its power is "
                "forgotten within half a minute",
                cause="station-taken",
            )
        connection.execute(text("SELECT pg_advisory_lock_shared(:name, :host)"), {"name": name, "host": host})
        taken.add(station)


def host_of(state: Path) -> str:
    """Return what distinguishes this running host, with the folder *state*, from every other one."""
    try:
        booted = _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        booted = f"{uuid.getnode():012x}"
    try:
        folder = os.stat(state)  # noqa: PTH116
        return f"{booted} {folder.st_dev} {folder.st_ino}"
    except OSError:
        return f"{booted} {state}"


def _number(text: str) -> int:
    """Return a positive number of 31 bits for *text*, other than 0."""
    return int.from_bytes(hashlib.sha256(f"rmfab {text}".encode()).digest()[:4], "big") % (2**31 - 1) + 1
