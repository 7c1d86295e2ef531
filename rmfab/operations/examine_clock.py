"""Whether the clock of this host is right: events, certificates and reports carry its time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import rmfab
from rmfab.line.diagnosis import Diagnosis
from rmfab.line.host_facts import running

_KEEPERS = ("chronyd", "ntpd", "systemd-timesyncd")
_SYNCHRONIZED = "run/systemd/timesync/synchronized"
"""systemd-timesyncd.service(8): touched with each synchronization since the start of the host."""
_CONTAINER = ("run/.containerenv", ".dockerenv", "run/systemd/container")
_SLACK = timedelta(minutes=5)
_SET = "sudo timedatectl set-ntp true"


@dataclass(frozen=True)
class ClockFacts:
    """What keeps the clock: *keepers* that run; *reached*: systemd-timesyncd has reached a server.

    *newest*: the newest time that this clock must have passed: that of rmfab's installation, or of the ledger.
    """

    container: bool
    keepers: tuple[str, ...]
    reached: bool
    newest: datetime


def clock_facts(root: Path, ledger: Path | None) -> ClockFacts:
    """Return the facts of the host below *root*; *ledger*: its ledger, if that is a file."""
    files = [Path(rmfab.__file__), *([] if ledger is None else [ledger])]
    times = [path.stat().st_mtime for path in files if path.exists()]
    return ClockFacts(
        container=any((root / name).exists() for name in _CONTAINER),
        keepers=running(_KEEPERS, root),
        reached=(root / _SYNCHRONIZED).exists(),
        newest=datetime.fromtimestamp(max(times), UTC),
    )


def judge_clock(facts: ClockFacts, now: datetime) -> Iterator[Diagnosis]:
    """Yield whether the clock, which shows *now*, is right."""
    shown = f"{now:%Y-%m-%d %H:%M} UTC"
    if now + _SLACK < facts.newest:
        what = f"the clock is behind: it shows {shown}, but files here are of {facts.newest:%Y-%m-%d %H:%M}"
        yield Diagnosis(what, False, f'{_SET}, or sudo date --set "…"; then sudo hwclock --systohc')
    elif not sys.platform.startswith("linux") or facts.container:
        yield Diagnosis(f"the clock shows {shown}; whoever runs this system keeps it", True)
    elif not facts.keepers:
        what = f"nothing keeps the clock right: it shows {shown}"
        yield Diagnosis(what, False, f"sudo apt-get install systemd-timesyncd, then {_SET}")
    elif facts.keepers == ("systemd-timesyncd",) and not facts.reached:
        what = f"the clock shows {shown}, and systemd-timesyncd has not reached a time server"
        yield Diagnosis(what, False, "name one in /etc/systemd/timesyncd.conf (NTP=), then sudo systemctl restart "
                        "systemd-timesyncd; timedatectl timesync-status shows more")  # fmt: skip
    else:
        yield Diagnosis(f"the clock shows {shown}, kept by {facts.keepers[0]}", True)
